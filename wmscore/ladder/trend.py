"""Page's test: do the scenarios agree that it gets worse from rung to rung?"""

from __future__ import annotations

import itertools
import math
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["PageTest", "page_test"]

_MOST_EXACT = 6  # rungs: 720 orders
_MOST_SCENARIOS = 100  # convolutions cost the square of their number


class PageTest(NamedTuple):
    """What `page_test` returns.

    Attributes:
        statistic: Page's L, the sum of rung number times rank; NaN where nothing is to be ranked.
        p_value: chance of an L at least as large if all orders were alike, one-sided.
        exact: from all orders, else from the normal approximation.
        scenarios: how many count, those with a value at each rung.
    """

    statistic: float
    p_value: float
    exact: bool
    scenarios: int


def page_test(values: Tensor) -> PageTest:
    r"""Whether values rise from rung to rung, over scenarios.

    .. math:: L = \sum_j j \sum_s r_{sj}, \qquad
        E L = \frac{S k (k + 1)^2}{4}, \quad
        \mathrm{Var} L = \frac{k (k + 1)}{12} \sum_s \sum_j (r_{sj} - \bar r)^2

    with mid-ranks r within a scenario. For up to 6 rungs and 100 scenarios the p-value is exact,
    conditional on ties: the distribution of L over all orders of each scenario's ranks, convolved
    over scenarios.

    Args:
        values: ``[S, k]``, floating point; a scenario with NaN is left out.

    Returns:
        A `PageTest`; NaN with fewer than two rungs or no scenario.

    Raises:
        ValueError: another shape.

    Source:
        Page, Ordered Hypotheses for Multiple Treatments, JASA 58 (1963), 216-230.

    Example:
        >>> page_test(torch.tensor([[0.0, 1.0, 2.0], [0.0, 2.0, 1.0], [1.0, 2.0, 3.0]])).statistic
        41.0
    """
    if values.dim() != 2:
        raise ValueError(f"values: expected [S, k], got {list(values.shape)}")
    known = values[values.isfinite().all(1)].double()
    scenarios, rungs = known.shape
    if scenarios == 0 or rungs < 2:
        return PageTest(math.nan, math.nan, False, scenarios)
    below = (known[:, :, None] > known[:, None]).sum(2)
    ties = (known[:, :, None] == known[:, None]).sum(2)
    ranks = below + (ties + 1) / 2
    number = torch.arange(1, rungs + 1, dtype=torch.float64)
    statistic = float((ranks * number).sum())
    if rungs <= _MOST_EXACT and scenarios <= _MOST_SCENARIOS:
        # Ranks are halves: twice the statistic is whole.
        chance = torch.ones(1, dtype=torch.float64)
        for row in (2 * ranks).long().tolist():
            chance = _convolve(chance, _orders(tuple(sorted(row))))
        at_least = chance[round(2 * statistic) :].sum()
        return PageTest(statistic, min(1.0, float(at_least)), True, scenarios)
    mean = scenarios * rungs * (rungs + 1) ** 2 / 4
    spread = ((ranks - (rungs + 1) / 2) ** 2).sum() * rungs * (rungs + 1) / 12
    if float(spread) == 0:
        return PageTest(statistic, 1.0, False, scenarios)
    z = (statistic - mean) / float(spread) ** 0.5
    return PageTest(statistic, 0.5 * math.erfc(z / 2**0.5), False, scenarios)


@cache
def _orders(ranks: tuple[int, ...]) -> Tensor:
    """The chance of each value of the sum of rung number times rank, over all orders of ranks."""
    orders = torch.tensor(list(itertools.permutations(ranks)))
    sums = (orders * torch.arange(1, len(ranks) + 1)).sum(1)
    return torch.bincount(sums).double() / len(orders)


def _convolve(first: Tensor, second: Tensor) -> Tensor:
    """Distribution of the sum of two, `[a + b - 1]`."""
    padded = torch.nn.functional.pad(first, (len(second) - 1, len(second) - 1))
    return torch.conv1d(padded[None, None], second.flip(0)[None, None])[0, 0]
