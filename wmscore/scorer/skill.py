"""The skill score: where a distance lies between the frozen baseline and the oracle."""

from __future__ import annotations

import torch
from torch import Tensor

from wmscore import functional as F
from wmscore.scorer.axes import Curves
from wmscore.scorer.groups import Groups
from wmscore.scorer.measures import measure_of
from wmscore.scores import Scores

__all__ = ["oracle_distances", "skill_score"]


def oracle_distances(oracle: Scores) -> Curves:
    """The oracle's distances per scenario `[S, T]`, mean over its seeds, by the measure's name."""
    seeds = len(oracle.panel.seeds)
    curves: Curves = {}
    for name, curve in oracle.measures.items():
        per_row = curve.values.unflatten(0, (-1, seeds))  # type: ignore[no-untyped-call]
        values = 1 - per_row if measure_of(name).higher_is_better else per_row
        reason = curve.reason.unflatten(0, (-1, seeds)).amax(1)  # type: ignore[no-untyped-call]
        mean = values.nanmean(1)
        curves[name] = (mean, torch.where(mean.isnan(), reason, 0))
    return curves


def skill_score(
    groups: Groups,
    name: str,
    distance: Tensor,
    reason: Tensor,
    floor: Tensor,
    oracle: Curves,
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Score in [0, 1] `[G, T]`, its reasons, and the skill itself, which may leave that range.

    Args:
        groups: the rows.
        name: of the measure, as the oracle's curves call it.
        distance: `[G, T]` of the rows.
        reason: `[G, T]` why a distance is undefined.
        floor: `[S, T]` distance of the frozen baseline, row by row of the groups' references.
        oracle: distances of a re-run of the true world by measure and scenario; without one it is
            0, which holds for a deterministic world.
    """
    commanded = groups.commanded
    assert commanded.reference_index is not None
    floor = floor[commanded.reference_index.to(floor.device, non_blocking=True)]
    ceiling, lack = torch.zeros_like(distance), torch.zeros_like(reason)
    if name in oracle:
        scenario = commanded.scenario
        ceiling, lack = (
            value[scenario].to(distance.device, non_blocking=True) for value in oracle[name]
        )
    found = F.skill(distance, floor, ceiling)
    reason = torch.where(reason == 0, lack, reason)
    reason = torch.where(reason == 0, found.reason, reason)
    values = found.values.masked_fill(reason != 0, torch.nan)
    return values.clamp(0.0, 1.0), reason, (values, reason)
