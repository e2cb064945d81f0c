"""Interval of a mean over scenarios."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.stats._check import check_number, check_scenarios, reason_where
from wmscore.stats._sums import sum_scenarios
from wmscore.stats.student import student_quantile

__all__ = ["MeanInterval", "mean_interval"]


class MeanInterval(NamedTuple):
    """What `mean_interval` returns, each ``[...]``.

    Attributes:
        mean: float64, over the scenarios that have a value; NaN where none has.
        low: float64, lower end; NaN with fewer than two values.
        high: float64, upper end.
        scenarios: int64, those that have a value.
        reason: uint8, TOO_FEW_SAMPLES where the interval is NaN.
    """

    mean: Tensor
    low: Tensor
    high: Tensor
    scenarios: Tensor
    reason: Tensor


def mean_interval(values: Tensor, level: float = 0.95) -> MeanInterval:
    r"""Mean over scenarios with the interval of Student's t.

    .. math:: \bar v \pm t_{S - 1} \, s / \sqrt{S}

    Scenarios are the unit: average seeds and steps of a scenario first, or the interval claims more
    than the panel can tell.

    Args:
        values: ``[S, ...]``, floating point, one value per scenario. NaN and infinite values are
            missing: dropped in their column, and counted.
        level: of confidence, in (0, 1).

    Returns:
        A `MeanInterval` of ``[...]`` tensors.

    Raises:
        TypeError: not a floating point tensor.
        ValueError: no scenario dim, or a level outside (0, 1).

    Example:
        >>> import torch
        >>> found = mean_interval(torch.tensor([1.2, 0.4, -0.3, 0.9, 0.6, 0.1, 0.8, -0.2]))
        >>> round(found.mean.item(), 4), round(found.low.item(), 4), round(found.high.item(), 4)
        (0.4375, -0.0115, 0.8865)
    """
    check_scenarios("values", values)
    check_number("level", level, 0.0, 1.0)
    values = values.to(torch.float64)
    there = values.isfinite()
    count = there.sum(0)
    mean = sum_scenarios(torch.where(there, values, 0.0)) / count
    squares = sum_scenarios(torch.where(there, values - mean, 0.0).square())
    enough = count >= 2
    error = (squares / (count - 1) / count).sqrt()
    half = error * _quantile(count, values.shape[0], 0.5 + level / 2)
    low, high = (torch.where(enough, end, torch.nan) for end in (mean - half, mean + half))
    return MeanInterval(mean, low, high, count, reason_where(~enough))


def _quantile(count: Tensor, most: int, probability: float) -> Tensor:
    """Student's quantile for each count of values; once for each count if these are fewer."""
    table = count.numel() > most
    samples = torch.arange(most + 1, device=count.device) if table else count
    freedom = (samples - 1).to(torch.float64)
    quantile = student_quantile(torch.full_like(freedom, probability), freedom)
    return quantile[count] if table else quantile
