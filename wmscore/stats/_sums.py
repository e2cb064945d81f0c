"""Sums whose rounding does not depend on how many columns are summed at once."""

from __future__ import annotations

from torch import Tensor

__all__ = ["sum_scenarios", "sum_steps"]


def sum_scenarios(values: Tensor) -> Tensor:
    """Sum over dim 0 of ``[S, ...]``, one scenario after the other."""
    if values.shape[0] == 0:
        return values.sum(0)
    # A plain sum goes through a lone column in another order than through one of many.
    return values.cumsum(0)[-1]


def sum_steps(values: Tensor) -> Tensor:
    """Sum over the last dim of ``[..., T]``, of T > 0, one step after the other."""
    return values.cumsum(-1)[..., -1]
