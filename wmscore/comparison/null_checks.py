"""A/A: how often do tests call a model different from itself, on the panel at hand?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from wmscore.comparison.null_worlds import check_cells, flipped_worlds, split_worlds
from wmscore.stats import sign_flip_test, student_two_sided, uniformity_test

__all__ = ["NullCheck", "Rejections", "null_check", "null_check_pair"]

DRAWS = 2000
_DOUBT = 0.01  # chance that a valid test is called invalid


@dataclass(frozen=True, kw_only=True)
class Rejections:
    """What one test said where there was nothing to find.

    Attributes:
        procedure: which test.
        worlds: how often it had a p-value.
        rejected: share of p-values at or below the level; NaN where there is none.
        low: lower end of its 95 % interval (Wilson).
        high: upper end.
        excess: largest amount by which the share of p-values at or below some p is above p: one
            side of the distance of Kolmogorov and Smirnov. A valid test has none but by chance.
        shortfall: the other side. A test of few patterns of signs, or of tied values, has some: it
            is valid, and misses more than it would have to.
        valid: whether the excess is what chance allows, at 1 %; None without p-values.
    """

    procedure: str
    worlds: int
    rejected: float
    low: float
    high: float
    excess: float
    shortfall: float
    valid: bool | None


@dataclass(frozen=True, kw_only=True)
class NullCheck:
    """What `null_check` and `null_check_pair` return.

    Attributes:
        kind: "splits" of the seeds of one model, or "flips" of the scenarios of two.
        scenarios: with a difference.
        seeds: of each half, or of each model; the largest number over scenarios.
        tied: scenarios in which no split or flip makes a difference.
        level: at which `rejected` counts.
        chosen: sign flips of scenario means, the test of `compare`.
        pairs: Student's t of all pairs of seeds, as if each were a scenario.
        unpaired: Student's t of all rollouts, as if scenarios were not the same.
    """

    kind: Literal["splits", "flips"]
    scenarios: int
    seeds: int
    tied: int
    level: float
    chosen: Rejections
    pairs: Rejections
    unpaired: Rejections


def null_check(
    cells: Tensor,
    *,
    worlds: int = DRAWS,
    level: float = 0.05,
    draws: int = DRAWS,
    seed: int = 0,
) -> NullCheck:
    """Compare a model with itself: deal its seeds out at random, many times.

    In each scenario a random half of the seeds is called one model and the other half another. They
    are one, so the p-values of a valid test are uniform, and it rejects at its level. What is drawn
    is the deal, given the panel: the rates are those on panels like this one, with its ties and its
    number of scenarios.

    A model does not suit a scenario better than itself. So tests that take seeds for scenarios
    pass here, as long as seeds are independent; `null_check_pair` shows what they do between two
    models.

    Args:
        cells: ``[S, K]``, floating point, K >= 2: say usable horizons. NaN where undefined.
        worlds: deals.
        level: of rejection.
        draws: of the chosen test beyond 16 scenarios.
        seed: of all that is drawn.

    Returns:
        A `NullCheck`.

    Raises:
        TypeError: not a floating point tensor.
        ValueError: another shape, or fewer than two seeds.

    Example:
        >>> import torch
        >>> horizons = torch.randn(12, 8, generator=torch.Generator().manual_seed(0))
        >>> found = null_check(horizons.exp() * 20)
        >>> found.chosen.valid, 0.03 < found.chosen.rejected < 0.07
        (True, True)
    """
    cells = check_cells("cells", cells, seeds=2)
    _check_settings(worlds, level)
    made = split_worlds(cells, worlds, seed)
    spread = cells.nan_to_num(nan=-math.inf).amax(1) - cells.nan_to_num(nan=math.inf).amin(1)
    pairs = (~cells.isnan()).sum(1) // 2
    tied = int(((spread == 0) & (pairs > 0)).sum())
    return _check("splits", made, pairs, tied, level, draws, seed)


def null_check_pair(
    baseline: Tensor,
    candidate: Tensor,
    *,
    worlds: int = DRAWS,
    level: float = 0.05,
    draws: int = DRAWS,
    seed: int = 0,
) -> NullCheck:
    """What tests would say of two models that differ as these do, but are alike on average.

    The mean difference is taken away; then the models change places in a random half of the
    scenarios, many times. Each still suits some scenarios better, and all seeds of a scenario share
    that: tests that take seeds for scenarios call it a difference of the models.

    Args:
        baseline: ``[S, K]``, floating point. NaN where undefined.
        candidate: likewise, the same scenarios and seeds.
        worlds: exchanges.
        level: of rejection.
        draws: of the chosen test beyond 16 scenarios.
        seed: of all that is drawn.

    Returns:
        A `NullCheck`.

    Raises:
        TypeError: not floating point tensors.
        ValueError: other shapes.
    """
    baseline = check_cells("baseline", baseline)
    candidate = check_cells("candidate", candidate)
    if baseline.shape != candidate.shape:
        raise ValueError(
            f"candidate must have the shape of baseline {tuple(baseline.shape)}, "
            f"got {tuple(candidate.shape)}"
        )
    _check_settings(worlds, level)
    pairs = (~(candidate - baseline).isnan()).sum(1)
    gap = (candidate - baseline).nanmean(1)
    tied = int((gap == gap.nanmean()).sum())
    made = flipped_worlds(baseline, candidate, worlds, seed)
    return _check("flips", made, pairs, tied, level, draws, seed)


def _check_settings(worlds: int, level: float) -> None:
    if worlds < 1:
        raise ValueError(f"worlds must be at least 1, got {worlds}")
    if not 0 < level < 1:
        raise ValueError(f"level must be a number above 0 and below 1, got {level}")


def _check(
    kind: Literal["splits", "flips"],
    made: Iterator[Tensor],
    pairs: Tensor,
    tied: int,
    level: float,
    draws: int,
    seed: int,
) -> NullCheck:
    gaps, paired, unpaired = [], [], []
    for pair in made:  # [2, S, K', chunk]
        difference = pair[1] - pair[0]
        gaps.append(difference.nanmean(1))
        paired.append(_one_sample(difference.flatten(0, 1)))
        unpaired.append(_two_samples(pair.flatten(1, 2)))
    # Another seed than that of the deals, which the signs must not depend on.
    chosen = sign_flip_test(torch.cat(gaps, 1), draws=draws, seed=seed + 1).p_value
    named = {
        "sign flips of scenario means": chosen,
        "t of pairs of seeds": torch.cat(paired),
        "t of unpaired rollouts": torch.cat(unpaired),
    }
    found = [_rejections(name, p_values, level) for name, p_values in named.items()]
    return NullCheck(
        kind=kind,
        scenarios=int((pairs > 0).sum()),
        seeds=int(pairs.max()),
        tied=tied,
        level=level,
        chosen=found[0],
        pairs=found[1],
        unpaired=found[2],
    )


def _one_sample(values: Tensor) -> Tensor:
    """P of Student's t of ``[N, R]``, two-sided."""
    count = (~values.isnan()).sum(0)
    mean = values.nanmean(0)
    spread = (values - mean).square().nansum(0) / (count - 1)
    return student_two_sided(mean / (spread / count).sqrt(), (count - 1).double())


