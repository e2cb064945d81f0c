"""The difference of two models, cell by cell: estimate, interval and p-value.

On tensors alone, any number of columns at once; `wmscore.comparison.compare` puts names to it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.comparison._check import ESTIMANDS, check_cells, check_choice, check_level
from wmscore.functional import Reason
from wmscore.stats import mean_interval, sign_flip_test, student_quantile
from wmscore.stats.cells import CellSums, cell_correlation, cell_sums, pieces

__all__ = ["PairedDifference", "paired_difference", "scenario_differences"]

_TIED = 1e-12  # share of the values' size below which a difference is rounding


class PairedDifference(NamedTuple):
    """What `paired_difference` returns, each ``[...]``.

    Attributes:
        estimate: float64, candidate - baseline, each scenario with the same weight; NaN where no
            pair is left.
        low: float64, lower end of the interval; NaN with too few pairs for one.
        high: float64, upper end.
        error: float64, standard error of the estimate, from what the interval is made of.
        p_value: float64 in (0, 1], two-sided; NaN where there are too few units for any verdict.
        exact: bool, whether the p-value goes through all patterns.
        baseline: float64, mean of the baseline over the same pairs with the same weights.
        candidate: float64, mean of the candidate.
        deviation: float64, standard deviation of the scenarios' mean differences; NaN below two
            scenarios.
        scenarios: int64, those with at least one pair.
        pairs: int64, (scenario, seed) cells that both models have.
        better: int64, scenarios in which the candidate is better.
        worse: int64, scenarios in which it is worse; the others are tied.
        seed_correlation: float64 in [-1, 1], of the two models' values over the seeds of a
            scenario; NaN where one of them does not vary with its seed.
        reason: uint8, TOO_FEW_SAMPLES where `p_value` is NaN: too few units, or seeds that all
            repeat each other, so that there is no chance for a test of seeds to speak of.
    """

    estimate: Tensor
    low: Tensor
    high: Tensor
    error: Tensor
    p_value: Tensor
    exact: Tensor
    baseline: Tensor
    candidate: Tensor
    deviation: Tensor
    scenarios: Tensor
    pairs: Tensor
    better: Tensor
    worse: Tensor
    seed_correlation: Tensor
    reason: Tensor


def paired_difference(
    baseline: Tensor,
    candidate: Tensor,
    *,
    estimand: str = "scenarios",
    level: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> PairedDifference:
    r"""Difference of two models over matched cells, with its interval and p-value.

    Seeds are averaged within a scenario first, over the pairs that both models have:

    .. math:: \delta_s = \frac{1}{K_s} \sum_k (b_{sk} - a_{sk}), \quad
        \hat\delta = \frac{1}{S} \sum_s \delta_s

    What it is meant to hold for is the caller's choice. ``"scenarios"``: new scenarios of the same
    kind. The unit is the scenario: Student's t interval over :math:`\delta_s`, and the p-value of
    flipping their signs. ``"seeds"``: new seeds on these very scenarios. The unit is the pair: the
    interval takes the variance within scenarios only,

    .. math:: \hat\delta \pm t_\nu \, \Bigl(\frac{1}{S^2} \sum_s \frac{s_s^2}{K_s}\Bigr)^{1/2}

    with Satterthwaite's degrees of freedom (a scenario with one pair takes the pooled variance),
    and the p-value swaps the two labels within pairs. It is narrower, and says nothing of a
    scenario that is not on the panel. Pairs of a scenario that repeat each other, as those of
    models that do not use their seed, are swapped together, as one unit.

    Args:
        baseline: ``[S, K, ...]``, floating point, higher is better. NaN and infinite values are
            missing; a cell that either model misses counts for neither.
        candidate: the same of the other model, matched by scenario and seed.
        estimand: "scenarios" or "seeds".
        level: of confidence, in (0, 1).
        draws: random patterns of signs where there are too many to go through.
        seed: of those patterns.

    Returns:
        A `PairedDifference` of ``[...]`` tensors, positive where the candidate is better.

    Raises:
        TypeError: not floating point tensors, or a level or draws that are no numbers.
        ValueError: shapes that differ or lack a dim, another estimand, a level outside (0, 1).

    Source:
        Miller, Adding Error Bars to Evals (arXiv:2411.00640) for clusters and pairs; Welch, The
        Generalization of "Student's" Problem, Biometrika 34 (1947).

    Example:
        >>> import torch
        >>> gain = torch.tensor([1.2, 0.4, -0.3, 0.9, 0.6, 0.1, 0.8, -0.2], dtype=torch.float64)
        >>> old = torch.full((8, 4), 10.0, dtype=torch.float64)
        >>> found = paired_difference(old, old + gain[:, None])
        >>> round(found.estimate.item(), 4), found.p_value.item() == 18 / 256
        (0.4375, True)
        >>> round(found.low.item(), 4), round(found.high.item(), 4)
        (-0.0115, 0.8865)
    """
    check_cells("baseline", baseline)
    check_cells("candidate", candidate, like=baseline)
    check_choice("estimand", estimand, ESTIMANDS)
    check_level(level)
    sums = cell_sums(baseline, candidate)
    count, mean_delta = sums.pairs, sums.delta  # [S, ...]
    over = mean_interval(mean_delta, level)
    deviation = _deviation(mean_delta)
    if estimand == "scenarios":
        test = sign_flip_test(mean_delta, draws=draws, seed=seed)
        low, high = over.low, over.high
        error = deviation / over.scenarios.double().sqrt()
        p_value, exact, reason = test.p_value, test.exact, test.reason
    else:
        low, high, error = _interval_of_seeds(sums, level)
        still = error <= 0
        units = torch.cat([_units(*part) for part in pieces(baseline, candidate)])
        units = units.movedim(1, -1).flatten(0, 1).reshape(-1, *baseline.shape[2:])
        test = sign_flip_test(units, draws=draws, seed=seed)
        p_value = torch.where(still, torch.nan, test.p_value)
        exact = test.exact
        reason = torch.where(still, int(Reason.TOO_FEW_SAMPLES), test.reason).to(torch.uint8)
    size = torch.maximum(sums.first.abs(), sums.second.abs())
    apart = mean_delta.abs() > _TIED * size
    return PairedDifference(
        estimate=over.mean,
        low=low,
        high=high,
        error=error,
        p_value=p_value,
        exact=exact,
        baseline=_mean(sums.first),
        candidate=_mean(sums.second),
        deviation=deviation,
        scenarios=over.scenarios,
        pairs=count.sum(0),
        better=(apart & (mean_delta > 0)).sum(0),
        worse=(apart & (mean_delta < 0)).sum(0),
        seed_correlation=cell_correlation(sums),
        reason=reason,
    )


def scenario_differences(baseline: Tensor, candidate: Tensor) -> Tensor:
    """Mean difference candidate - baseline of each scenario, over the pairs that both have.

    Args:
        baseline: ``[S, K, ...]``, as for `paired_difference`.
        candidate: the same of the other model.

    Returns:
        ``[S, ...]`` float64; NaN for a scenario without a pair.

    Raises:
        TypeError: not floating point tensors.
        ValueError: shapes that differ or lack a dim.

    Example:
        >>> import torch
        >>> old, new = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[2.0, torch.nan]] * 2)
        >>> scenario_differences(old, new).tolist()
        [1.0, -1.0]
    """
    check_cells("baseline", baseline)
    check_cells("candidate", candidate, like=baseline)
    return cell_sums(baseline, candidate).delta


def _sum(values: Tensor) -> Tensor:
    """Over dim 0, in one order whatever the number of columns that are summed at once."""
    return values.cumsum(0)[-1]


def _mean(values: Tensor) -> Tensor:
    """Of the finite values over dim 0."""
    there = values.isfinite()
    return _sum(torch.where(there, values, 0.0)) / there.sum(0)


def _deviation(values: Tensor) -> Tensor:
    """Standard deviation of the finite values over dim 0."""
    there = values.isfinite()
    count = there.sum(0)
    squares = _sum(torch.where(there, values - _mean(values), 0.0).square())
    return torch.where(count >= 2, (squares / (count - 1)).sqrt(), torch.nan)


def _interval_of_seeds(sums: CellSums, level: float) -> tuple[Tensor, Tensor, Tensor]:
    """Interval over seeds of fixed scenarios, and its standard error."""
    count, squares = sums.pairs, sums.squares
    scenarios = (count > 0).sum(0)
    freedom = (count - 1).clamp(min=0)  # [S, ...]
    variance = torch.where(freedom > 0, squares / freedom, 0.0)
    share = 1 / count.to(torch.float64)
    # Variance of the mean as a sum of independent terms; lone pairs take the pooled variance.
    lone = (count == 1).sum(0)
    weight = torch.where(
        freedom > 0, share + lone * freedom.to(share) / freedom.sum(0).clamp(min=1), 0.0
    )
    terms = weight * variance
    total = _sum(terms)
    spent = _sum(torch.where(freedom > 0, terms.square() / freedom.clamp(min=1), 0.0))
    enough = freedom.sum(0) > 0
    effective = torch.where(total > 0, total.square() / spent, 1.0)
    error = torch.where(enough, total.sqrt() / scenarios, torch.nan)
    half = error * student_quantile(torch.full_like(total, 0.5 + level / 2), effective)
    estimate = _mean(sums.delta)
    return estimate - half, estimate + half, error


def _units(first: Tensor, second: Tensor) -> Tensor:
    """What is flipped as one, ``[s, columns, K]``, NaN for no unit; its sum is the estimate's.

    Whether the pairs of a scenario repeat each other is told from unordered pairs, so that it does
    not depend on the labels that are swapped.
    """
    there = (second - first).isfinite()
    first, second = (torch.where(there, values, 0.0) for values in (first, second))
    count = there.sum(-1, keepdim=True)
    share = (second - first) / count.clamp(min=1)
    low, high = torch.minimum(first, second), torch.maximum(first, second)

    def same(values: Tensor) -> Tensor:
        least = torch.where(there, values, torch.inf).amin(-1, keepdim=True)
        return least == torch.where(there, values, -torch.inf).amax(-1, keepdim=True)

    repeated = same(low) & same(high) & (count > 1)  # [s, columns, 1]
    apart = torch.where(there, share, torch.nan)
    together = torch.full_like(share, torch.nan)
    together[..., 0] = share.cumsum(-1)[..., -1]
    return torch.where(repeated, together, apart)
