"""Where the spread of paired differences comes from: scenarios, or seeds within them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.stats._check import (
    as_float64,
    check_values,
    not_negative,
    reason_where,
)
from wmscore.stats._sums import sum_scenarios
from wmscore.stats.cells import cell_correlation, cell_sums
from wmscore.stats.power import detectable_difference

__all__ = ["PairedVariance", "paired_variance", "seeds_needed"]

_ROUNDING = 1e-9  # share by which a number of seeds may miss a whole one


class PairedVariance(NamedTuple):
    """What `paired_variance` returns, each ``[...]``.

    Attributes:
        mean: float64, mean over scenarios of their mean differences, candidate - baseline.
        sd: float64, standard deviation of the scenarios' mean differences: what the interval of the
            comparison is made of. It holds both parts.
        between: float64, variance from scenario to scenario that no number of seeds takes away: the
            interaction of scenario and model. 0 where the seeds alone explain the spread.
        within: float64, variance of one pair's difference around its scenario's mean.
        correlation: float64 in [-1, 1], of the two models' results for the same seed, around
            their scenario means: how much pairing by seed gains. NaN where one of them does not
            vary.
        scenarios: int64, those that have a pair.
        pairs: int64, cells that both models have.
        seeds: float64, pairs of a scenario, the harmonic mean over scenarios.
        reason: uint8, TOO_FEW_SAMPLES where `between` and `within` are NaN: fewer than two
            scenarios, or none with two pairs. `sd` needs the scenarios only.
    """

    mean: Tensor
    sd: Tensor
    between: Tensor
    within: Tensor
    correlation: Tensor
    scenarios: Tensor
    pairs: Tensor
    seeds: Tensor
    reason: Tensor

    def sd_with(self, seeds: float | Tensor) -> Tensor:
        """`sd` as it would be with so many seeds in each scenario, infinite for no limit."""
        count = as_float64("seeds", seeds).to(self.between.device)
        return (self.between + self.within / count).sqrt()


def paired_variance(baseline: Tensor, candidate: Tensor) -> PairedVariance:
    r"""Parts of the variance of paired differences ``[S, K]``.

    .. math:: d_{sk} = \Delta + v_s + e_{sk}, \quad
        \operatorname{Var} \bar d_s = \sigma_v^2 + \sigma_e^2 / K_s

    From the mean squares within scenarios and the variance of the scenarios' means:

    .. math:: \hat\sigma_e^2 = \frac{\sum_s \sum_k (d_{sk} - \bar d_s)^2}{\sum_s (K_s - 1)}, \quad
        \hat\sigma_v^2 = \max\Bigl(0, \operatorname{Var}_s \bar d_s
        - \hat\sigma_e^2 \, \tfrac1S \sum_s \tfrac1{K_s}\Bigr)

    Scenarios weigh the same however many pairs they have, as in the comparison. With the same
    number in each it is the usual analysis of variance with one random factor.

    Args:
        baseline: ``[S, K, ...]``, floating point: one result per scenario and seed, say its usable
            horizon. NaN and infinite values are missing; a pair of which either is missing is
            dropped, and the rest counted.
        candidate: the same shape, of the other model.

    Returns:
        A `PairedVariance` of ``[...]`` tensors.

    Raises:
        TypeError: not floating point tensors.
        ValueError: no dims S and K, or two shapes.

    Source:
        Searle, Casella and McCulloch, Variance Components (1992), unweighted means (section 3.6).

    Example:
        >>> import torch
        >>> baseline = torch.tensor([[10.0, 12.0], [20.0, 22.0], [30.0, 32.0]])
        >>> gain = torch.tensor([[1.0, 3.0], [5.0, 7.0], [3.0, 5.0]])
        >>> found = paired_variance(baseline, baseline + gain)
        >>> found.mean.item(), found.sd.item(), found.between.item(), found.within.item()
        (4.0, 2.0, 3.0, 2.0)
    """
    for name, value in (("baseline", baseline), ("candidate", candidate)):
        check_values(name, value)
        if value.ndim < 2:
            raise ValueError(f"{name} must have shape [S, K, ...], got {tuple(value.shape)}")
    if baseline.shape != candidate.shape:
        raise ValueError(
            f"candidate must have the shape of baseline, {tuple(baseline.shape)}, "
            f"got {tuple(candidate.shape)}"
        )
    sums = cell_sums(baseline, candidate)
    cells, means = sums.pairs, sums.delta
    known = cells > 0
    scenarios, pairs = known.sum(0), sum_scenarios(cells)
    mean = sum_scenarios(torch.where(known, means, 0.0)) / scenarios
    spread = sum_scenarios(torch.where(known, means - mean, 0.0).square()) / (scenarios - 1)
    inverse = (
        sum_scenarios(torch.where(known, cells.to(torch.float64).reciprocal(), 0.0)) / scenarios
    )
    few = scenarios < 2
    spread = torch.where(few, torch.nan, spread)

    freedom = (pairs - scenarios).to(torch.float64)
    within = sum_scenarios(sums.squares) / freedom
    undefined = few | (freedom < 1)
    between = (spread - within * inverse).clamp(min=0)
    return PairedVariance(
        mean=mean,
        sd=spread.sqrt(),
        between=torch.where(undefined, torch.nan, between),
        within=torch.where(undefined, torch.nan, within),
        correlation=cell_correlation(sums),
        scenarios=scenarios,
        pairs=pairs,
        seeds=1 / inverse,
        reason=reason_where(undefined),
    )


def seeds_needed(
    difference: float | Tensor,
    between: float | Tensor,
    within: float | Tensor,
    scenarios: int | Tensor,
    *,
    power: float = 0.8,
    margin: float | Tensor | None = None,
    level: float = 0.95,
) -> Tensor:
    r"""How many seeds per scenario settle a true difference on the scenarios at hand.

    The smallest K for which the panel detects the difference:

    .. math:: \sqrt{\sigma_v^2 + \sigma_e^2 / K} \le \Delta / g

    with g what `detectable_difference` says for a standard deviation of 1.

    Args:
        difference: true mean difference, candidate - baseline.
        between: :math:`\sigma_v^2`, `PairedVariance.between`; broadcasts.
        within: :math:`\sigma_e^2`, `PairedVariance.within`; broadcasts.
        scenarios: S, an int or whole numbers that broadcast.
        power: the chance, as for `detectable_difference`.
        margin: as for `detectable_difference`.
        level: as for `detectable_difference`.

    Returns:
        Float64 whole numbers of the broadcast shape, at least 1; infinite where more seeds cannot
        settle it, and only more scenarios can. NaN where an argument is, and below 2 scenarios.

    Raises:
        TypeError: not numbers or tensors of numbers.
        ValueError: a level or a power out of range; on the CPU a variance or margin below 0.

    Example:
        >>> seeds_needed(1.0, between=0.5, within=4.0, scenarios=20).item()
        3.0
        >>> seeds_needed(0.3, between=0.5, within=4.0, scenarios=20).item()
        inf
    """
    fixed, noise = not_negative("between", between), not_negative("within", within)
    gap = as_float64("difference", difference)
    device = next((x.device for x in (fixed, noise, gap) if x.device.type != "cpu"), gap.device)
    fixed, noise, gap = (x.to(device) for x in (fixed, noise, gap))
    unit = detectable_difference(1.0, scenarios, power=power, level=level).to(device)
    if margin is None:
        gap = gap.abs()
    else:
        unit = detectable_difference(1.0, scenarios, power=power, margin=0.0, level=level)
        unit, gap = unit.to(device), gap + not_negative("margin", margin).to(device)
    room = (gap / unit).square() - fixed
    count = torch.ceil(noise / room * (1 - _ROUNDING)).clamp(min=1)
    settled = (gap > 0) & (room > 0)
    # Without noise the seeds all say the same: one is enough where any number is.
    settled = settled | ((gap > 0) & (room == 0) & (noise == 0))
    count = torch.where(noise == 0, 1.0, count)
    known = (gap + fixed + noise + unit).isfinite()
    return torch.where(known, torch.where(settled, count, torch.inf), torch.nan)
