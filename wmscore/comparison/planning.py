"""What a comparison could have found, and what would settle it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.comparison.gate import GATE_SCENARIOS
from wmscore.comparison.paired import PairedDifference
from wmscore.stats import detectable_difference, paired_variance, scenarios_needed, seeds_needed

__all__ = ["POWER", "Needed", "needed"]

POWER = 0.8
"""Probability with which a difference is to be found."""


class Needed(NamedTuple):
    """What `needed` returns, each ``[...]``.

    Attributes:
        detectable: float64, the true difference that the panel finds with 80 % probability; NaN
            without an interval, and with fewer scenarios than a p-value takes.
        scenarios: float64, how many scenarios find the gap, at least 6; infinite where no number
            does, NaN where the question is one of seeds.
        seeds: float64, how many seeds per scenario do; infinite where only more scenarios can.
    """

    detectable: Tensor
    scenarios: Tensor
    seeds: Tensor


def needed(
    baseline: Tensor,
    candidate: Tensor,
    found: PairedDifference,
    *,
    estimand: str,
    level: float,
    margin: Tensor | None = None,
) -> Needed:
    """Whether the question is settled, and by how large a panel it would be.

    As if the true difference were the one that was seen. Of seeds on fixed scenarios the normal
    approximation, which asks for a few too little below ten pairs.

    Args:
        baseline: ``[S, K, ...]``, as for `paired_difference`.
        candidate: likewise.
        found: what that said of them.
        estimand: "scenarios" or "seeds".
        level: of confidence.
        margin: broadcasts to ``[...]``; on which side of ``-margin`` the difference lies is the
            question. ``None`` asks on which side of 0, or whether there is a difference at all.
    """
    one_sided = None if margin is None else 0.0
    gap = (found.estimate if margin is None else found.estimate + margin).abs()
    if estimand == "seeds":
        tails = torch.tensor([0.5 + level / 2, POWER], dtype=torch.float64, device=gap.device)
        reach = torch.special.ndtri(tails).sum()
        detectable = reach * found.error
        seeds = (found.pairs / found.scenarios) * (detectable / gap).square()
        seeds = torch.where(gap > 0, seeds.ceil().clamp(min=1), torch.inf)
        seeds = torch.where(detectable.isnan(), torch.nan, seeds)
        return Needed(detectable, torch.full_like(gap, torch.nan), seeds)
    parts = paired_variance(baseline, candidate)
    seeds = seeds_needed(
        gap,
        parts.between,
        parts.within,
        found.scenarios,
        power=POWER,
        margin=one_sided,
        level=level,
    )
    few = found.scenarios < GATE_SCENARIOS  # no p-value, whatever the seeds
    return Needed(
        detectable_difference(
            found.deviation, found.scenarios, power=POWER, level=level
        ).masked_fill(few, torch.nan),
        scenarios_needed(gap, found.deviation, power=POWER, margin=one_sided, level=level).clamp(
            min=GATE_SCENARIOS
        ),
        torch.where(few & ~seeds.isnan(), torch.inf, seeds),
    )
