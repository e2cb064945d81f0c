"""The skill score: where a distance lies between the frozen baseline and the oracle."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isnan

import torch
from torch import Tensor

from wmscore import functional as F
from wmscore.functional import Reason
from wmscore.scorer.axes import Curves
from wmscore.scorer.groups import Groups
from wmscore.scorer.measures import measure_of
from wmscore.scores import Scores

__all__ = ["MIN_HEADROOM", "Oracle", "skill_score"]

MIN_HEADROOM = 0.01
"""Least distance between the frozen baseline and the oracle that a skill is divided by.

Of distances without a unit; those in units of features have none but 0.
"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Oracle:
    """A re-run of the true world, as distances to the reference.

    Attributes:
        model: its name; empty where none was given: then it shows the reference itself.
        distances: by the measure's name, per scenario `[S, T]`, mean over seeds, and reasons.
        min_headroom: by the measure's name, what the frozen baseline must be worse by.
    """

    model: str = ""
    distances: Curves = field(default_factory=dict)
    min_headroom: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, scores: Scores | None) -> Oracle:
        """From its scores; its own spread says which headroom is none: twice its median."""
        if scores is None:
            return cls()
        seeds = len(scores.panel.seeds)
        distances: Curves = {}
        headroom: dict[str, float] = {}
        for name, curve in scores.measures.items():
            values = 1 - curve.values if measure_of(name).higher_is_better else curve.values
            values = values.masked_fill((scores.fault != 0)[:, None], torch.nan)
            rows, steps = values.shape
            mean = values.reshape(rows // seeds, seeds, steps).nanmean(1)
            lack = torch.full_like(mean, int(Reason.MISSING), dtype=torch.uint8)
            distances[name] = (mean, lack.masked_fill(~mean.isnan(), 0))
            middle = float(values.nanmedian())
            headroom[name] = max(_least_headroom(name), 0.0 if isnan(middle) else 2 * middle)
        return cls(model=scores.model, distances=distances, min_headroom=headroom)


def _least_headroom(name: str) -> float:
    return MIN_HEADROOM if measure_of(name).unit == "1" else 0.0


def skill_score(
    groups: Groups,
    name: str,
    distance: Tensor,
    reason: Tensor,
    floor: Tensor,
    oracle: Oracle,
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Score in [0, 1] `[G, T]`, its reasons, and the skill itself, which may leave that range.

    Args:
        groups: the rows.
        name: of the measure, as the oracle's curves call it.
        distance: `[G, T]` of the rows.
        reason: `[G, T]` why a distance is undefined.
        floor: `[S, T]` distance of the frozen baseline, row by row of the groups' references.
        oracle: a re-run of the true world.
    """
    commanded = groups.commanded
    assert commanded.reference_index is not None
    floor = floor[commanded.reference_index.to(floor.device, non_blocking=True)]
    ceiling, lack = torch.zeros_like(distance), torch.zeros_like(reason)
    if oracle.model and name not in oracle.distances:
        raise ValueError(
            f"oracle: {oracle.model!r} was scored without {name!r}, which the panel's skill is of; "
            "score it on frames of the same size, with the same networks and latents"
        )
    if oracle.model:
        ceiling, lack = (
            value[commanded.scenario].to(distance.device, non_blocking=True)
            for value in oracle.distances[name]
        )
    found = F.skill(distance, floor, ceiling, oracle.min_headroom.get(name, _least_headroom(name)))
    for other in (lack, found.reason):
        reason = torch.where(reason == 0, other, reason)
    values, score = (x.masked_fill(reason != 0, torch.nan) for x in (found.skill, found.score))
    return score, reason, (values, reason)