def _two_samples(values: Tensor) -> Tensor:
    """P of Student's t of ``[2, N, R]``, two-sided."""
    count = (~values.isnan()).sum(1)
    mean = values.nanmean(1)
    freedom = count.sum(0) - 2
    spread = (values - mean[:, None]).square().nansum((0, 1)) / freedom
    error = (spread * (1 / count.double()).sum(0)).sqrt()
    return student_two_sided((mean[1] - mean[0]) / error, freedom.double())


def _rejections(procedure: str, p_values: Tensor, level: float) -> Rejections:
    known = p_values[~p_values.isnan()].cpu()
    count = len(known)
    nan = math.nan
    if not count:
        return Rejections(
            procedure=procedure, worlds=0, rejected=nan, low=nan, high=nan, excess=nan,
            shortfall=nan, valid=None,
        )  # fmt: skip
    rejected = float((known <= level + 1e-12).double().mean())
    small = uniformity_test(known, alternative="small")
    # The largest p - F below p: of the mirrored p-values, F is too large by that much.
    shortfall = float(uniformity_test(1 - known, alternative="small").distance)
    low, high = _wilson(rejected, count)
    return Rejections(
        procedure=procedure,
        worlds=count,
        rejected=rejected,
        low=low,
        high=high,
        excess=float(small.distance),
        shortfall=shortfall,
        valid=float(small.p_value) >= _DOUBT,
    )


def _wilson(share: float, count: int) -> tuple[float, float]:
    z = 1.959963984540054
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + (z / 2 / count) ** 2)
    return max(0.0, middle - half), min(1.0, middle + half)
