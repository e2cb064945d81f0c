"""Correction of p-values for the number of questions that were asked."""

from __future__ import annotations

import torch
from torch import Tensor

from wmscore.stats._check import check_values

__all__ = ["holm"]


def holm(p_values: Tensor, dim: int = -1) -> Tensor:
    r"""Holm's step-down correction: reject at a level what comes out at or below it.

    With the p-values of a family of m in order, :math:`p_{(1)} \le \dots \le p_{(m)}`:

    .. math:: \tilde p_{(i)} = \max_{j \le i} \min(1, (m - j + 1) \, p_{(j)})

    The chance of any false rejection in the family is at most the level, whatever the dependence.

    Args:
        p_values: floating point, in [0, 1]. NaN stands for a question that could not be asked: it
            stays NaN and does not count in m.
        dim: along which the family lies; other dims are families of their own.

    Returns:
        Float64 of the same shape, in [0, 1].

    Raises:
        TypeError: not a floating point tensor.
        ValueError: a tensor without dims.

    Source:
        Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scand. J. Statist. 6 (1979).

    Example:
        >>> import torch
        >>> corrected = holm(torch.tensor([0.01, 0.04, 0.03, 0.2], dtype=torch.float64))
        >>> [round(p, 9) for p in corrected.tolist()]
        [0.04, 0.09, 0.09, 0.2]
    """
    check_values("p_values", p_values)
    if p_values.ndim == 0:
        raise ValueError("p_values must have at least one dim, got a tensor without dims")
    values = p_values.to(torch.float64).movedim(dim, -1)
    ordered, order = values.sort(dim=-1, stable=True)  # NaN last
    asked = ~ordered.isnan()
    rank = torch.arange(values.shape[-1], dtype=torch.float64, device=values.device)
    scaled = (asked.sum(-1, keepdim=True) - rank) * ordered
    stepped = torch.where(asked, scaled, 0.0).cummax(-1).values.clamp(max=1.0)
    stepped = torch.where(asked, stepped, torch.nan)
    return torch.empty_like(values).scatter_(-1, order, stepped).movedim(-1, dim)
