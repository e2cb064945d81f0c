"""Wilcoxon's signed-rank test: do differences lean to one side, however large they are?"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.stats._check import (
    ALTERNATIVES,
    LEAST_PAIRS,
    check_choice,
    check_scenarios,
    reason_where,
)
from wmscore.stats._sort import sort_last

__all__ = ["SignedRankTest", "signed_rank_test"]

_EXACT_RANKS = 50
_PIECE = 1 << 21  # probabilities held at a time


class SignedRankTest(NamedTuple):
    """What `signed_rank_test` returns, each ``[...]``.

    Attributes:
        statistic: float64, the sum of the ranks of positive differences; NaN where there is no
            pair.
        effect: float64 in [-1, 1], that sum less the one of negative differences, as a share of
            both (the matched-pairs rank-biserial correlation); 0 where no difference differs
            from 0.
        p_value: float64 in (0, 1]; NaN where there are too few pairs for any verdict.
        exact: bool, whether it is of the exact distribution.
        scenarios: int64, pairs that have a difference.
        reason: uint8, TOO_FEW_SAMPLES where `p_value` is NaN.
    """

    statistic: Tensor
    effect: Tensor
    p_value: Tensor
    exact: Tensor
    scenarios: Tensor
    reason: Tensor


def signed_rank_test(
    differences: Tensor, *, alternative: str = "two-sided", method: str = "auto"
) -> SignedRankTest:
    r"""Wilcoxon's signed-rank test over scenarios.

    Differences of 0 are dropped; the sizes of the others are ranked, ties at their mean rank, and
    the ranks of positive ones summed to :math:`W^+`. If two models are alike, each rank is as
    likely to be of a positive as of a negative difference. The exact distribution over all patterns
    of signs, given the ties, goes up to 50 ranks; beyond,

    .. math:: z = \Bigl(W^+ - \frac{n (n + 1)}{4}\Bigr) \Big/
        \sqrt{\frac{n (n + 1) (2 n + 1)}{24} - \frac{\sum_t (t^3 - t)}{48}}

    is taken as normal, t the size of each group of ties. It asks about the median difference under
    symmetry, not about the mean: `sign_flip_test` does that.

    Args:
        differences: ``[S, ...]``, floating point, one mean difference per scenario. NaN and
            infinite values are missing pairs: dropped in their column, and counted.
        alternative: "two-sided", "greater" (differences lie above 0) or "less".
        method: "auto", "exact" (however many) or "normal".

    Returns:
        A `SignedRankTest` of ``[...]`` tensors. Fewer than 6 pairs (5 for a one-sided test) have no
        p-value.

    Raises:
        TypeError: differences are not a floating point tensor.
        ValueError: no scenario dim, or another alternative or method.

    Source:
        Wilcoxon, Individual Comparisons by Ranking Methods, Biometrics Bulletin 1 (1945). Equal to
        `scipy.stats.wilcoxon`, which has the exact distribution without ties only.

    Example:
        >>> import torch
        >>> found = signed_rank_test(torch.tensor([1.2, 0.4, -0.3, 0.9, 0.6, 0.1, 0.8, -0.2]))
        >>> found.statistic.item(), found.p_value.item()
        (31.0, 0.078125)
    """
    check_scenarios("differences", differences)
    check_choice("alternative", alternative, ALTERNATIVES)
    check_choice("method", method, ("auto", "exact", "normal"))
    shape = differences.shape[1:]
    values = (
        differences.to(torch.float64).reshape(differences.shape[0], shape.numel()).T.contiguous()
    )
    there = values.isfinite()  # [M, S]
    pairs = there.sum(-1)
    values = torch.where(there, values, 0.0)
    ranks = _double_ranks(values.abs())
    number = (ranks > 0).sum(-1)
    up = torch.where(values > 0, ranks, 0).sum(-1)
    total = ranks.sum(-1)  # n (n + 1), whatever the ties
    down = total - up
    exact = number <= {"exact": values.shape[1], "auto": _EXACT_RANKS, "normal": -1}[method]
    # The squares of midranks carry the correction for ties.
    spread = ranks.to(torch.float64).square().sum(-1).sqrt()
    z = torch.where(spread > 0, (up - down) / spread, 0.0)
    high, low = torch.special.ndtr(-z), torch.special.ndtr(z)
    if values.shape[1] > 0 and bool(exact.any()):
        high[exact], low[exact] = _exact_tails(ranks[exact], up[exact])
    if alternative == "two-sided":
        p_value = (2 * torch.minimum(high, low)).clamp(max=1.0)
    else:
        p_value = high if alternative == "greater" else low
    few = pairs < LEAST_PAIRS[alternative]
    return SignedRankTest(
        torch.where(pairs > 0, up / 2, torch.nan).reshape(shape),
        torch.where(pairs > 0, (up - down) / total.clamp(min=1), torch.nan).reshape(shape),
        torch.where(few, torch.nan, p_value).reshape(shape),
        exact.reshape(shape),
        pairs.reshape(shape),
        reason_where(few).reshape(shape),
    )


def _double_ranks(sizes: Tensor) -> Tensor:
    """Twice the mean rank of each size of ``[M, S]`` among those above 0, which have rank 0."""
    ordered = sort_last(sizes)
    zeros = (sizes == 0).sum(-1, keepdim=True)
    before = torch.searchsorted(ordered, sizes)
    upto = torch.searchsorted(ordered, sizes, right=True)
    return torch.where(sizes > 0, before + upto + 1 - 2 * zeros, 0)


def _exact_tails(ranks: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    """P(sum >= up) and P(sum <= up) over all signs, of ``[M, S]`` doubled ranks."""
    # Columns differ by their ties and missing pairs only: mostly there are few kinds.
    kinds, kind = torch.unique(sort_last(ranks), dim=0, return_inverse=True)
    high = torch.empty(len(ranks), dtype=torch.float64, device=ranks.device)
    low = torch.empty_like(high)
    places = ranks.shape[1] * (ranks.shape[1] + 1) + 1
    width = max(1, _PIECE // places)
    for start in range(0, len(kinds), width):
        upwards = _distribution(kinds[start : start + width], places).cumsum(1)  # P(sum <= t)
        here = (kind >= start) & (kind < start + width)
        row, sums = kind[here] - start, up[here]
        low[here] = upwards[row, sums]
        # The distribution is symmetric: sums from `up` are as likely as those up to its mirror.
        high[here] = upwards[row, ranks[here].sum(-1) - sums]
    return high, low


def _distribution(ranks: Tensor, places: int) -> Tensor:
    """Probability of each sum 0 .. places - 1 of randomly chosen ranks, ``[U, places]``."""
    chances = torch.zeros(len(ranks), places, dtype=torch.float64, device=ranks.device)
    chances[:, 0] = 1.0
    sums = torch.arange(places, device=ranks.device)
    for rank in ranks.T[:, :, None]:
        source = sums - rank
        moved = chances.gather(1, source.clamp(min=0))
        chances = (chances + torch.where(source >= 0, moved, 0.0)) / 2
    return chances
