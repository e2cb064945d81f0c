"""Drift of a rollout against itself, by embeddings of its frames: no reference is needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wmscore.functional._check import check_count, check_embeddings, check_mask
from wmscore.functional.latents import row_pieces, unit
from wmscore.functional.reasons import Reason

__all__ = [
    "LagSimilarity",
    "SimilarityCurve",
    "adjacent_similarity",
    "first_frame_similarity",
    "similarity_by_lag",
    "subject_consistency",
]


@dataclass(frozen=True)
class SimilarityCurve:
    """How alike a rollout's frames stay, per step.

    Attributes:
        values: ``[B, T]`` float64, steps 1..T; NaN where undefined.
        reason: ``[B, T]`` uint8, a :class:`Reason` for each NaN: NO_FRAME where the step has no
            frame, NON_FINITE_FEATURES and NO_SCALE where an embedding is not finite or zero,
            NO_PREVIOUS where a frame that it is compared with does not exist.
    """

    values: Tensor
    reason: Tensor

    @property
    def mean(self) -> Tensor:
        """``[B]`` float64, mean over the defined steps; NaN where there is none."""
        return self.values.nanmean(-1)


@dataclass(frozen=True)
class LagSimilarity:
    """How alike frames are that lie some steps apart. See :func:`similarity_by_lag`.

    Attributes:
        lags: ``[L]`` int64, in steps, ascending.
        values: ``[B, L]`` float64 in [-1, 1]; NaN where there is no pair.
        pairs: ``[B, L]`` int64, how many pairs of frames each value is the mean of.
        reason: ``[B, L]`` uint8, TOO_FEW_STEPS where there is no pair of defined frames.
    """

    lags: Tensor
    values: Tensor
    pairs: Tensor
    reason: Tensor

    @property
    def area(self) -> Tensor:
        """``[B]`` float64: the area under D between the first lag and the last, per step of lag.

        By trapezoids, so in [-1, 1]; it depends on the lags. NaN where D is undefined at any lag,
        and for a single lag.
        """
        span = (self.lags[-1] - self.lags[0]).double()
        return torch.trapezoid(self.values, self.lags.double(), dim=-1) / span


def first_frame_similarity(
    embeddings: Tensor, *, context: int = 1, valid: Tensor | None = None
) -> SimilarityCurve:
    r"""Cosine of each frame's embedding with that of the frame, or frames, that were given.

    .. math:: \cos(f_t, \bar f), \quad
        \bar f = \frac1k \sum_{i=0}^{k-1} \frac{f_i}{|f_i|}

    A frozen video scores 1, and so does one that leaves and comes back: similarity is not quality.

    Args:
        embeddings: ``[B, T + 1, D]``, floating point, as of :func:`embed`.
        context: k, how many frames count as given. Steps below k are compared with a mean that
            they are part of.
        valid: bool ``[B, T + 1]``, frames that exist; None means all.

    Returns:
        A :class:`SimilarityCurve`, in [-1, 1], 1 = as the given frames.

    Raises:
        ValueError: a shape does not fit, or context is not in 1..T + 1.
        TypeError: not tensors, or of the wrong dtype.

    Example:
        >>> z = torch.tensor([[[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]])
        >>> first_frame_similarity(z).values
        tensor([[ 1.,  0., -1.]], dtype=torch.float64)
    """
    check_count("context", context)

    def curve(z: Tensor) -> Tensor:
        return _cosine(z[:, 1:], unit(z[:, :context].mean(1, keepdim=True)))

    code = _codes(embeddings, valid)
    if context > embeddings.shape[1]:
        raise ValueError(
            f"context must be at most the {embeddings.shape[1]} frames there are, got {context}"
        )
    given = code[:, :context]
    first = given.gather(1, (given != 0).to(torch.uint8).argmax(1, keepdim=True))  # undefined one
    return _curve(embeddings, code, first.expand_as(code[:, 1:]), curve)


def adjacent_similarity(embeddings: Tensor, *, valid: Tensor | None = None) -> SimilarityCurve:
    r"""Cosine of each frame's embedding with that of the frame before.

    Low where a video jumps. Slow drift does not lower it, and a frozen video scores 1.

    Args:
        embeddings: ``[B, T + 1, D]``, floating point.
        valid: bool ``[B, T + 1]``, frames that exist; None means all.

    Returns:
        A :class:`SimilarityCurve`, in [-1, 1].

    Raises:
        ValueError: a shape does not fit.
        TypeError: not tensors, or of the wrong dtype.

    Example:
        >>> z = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
        >>> adjacent_similarity(z).values
        tensor([[1., 0.]], dtype=torch.float64)
    """
    code = _codes(embeddings, valid)
    return _curve(embeddings, code, code[:, :-1], lambda z: _cosine(z[:, 1:], z[:, :-1]))


def subject_consistency(embeddings: Tensor, *, valid: Tensor | None = None) -> SimilarityCurve:
    r"""VBench's subject (or background) consistency, per step.

    .. math:: s_t = \tfrac12 \bigl(\max(0, \cos(f_t, f_{t-1})) + \max(0, \cos(f_t, f_0))\bigr)

    Their score of a video is :attr:`SimilarityCurve.mean`; with DINO ViT-B/16 class tokens it is
    subject consistency, with CLIP ViT-B/32 embeddings background consistency (Huang et al. 2024,
    "VBench", arXiv:2311.17982, and their code). A frozen video scores 1, the best there is: never
    use it without a measure of motion or of action response beside it.

    Args:
        embeddings: ``[B, T + 1, D]``, floating point.
        valid: bool ``[B, T + 1]``, frames that exist; None means all.

    Returns:
        A :class:`SimilarityCurve`, in [0, 1].

    Raises:
        ValueError: a shape does not fit.
        TypeError: not tensors, or of the wrong dtype.

    Example:
        >>> z = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]])
        >>> subject_consistency(z).values, subject_consistency(z).mean
        (tensor([[0.0000, 0.5000]], dtype=torch.float64), tensor([0.2500], dtype=torch.float64))
    """

    def curve(z: Tensor) -> Tensor:
        now = z[:, 1:]
        return (_cosine(now, z[:, :-1]).clamp(min=0) + _cosine(now, z[:, :1]).clamp(min=0)) / 2

    code = _codes(embeddings, valid)
    compared = torch.where(code[:, :-1] != 0, code[:, :-1], code[:, :1])
    return _curve(embeddings, code, compared, curve)


def similarity_by_lag(
    embeddings: Tensor, lags: Sequence[int], *, valid: Tensor | None = None
) -> LagSimilarity:
    r"""Degradation curve: how alike frames are that lie a number of steps apart.

    .. math:: D(\Delta) = \operatorname{mean}_t \cos(f_t, f_{t + \Delta})

    over the pairs of frames that are both defined. A scene that persists keeps it high at long
    lags; one that decays lets it fall; a frozen video has D = 1 throughout. Means at long lags are
    of few pairs, and those are early and late frames only: ``pairs`` counts them.

    Args:
        embeddings: ``[B, T + 1, D]``, floating point.
        lags: steps, 1 or more, ascending, such as (2, 5, 10, 20, 50).
        valid: bool ``[B, T + 1]``, frames that exist; None means all.

    Returns:
        A :class:`LagSimilarity`, with the area under the curve.

    Raises:
        ValueError: a shape does not fit, or lags are not ascending, or below 1.
        TypeError: not tensors, or of the wrong dtype.

    Example:
        >>> z = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
        >>> found = similarity_by_lag(z, (1, 2, 3))
        >>> found.values, found.pairs
        (tensor([[0.5000, 0.0000,    nan]], dtype=torch.float64), tensor([[2, 1, 0]]))
    """
    steps = list(lags)
    for lag in steps:
        check_count("lags", lag)
    if not steps or steps != sorted(set(steps)):
        raise ValueError(f"lags must be ascending, at least one, got {steps}")
    code = _codes(embeddings, valid)
    rows, frames, _ = embeddings.shape
    defined = code == 0
    shape = (rows, len(steps))
    sums = torch.zeros(shape, dtype=torch.float64, device=embeddings.device)
    pairs = torch.zeros(shape, dtype=torch.int64, device=embeddings.device)
    for piece in row_pieces(*_rows(embeddings), embeddings.device):
        z = unit(embeddings[piece].double())
        for place, lag in enumerate(steps):
            if lag >= frames:
                break
            cosine = _cosine(z[:, lag:], z[:, :-lag])
            both = defined[piece, lag:] & defined[piece, :-lag] & ~cosine.isnan()
            sums[piece, place] = cosine.where(both, 0).sum(-1)
            pairs[piece, place] = both.sum(-1)
    return LagSimilarity(
        lags=torch.tensor(steps, device=embeddings.device),
        values=sums / pairs,  # 0 / 0 is NaN
        pairs=pairs,
        reason=(pairs == 0).to(torch.uint8) * int(Reason.TOO_FEW_STEPS),
    )


def _cosine(left: Tensor, right: Tensor) -> Tensor:
    """Cosine of unit vectors, from their difference: exactly 1 where they are equal."""
    return 1 - (left - right).square().sum(-1) / 2


def _codes(embeddings: Tensor, valid: Tensor | None) -> Tensor:
    """Why each embedding ``[B, T + 1]`` cannot be compared, 0 where it can."""
    check_embeddings("embeddings", embeddings)
    code = torch.zeros(embeddings.shape[:2], dtype=torch.uint8, device=embeddings.device)
    for piece in row_pieces(*_rows(embeddings), embeddings.device):
        z = embeddings[piece]
        code[piece] = (z == 0).all(-1).to(torch.uint8) * int(Reason.NO_SCALE)
        code[piece].masked_fill_(~z.isfinite().all(-1), int(Reason.NON_FINITE_FEATURES))
    if valid is not None:
        shape = tuple(embeddings.shape[:2])
        check_mask("valid", valid, shape, embeddings.device, like="the embeddings")
        code = code.masked_fill(~valid, int(Reason.NO_FRAME))
    return code


def _curve(
    embeddings: Tensor, code: Tensor, compared: Tensor, curve: Callable[[Tensor], Tensor]
) -> SimilarityCurve:
    """A function of unit embeddings, by pieces of rollouts, and why its values are undefined.

    Args:
        embeddings: ``[B, T + 1, D]``.
        code: of each frame, ``[B, T + 1]``.
        compared: of what the frames of steps 1..T are compared with, ``[B, T]``.
        curve: gives ``[n, T]`` for unit embeddings ``[n, T + 1, D]``.
    """
    absent = compared == int(Reason.NO_FRAME)
    other = compared.masked_fill(absent, int(Reason.NO_PREVIOUS))
    reason = torch.where(code[:, 1:] != 0, code[:, 1:], other)
    values = torch.empty(reason.shape, dtype=torch.float64, device=embeddings.device)
    for piece in row_pieces(*_rows(embeddings), embeddings.device):
        values[piece] = curve(unit(embeddings[piece].double()))
    # A mean of opposite context frames has no direction either.
    no_direction = values.isnan() & (reason == 0)
    return SimilarityCurve(
        values.masked_fill(reason != 0, torch.nan),
        reason.masked_fill(no_direction, int(Reason.NO_SCALE)),
    )


def _rows(embeddings: Tensor) -> tuple[int, int]:
    """How many rollouts there are, and the elements of each."""
    return len(embeddings), embeddings.shape[1] * embeddings.shape[2]
