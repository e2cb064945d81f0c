"""The skill score: where a distance lies between the frozen baseline and the oracle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from wmscore import functional as F
from wmscore.functional import Reason
from wmscore.rollouts import TEACHER_FORCED, Rollouts
from wmscore.scorer.axes import Curves
from wmscore.scorer.groups import Groups
from wmscore.scorer.measures import is_variant, measure_of
from wmscore.scores import Scores

__all__ = ["MIN_HEADROOM", "NETWORKS", "Oracle", "check_oracle", "frozen", "skill_score"]

# What must be the same in scores that are compared, as `Scores.provenance` names it.
NETWORKS = ("lpips trunk", "lpips heads", "encoder", "latent encoder")

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
        networks: what made learned distances, as its provenance says.
    """

    model: str = ""
    distances: Curves = field(default_factory=dict)
    networks: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, scores: Scores | None) -> Oracle:
        """From its scores; rows with a fault tell nothing."""
        if scores is None:
            return cls()
        seeds = len(scores.panel.seeds)
        distances: Curves = {}
        for name, curve in scores.measures.items():
            values = 1 - curve.values if measure_of(name).higher_is_better else curve.values
            values = values.masked_fill((scores.fault != 0)[:, None], torch.nan)
            rows, steps = values.shape
            mean = values.reshape(rows // seeds, seeds, steps).nanmean(1)
            lack = torch.full_like(mean, int(Reason.MISSING), dtype=torch.uint8)
            distances[name] = (mean, lack.masked_fill(~mean.isnan(), 0))
        about = {part: scores.provenance.get(part, "") for part in NETWORKS}
        return cls(model=scores.model, distances=distances, networks=about)


def check_oracle(oracle: Oracle, provenance: Mapping[str, str], names: Sequence[str]) -> None:
    """Refuse an oracle that other networks scored, or without a measure that a skill is of.

    Args:
        oracle: the re-run of the true world.
        provenance: of the scorer that is to use it.
        names: starts of the measures' names.

    Raises:
        ValueError: it says which network or measure.
    """
    if not oracle.model:
        return
    for part, theirs in oracle.networks.items():
        own = provenance.get(part, "")
        if own and theirs and own != theirs:
            raise ValueError(
                f"oracle: {oracle.model!r} was scored with another {part} ({theirs}) than this "
                f"scorer's ({own})"
            )
    for name in names:
        known = [key for key in oracle.distances if is_variant(key, name)]
        if not any(bool(oracle.distances[key][0].isfinite().any()) for key in known):
            raise ValueError(
                f"oracle: {oracle.model!r} has no defined {name!r}, which the panel's skill is of"
            )


def frozen(rollouts: Rollouts, reference: Tensor) -> Tensor:
    """What the frozen baseline shows at steps 1..T, of the reference `[S, T+1, ...]`.

    The given frame for ever; of one-step predictions the true frame before.
    """
    if rollouts.model.endswith(TEACHER_FORCED):
        return reference[:, :-1]
    return reference[:, :1].expand_as(reference[:, 1:])


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
    found = F.skill(distance, floor, ceiling, _least_headroom(name))
    for other in (lack, found.reason):
        reason = torch.where(reason == 0, other, reason)
    values, score = (x.masked_fill(reason != 0, torch.nan) for x in (found.skill, found.score))
    return score, reason, (values, reason)
