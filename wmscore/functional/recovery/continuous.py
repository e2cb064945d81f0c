"""Commanded against recognised values of a continuous action."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wmscore.functional._check import check_vectors
from wmscore.functional.reasons import Reason
from wmscore.functional.recovery._inputs import kept_steps

__all__ = ["VectorRecovery", "vector_recovery"]


@dataclass(frozen=True, kw_only=True, eq=False)
class VectorRecovery:
    """Recovery of continuous actions, ``[..., A]``: one value per dimension, rows pooled.

    Attributes:
        r2: float64 up to 1, coefficient of determination: share of the commanded values' variance
            that the recognised ones explain. 1 = exact, 0 = no better than their mean, below 0 =
            worse. Higher is better.
        correlation: float64 in [-1, 1], Pearson's: blind to gain and offset. NaN also where the
            recognised values are constant.
        slope: float64, least-squares slope of recognised on commanded values: the gain as the
            recogniser sees it, which shrinks what it cannot tell; compare with its own slope on the
            reference.
        steps: int64, how many count.
        reason: uint8, a :class:`Reason`: TOO_FEW_ACTIONS where the commanded values do not vary
            makes all values NaN; NO_GENERATED_RESPONSE the correlation only.
    """

    r2: Tensor
    correlation: Tensor
    slope: Tensor
    steps: Tensor
    reason: Tensor


def vector_recovery(
    recognised: Tensor, commanded: Tensor, *, valid: Tensor | None = None
) -> VectorRecovery:
    r"""How much of a continuous action the frames show, by a recogniser's answers.

    .. math:: R^2 = 1 - \frac{\sum (c - \hat c)^2}{\sum (c - \bar c)^2}

    per dimension, over rows and steps. Constant answers cannot pass 0.

    Args:
        recognised: ``[..., B, T, A]`` floating point; steps that are not finite are left out.
        commanded: ``[..., B, T, A]`` floating point, of the same shape.
        valid: bool, broadcasts to ``[..., B, T]``, steps that count; ``None`` means all.

    Returns:
        :class:`VectorRecovery` of ``[..., A]`` tensors.

    Raises:
        ValueError: shapes or devices differ.
        TypeError: not floating point tensors of one dtype.

    Example:
        >>> commanded = torch.tensor([[[0.0], [1.0], [2.0], [3.0]]])
        >>> found = vector_recovery(0.5 * commanded, commanded)
        >>> found.slope.item(), found.correlation.item(), round(found.r2.item(), 3)
        (0.5, 1.0, 0.3)
    """
    check_vectors(recognised=recognised, commanded=commanded)
    if commanded.ndim < 3:
        raise ValueError(f"commanded must have shape [..., B, T, A], got {tuple(commanded.shape)}")
    answer, truth = recognised.double(), commanded.double()
    kept = kept_steps(valid, tuple(truth.shape[:-1]), truth.device)
    kept = (kept & truth.isfinite().all(-1) & answer.isfinite().all(-1))[..., None]
    count = kept.sum((-3, -2)).expand(*truth.shape[:-3], truth.shape[-1])

    def centred(values: Tensor) -> Tensor:
        there = values.where(kept, 0.0)
        mean = there.sum((-3, -2), keepdim=True) / count[..., None, None, :].clamp(min=1)
        return (there - mean).where(kept, 0.0)

    def total(values: Tensor) -> Tensor:
        return values.sum((-3, -2))

    moved, asked = centred(answer), centred(truth)
    variation, response = total(asked.square()), total(moved.square())
    both = total(moved * asked)
    still, frozen = variation == 0, response == 0
    error = total((answer - truth).where(kept, 0.0).square())
    reason = torch.zeros_like(both, dtype=torch.uint8)
    reason.masked_fill_(frozen, Reason.NO_GENERATED_RESPONSE)
    reason.masked_fill_(still, Reason.TOO_FEW_ACTIONS)
    # |r| <= 1 holds but for the last bit; the clamp only takes that bit away.
    correlation = (both / (variation * response).sqrt()).clamp(-1, 1)
    return VectorRecovery(
        r2=(1 - error / variation).masked_fill(still, torch.nan),
        correlation=correlation.masked_fill(still | frozen, torch.nan),
        slope=(both / variation).masked_fill(still, torch.nan),
        steps=count,
        reason=reason,
    )
