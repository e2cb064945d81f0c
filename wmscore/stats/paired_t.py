"""Student's paired t test over scenarios."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.stats._check import ALTERNATIVES, check_choice, check_scenarios, reason_where
from wmscore.stats._sums import sum_scenarios
from wmscore.stats.student import student_two_sided

__all__ = ["PairedTTest", "paired_t_test"]


class PairedTTest(NamedTuple):
    """What `paired_t_test` returns, each ``[...]``.

    Attributes:
        statistic: float64, the mean difference over its standard error; infinite where all
            differences are the same and not 0.
        p_value: float64 in [0, 1]; NaN with fewer than two pairs.
        scenarios: int64, pairs that have a difference.
        reason: uint8, TOO_FEW_SAMPLES where `p_value` is NaN.
    """

    statistic: Tensor
    p_value: Tensor
    scenarios: Tensor
    reason: Tensor


def paired_t_test(differences: Tensor, *, alternative: str = "two-sided") -> PairedTTest:
    r"""Paired t test: the p-value that goes with `mean_interval`.

    .. math:: t = \bar d \, \sqrt{S} / s, \qquad S - 1 \text{ degrees of freedom}

    It takes differences for normal; `sign_flip_test` does not.

    Args:
        differences: ``[S, ...]``, floating point, one mean difference per scenario: average its
            seeds first. NaN and infinite values are missing pairs: dropped in their column, and
            counted.
        alternative: "two-sided", "greater" (the mean is above 0) or "less".

    Returns:
        A `PairedTTest` of ``[...]`` tensors. Where no difference differs from 0, p is 1 for either
        side.

    Raises:
        TypeError: differences are not a floating point tensor.
        ValueError: no scenario dim, or another alternative.

    Example:
        >>> import torch
        >>> values = [1.2, 0.4, -0.3, 0.9, 0.6, 0.1, 0.8, -0.2]
        >>> found = paired_t_test(torch.tensor(values, dtype=torch.float64))
        >>> round(found.statistic.item(), 6), round(found.p_value.item(), 7)
        (2.304256, 0.0546473)
    """
    check_scenarios("differences", differences)
    check_choice("alternative", alternative, ALTERNATIVES)
    values = differences.to(torch.float64)
    there = values.isfinite()
    count = there.sum(0)
    mean = sum_scenarios(torch.where(there, values, 0.0)) / count
    squares = sum_scenarios(torch.where(there, values - mean, 0.0).square())
    few = count < 2
    statistic = mean / (squares / (count - 1) / count).sqrt()
    nothing = ~few & (mean == 0)
    statistic = torch.where(few, torch.nan, torch.where(nothing, 0.0, statistic))
    p_value = student_two_sided(statistic, (count - 1).to(torch.float64))
    if alternative != "two-sided":
        ahead = statistic > 0 if alternative == "greater" else statistic < 0
        p_value = torch.where(ahead, p_value / 2, 1 - p_value / 2)
    p_value = torch.where(nothing & (squares == 0), 1.0, p_value)
    return PairedTTest(statistic, torch.where(few, torch.nan, p_value), count, reason_where(few))
