"""Distances between a model's own latents and those of the encoded reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.linalg import vector_norm

from wmscore.functional._check import check_vectors
from wmscore.functional._chunks import piece_elements
from wmscore.functional.reasons import Reason

__all__ = ["latent_cosine", "latent_l2", "latent_reason"]


def latent_cosine(preds: Tensor, target: Tensor) -> Tensor:
    r"""Cosine distance of latents.

    .. math:: 1 - \frac{\langle z, z^* \rangle}{|z| |z^*|}
        = \tfrac12 \left| \frac{z}{|z|} - \frac{z^*}{|z^*|} \right|^2

    It does not see the length of a latent: a model whose latents shrink has no drift by it, but has
    by :func:`latent_l2`.

    Args:
        preds: latents ``[..., D]`` that the model gives, floating point.
        target: latents of the reference frames, of the same shape, dtype and device.

    Returns:
        ``[...]`` float64 in [0, 2], lower is better, exactly 0 for equal latents. NaN where a
        latent is not finite, or zero, which has no direction; :func:`latent_reason` says which.

    Raises:
        ValueError: shapes or devices differ, or D is 0.
        TypeError: not tensors, or dtypes differ or are not floating point.

    Example:
        >>> latent_cosine(torch.tensor([[3.0, 4.0], [1.0, 0.0]]),
        ...               torch.tensor([[6.0, 8.0], [0.0, 2.0]]))
        tensor([0., 1.], dtype=torch.float64)
    """

    def distance(z: Tensor, reference: Tensor) -> Tensor:
        return (unit(z) - unit(reference)).square().sum(-1) / 2

    return _by_rows(distance, preds, target)


def latent_l2(preds: Tensor, target: Tensor) -> Tensor:
    r"""Distance of latents, relative to the length of the reference's.

    .. math:: \frac{|z - z^*|}{|z^*|}

    It has no unit, so that latents of different models compare: 0 is the reference, 1 is as far as
    a latent of zeros. A large part that all latents share makes all distances small: then subtract
    it from both first, or look at the score, which is relative to the frozen baseline.

    Args:
        preds: latents ``[..., D]`` that the model gives, floating point.
        target: latents of the reference frames, of the same shape, dtype and device.

    Returns:
        ``[...]`` float64, 0 or more, lower is better. NaN where a latent is not finite or the
        reference's is zero; :func:`latent_reason` says which.

    Raises:
        ValueError: shapes or devices differ, or D is 0.
        TypeError: not tensors, or dtypes differ or are not floating point.

    Example:
        >>> latent_l2(torch.tensor([[3.0, 4.0], [0.0, 0.0]]),
        ...           torch.tensor([[3.0, 3.0], [5.0, 0.0]]))
        tensor([0.2357, 1.0000], dtype=torch.float64)
    """

    def distance(z: Tensor, reference: Tensor) -> Tensor:
        error: Tensor = vector_norm(z - reference, dim=-1)
        length: Tensor = vector_norm(reference, dim=-1)
        return error / length.where(length > 0, torch.nan)

    return _by_rows(distance, preds, target)


def latent_reason(values: Tensor, preds: Tensor, target: Tensor) -> Tensor:
    """Say why distances of :func:`latent_cosine` or :func:`latent_l2` are NaN.

    Args:
        values: what the function returned, ``[...]``.
        preds: the latents it was given.
        target: the reference's latents it was given.

    Returns:
        ``[...]`` uint8, a :class:`Reason`: NON_FINITE_FEATURES where a latent is not finite,
        NO_SCALE where it is NaN all the same, because a latent is zero, DEFINED elsewhere.
    """
    check_vectors(preds=preds, target=target)

    def finite(z: Tensor, reference: Tensor) -> Tensor:
        return (z.isfinite() & reference.isfinite()).all(-1)

    reason = values.isnan().to(torch.uint8) * int(Reason.NO_SCALE)
    is_finite = _by_rows(finite, preds, target).bool()
    return reason.masked_fill(~is_finite, int(Reason.NON_FINITE_FEATURES))


def unit(vectors: Tensor) -> Tensor:
    """Vectors ``[..., D]`` divided by their lengths; NaN where one is zero or not finite."""
    length: Tensor = vector_norm(vectors, dim=-1, keepdim=True)
    return vectors / length.where((length > 0) & length.isfinite(), torch.nan)


def row_pieces(rows: int, row_elements: int, device: torch.device) -> Iterator[slice]:
    """Slices of rows, each of few enough elements for the temporaries of one piece."""
    size = max(1, 8 * piece_elements(device) // max(1, row_elements))
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


def _by_rows(function: Callable[[Tensor, Tensor], Tensor], preds: Tensor, target: Tensor) -> Tensor:
    """Apply a function of float64 pairs ``[n, D]`` a piece at a time, so that few are held."""
    check_vectors(preds=preds, target=target)
    leading = preds.shape[:-1]
    own, other = (z.reshape(-1, z.shape[-1]) for z in (preds, target))
    found = torch.empty(len(own), dtype=torch.float64, device=preds.device)
    for piece in row_pieces(len(own), own.shape[-1], own.device):
        found[piece] = function(own[piece].double(), other[piece].double())
    return found.reshape(leading)
