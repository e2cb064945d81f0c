"""Coming back: does a rollout show again what it showed before, where the reference does?"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.functional._check import check_frames
from wmscore.functional.reasons import Reason

__all__ = [
    "LEAST_DEPARTURE",
    "RETURN_LEVELS",
    "RETURN_SHARE",
    "Closure",
    "Returns",
    "frame_distances",
    "loop_closure",
    "returns_of",
]

RETURN_SHARE = 0.5
"""A step is a return where at least this share of the picture is back."""

RETURN_LEVELS = 4 / 255
"""A pixel is back where no channel differs by more, in data ranges."""

LEAST_DEPARTURE = 0.02
"""Least root mean square difference, in data ranges, that counts as having left: 5 grey levels."""

_PIXELS = 1 << 14  # values of a frame that are widened at once


class Returns(NamedTuple):
    """Which steps of a reference are returns; see `returns_of`. Each ``[..., T]`` for steps 1..T.

    Attributes:
        to: int64, the earlier frame (0 = the given one) that is shown again; -1 where none is.
        far: int64, the frame of furthest departure in between; -1 likewise.
        share: float64 in [0, 1], share of the picture that is back; NaN where none is.
        departure: float64 in [0, 1], mean distance of that frame from both, where the picture is
            back, in data ranges; NaN where none is.
        reason: uint8, NO_RETURN where the step is no return.
    """

    to: Tensor
    far: Tensor
    share: Tensor
    departure: Tensor
    reason: Tensor


class Closure(NamedTuple):
    """What `loop_closure` returns, each ``[..., T]``.

    Attributes:
        score: float64 in [0, 1], 1 = comes back as the reference does, 0 = never left, or came back
            to something that is as far away as what it left for. NaN at steps that are no returns.
        distance: float64 in [0, 1], root mean square difference of the frame and the earlier frame
            of the same rollout, in data ranges; lower is better.
        registered: float64, `distance` at the best displacement of the frame by up to some pixels.
            Far below it, the place is remembered and missed: an error of executing the actions.
        stability: float64 in [0, 2], World Stability: `distance` over the mean distance of both
            from the frame in between; lower is better. NaN with NO_MOTION where that is zero.
        motion: float64, how far the rollout departed, as a multiple of how far the reference did.
        reason: uint8, why `score`, `distance`, `registered` and `motion` are NaN.
        stability_reason: uint8, why `stability` is.
    """

    score: Tensor
    distance: Tensor
    registered: Tensor
    stability: Tensor
    motion: Tensor
    reason: Tensor
    stability_reason: Tensor


def frame_distances(frames: Tensor, *, data_range: float | None = None) -> Tensor:
    r"""Root mean square difference between all frames of each rollout.

    .. math:: d_{ij} = \sqrt{\frac1P \sum_p (x_{ip} - x_{jp})^2} \, / \, \mathrm{range}

    A metric, so that :math:`d_{ij} \le d_{ik} + d_{kj}`. Exact sums for ``uint8``; one pass over
    the pixels, a part of them widened at a time.

    Args:
        frames: ``[..., T, C, H, W]``, uint8 or floating point.
        data_range: of a value; ``None`` means 255 for ``uint8`` and 1.0 for floats.

    Returns:
        Float64 ``[..., T, T]``; NaN where a frame has NaN.

    Raises:
        TypeError: not a tensor of frames.
        ValueError: fewer than four dims.

    Example:
        >>> frames = torch.tensor([0, 0, 255], dtype=torch.uint8).view(3, 1, 1, 1)
        >>> frame_distances(frames).tolist()
        [[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0]]
    """
    check_frames(frames=frames)
    if frames.dim() < 4:
        raise ValueError(f"frames: expected [..., T, C, H, W], got {list(frames.shape)}")
    scale = data_range or (255.0 if frames.dtype == torch.uint8 else 1.0)
    pixels = frames.flatten(-3)
    steps, size = pixels.shape[-2:]
    gram = pixels.new_zeros((*pixels.shape[:-2], steps, steps), dtype=torch.float64)
    for part in torch.split(pixels, _PIXELS, -1):
        wide = part.double()
        gram += wide @ wide.transpose(-1, -2)
    power = gram.diagonal(dim1=-2, dim2=-1)
    squares = power[..., :, None] + power[..., None, :] - 2 * gram
    distances = (squares.clamp_min(0) / size).sqrt() / scale
    same = torch.eye(steps, dtype=torch.bool, device=frames.device)
    return torch.where(same & distances.isfinite(), 0.0, distances)


def returns_of(
    frames: Tensor,
    *,
    valid: Tensor | None = None,
    share: float = RETURN_SHARE,
    departure: float = LEAST_DEPARTURE,
    levels: float = RETURN_LEVELS,
    data_range: float | None = None,
) -> Returns:
    r"""Find the steps at which a reference comes back to something that it showed before.

    Step t returns to the earlier frame m if a share of at least :math:`\rho` of the picture is back
    (no channel differs by more than some levels), and if that part had been left: with k the frame
    between them that is furthest from both,

    .. math:: \tfrac12 \, (d_{mk} + d_{kt}) \ge \eta

    over the pixels that are back. Of several m the one with the most pixels back counts, of equals
    the earliest. Nothing is declared: scripts that go there and back, loops and chance revisits are
    found alike. Where a wall or inertia keeps the true world from closing its loop, none is asked
    of a model, and things that move by themselves are left out of the comparison.

    Args:
        frames: ``[..., T+1, C, H, W]`` of references, uint8 or floating point.
        valid: bool ``[..., T+1]``, frames that exist.
        share: :math:`\rho`.
        departure: :math:`\eta`, in data ranges.
        levels: in data ranges.
        data_range: of a value; ``None`` means 255 for ``uint8`` and 1.0 for floats.

    Returns:
        `Returns` of steps 1..T.

    Raises:
        TypeError: not a tensor of frames.
        ValueError: fewer than two frames.

    Source:
        World Stability (arXiv:2503.08122, section 3.3) for there-and-back scripts; returns by what
        the reference brings back are ours.

    Example:
        >>> frames = torch.tensor([0, 90, 180, 90, 0], dtype=torch.uint8).view(5, 1, 1, 1)
        >>> returns_of(frames).to.tolist()
        [-1, -1, 1, 0]
    """
    distances = frame_distances(frames, data_range=data_range)
    steps, lead = frames.shape[-4], frames.shape[:-4]
    if steps < 2:
        raise ValueError(f"frames: expected at least two, got {list(frames.shape)}")
    flat = frames.reshape(-1, *frames.shape[-4:])
    known = distances.reshape(-1, steps, steps)
    if valid is not None:
        exists = valid.reshape(-1, steps)
        known = known.masked_fill(~(exists[:, :, None] & exists[:, None]), torch.nan)
    scale = _scale(frames, data_range)
    rows = torch.arange(len(flat), device=frames.device)
    parts: list[list[Tensor]] = [[], [], [], []]
    for t in range(1, steps):
        back = torch.stack([_is_back(flat[:, t], flat[:, m], levels * scale) for m in range(t)], 1)
        # [rows, m, k]: the frame between that is furthest from both, by the smaller distance.
        nearer = torch.minimum(known[:, :t, :t], known[:, None, t, :t])
        order = torch.arange(t, device=frames.device)
        outside = ~(order > order[:, None]) | nearer.isnan()
        middle = nearer.masked_fill(outside, -1.0).max(-1)
        closes = (back >= share) & (middle.values >= departure * 0.5) & ~known[:, t, :t].isnan()
        best = back.masked_fill(~closes, -1.0).max(1)
        to, far = best.indices, middle.indices.gather(1, best.indices[:, None])[:, 0]
        mask = _mask(flat[:, t], flat[rows, to], levels * scale)
        away = (
            _masked_distance(flat[rows, to], flat[rows, far], mask)
            + _masked_distance(flat[rows, far], flat[:, t], mask)
        ) / (2 * scale)
        found = (best.values >= share) & (away >= departure)
        parts[0].append(to.masked_fill(~found, -1))
        parts[1].append(far.masked_fill(~found, -1))
        parts[2].append(best.values.masked_fill(~found, torch.nan))
        parts[3].append(away.masked_fill(~found, torch.nan))
    to, far, back, away = (torch.stack(part, 1).view(*lead, steps - 1) for part in parts)
    reason = torch.where(to < 0, int(Reason.NO_RETURN), 0).to(torch.uint8)
    return Returns(to=to, far=far, share=back, departure=away, reason=reason)


def loop_closure(
    preds: Tensor,
    target: Tensor,
    returns: Returns,
    *,
    radius: int = 0,
    levels: float = RETURN_LEVELS,
    data_range: float | None = None,
) -> Closure:
    r"""Whether rollouts come back where their reference does, by their own earlier frames.

    Over the pixels that are back in the reference, with D = d(m, k) + d(k, t) of the rollout and D*
    of the reference,

    .. math:: s_t = 1 - \frac{[d_{mt} - d^*_{mt}]_+ + [D^* - D]_+}{\max(D, D^*)} .

    In [0, 1] by the triangle inequality; 1 for the reference itself. A frozen rollout comes back
    perfectly, and scores exactly 0, since it never left; one that leaves half as far and comes back
    scores 1/2. World Stability is :math:`2 d_{mt} / D`.

    Args:
        preds: ``[..., T+1, C, H, W]``, rollouts, the given frame first.
        target: the same of their references.
        returns: of the references, each ``[..., T]``.
        radius: displacements by up to so many pixels that `Closure.registered` tries.
        levels: as for `returns_of`.
        data_range: as for `returns_of`.

    Returns:
        A `Closure`; NON_FINITE where a frame of the rollout that is needed has NaN.

    Raises:
        TypeError: not tensors of frames of one dtype.
        ValueError: shapes do not fit, or the radius leaves no pixel.

    Source:
        arXiv:2503.08122, section 3.3 (World Stability); the score is ours.

    Example:
        >>> true = torch.tensor([0, 90, 180, 90, 0], dtype=torch.uint8).view(5, 1, 1, 1)
        >>> frozen = true[:1].expand_as(true)
        >>> loop_closure(frozen, true, returns_of(true)).score[2:].tolist()
        [0.0, 0.0]
        >>> loop_closure(true, true, returns_of(true)).score[2:].tolist()
        [1.0, 1.0]
    """
    check_frames(preds=preds)
    check_frames(target=target)
    steps = returns.to.shape[-1]
    if preds.shape != target.shape or preds.shape[-4:-3] != (steps + 1,):
        raise ValueError(
            f"preds, target: expected [..., T+1, C, H, W] for T = {steps}, got "
            f"{list(preds.shape)} and {list(target.shape)}"
        )
    if preds.dtype != target.dtype:
        raise TypeError(f"preds, target: expected one dtype, got {preds.dtype} and {target.dtype}")
    height, width = preds.shape[-2:]
    if not 0 <= radius < (min(height, width) + 1) // 2:
        raise ValueError(f"radius: expected 0 to {(min(height, width) - 1) // 2}, got {radius}")
    scale, lead = _scale(preds, data_range), preds.shape[:-4]
    mine, true = (x.reshape(-1, *x.shape[-4:]) for x in (preds, target))
    to, far = (x.reshape(-1, steps).clamp_min(0) for x in (returns.to, returns.far))
    rows = torch.arange(len(mine), device=preds.device)
    parts: list[list[Tensor]] = [[], [], [], [], []]
    for t in range(steps):
        three = [(x[rows, to[:, t]], x[rows, far[:, t]], x[:, t + 1]) for x in (mine, true)]
        mask = _mask(three[1][2], three[1][0], levels * scale)
        for n, (start, middle, end) in enumerate(three):
            way = _masked_distance(start, middle, mask) + _masked_distance(middle, end, mask)
            parts[2 * n].append(_masked_distance(start, end, mask) / scale)
            parts[2 * n + 1].append(way / scale)
        parts[4].append(_best_distance(three[0][2], three[0][0], mask, radius) / scale)
    gap, way, true_gap, true_way, registered = (
        torch.stack(part, 1).view(*lead, steps) for part in parts
    )
    none = returns.to < 0
    reason = torch.where(none, int(Reason.NO_RETURN), 0)
    broken = ~none & ~(gap.isfinite() & way.isfinite())
    reason = torch.where(broken, int(Reason.NON_FINITE), reason).to(torch.uint8)
    error = (gap - true_gap).clamp_min(0) + (true_way - way).clamp_min(0)
    score = (1 - error / torch.maximum(way, true_way)).clamp(0, 1)
    unknown = reason != 0
    still = ~unknown & (way == 0)
    stability_reason = torch.where(still, int(Reason.NO_MOTION), reason.long()).to(torch.uint8)
    return Closure(
        score=score.masked_fill(unknown, torch.nan),
        distance=gap.masked_fill(unknown, torch.nan),
        registered=registered.masked_fill(unknown, torch.nan),
        stability=(2 * gap / way).masked_fill(stability_reason != 0, torch.nan),
        motion=(way / true_way).masked_fill(unknown, torch.nan),
        reason=reason,
        stability_reason=stability_reason,
    )


def _scale(frames: Tensor, data_range: float | None) -> float:
    return data_range or (255.0 if frames.dtype == torch.uint8 else 1.0)


def _mask(first: Tensor, second: Tensor, levels: float) -> Tensor:
    """`[N, H, W]` bool: pixels of `[N, C, H, W]` of which no channel differs by more."""
    wide = torch.int16 if first.dtype == torch.uint8 else torch.float64
    # A little slack for floats, of which 4 / 255 is no exact difference.
    return ((first.to(wide) - second.to(wide)).abs() <= levels * 1.0001).all(1)


def _is_back(first: Tensor, second: Tensor, levels: float) -> Tensor:
    """Share of the picture that is the same, `[N]` float64."""
    return _mask(first, second, levels).double().flatten(1).mean(1)


def _masked_distance(first: Tensor, second: Tensor, mask: Tensor) -> Tensor:
    """Root mean square difference over the pixels of a mask, `[N]` float64; 0 for no pixel."""
    squares = (first.double() - second.double()).square().sum(1)
    count = mask.flatten(1).sum(1) * first.shape[1]
    # A NaN outside of the mask is none: `where`, not a product.
    total = torch.where(mask, squares, 0.0).flatten(1).sum(1)
    return (total / count.clamp_min(1)).sqrt()


def _best_distance(frame: Tensor, earlier: Tensor, mask: Tensor, radius: int) -> Tensor:
    """The least masked distance over displacements of `frame`, all over the same inner pixels."""
    if radius == 0:
        return _masked_distance(frame, earlier, mask)
    height, width = frame.shape[-2:]
    inner = (..., slice(radius, height - radius), slice(radius, width - radius))
    best = torch.full((len(frame),), torch.inf, dtype=torch.float64, device=frame.device)
    for dy in range(2 * radius + 1):
        for dx in range(2 * radius + 1):
            part = (..., slice(dy, height - 2 * radius + dy), slice(dx, width - 2 * radius + dx))
            best = torch.minimum(best, _masked_distance(frame[part], earlier[inner], mask[inner]))
    return best
