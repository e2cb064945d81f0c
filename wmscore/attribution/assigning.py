"""`assign`: a model's rows to causes, out of scores and whatever else was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from wmscore.attribution.decision import Decision, decide
from wmscore.attribution.probes import (
    companion_signal,
    evaluation_signal,
    growth_of,
    one_step_signal,
    outcome_of,
    response_signal,
)
from wmscore.attribution.signals import Signal, threshold_signal
from wmscore.rollouts import RECONSTRUCTION, TEACHER_FORCED
from wmscore.scores import Scores

__all__ = ["Assignment", "Normal", "assign"]


@dataclass(frozen=True, kw_only=True)
class Normal:
    """What signals keep without a fault, best fitted on sound rollouts of other scenarios.

    Attributes:
        reconstruction: lowest score of reconstructions, by axis.
        one_step: lowest score of one-step predictions, by axis.
    """

    reconstruction: Mapping[str, float] = field(default_factory=dict)
    one_step: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Assignment:
    """What `assign` returns.

    Attributes:
        decision: cause and candidates of each row.
        signals: what it rests on, by stage; "dynamics" is that of one-step predictions.
        grows: bool `[R]`, errors grow up to the failure.
        truth: name of the true world's scores that stood beside, or None.
    """

    decision: Decision
    signals: Mapping[str, Signal]
    grows: Tensor
    truth: str | None


def assign(
    scores: Scores,
    results: Sequence[Scores] = (),
    *,
    roles: Mapping[str, str] | None = None,
    signals: Mapping[str, Signal] | None = None,
    regret: Tensor | None = None,
    most_regret: float = 0.1,
    normal: Normal | None = None,
) -> Assignment:
    """Assign every row of a model to a stage, or to none, or to what remains.

    Companions are found among `results` by name: one-step predictions and reconstructions of the
    same model; so are the true world (role "truth") and the frozen floor.

    Args:
        scores: the model's.
        results: all scores of the comparison.
        roles: model name -> "truth", "ceiling" or "floor".
        signals: further signals by stage (`delivered_signal`, `state_probe`, ...); they take the
            place of what would be found here.
        regret: float `[R]`, how much worse the planner's actions are than an oracle's, in shares of
            what the oracle gains; a row with more than `most_regret` whose rollout holds blames
            planning.
        most_regret: see there.
        normal: of companions without a fault; sharper than the defaults.
    """
    roles, usual = roles or {}, normal or Normal()
    by_name = {other.model: other for other in results}
    truth = next((s for s in results if roles.get(s.model) == "truth"), None)
    floor = next(
        (s for s in results if roles.get(s.model) == "floor" and s.model == "frozen"), None
    )
    rebuilt = by_name.get(scores.model + RECONSTRUCTION)
    forced = by_name.get(scores.model + TEACHER_FORCED)
    found: dict[str, Signal] = {
        "evaluation": evaluation_signal(scores, truth, floor),
        "perception": companion_signal(scores, rebuilt, usual.reconstruction),
        "control": response_signal(scores),
    }
    if regret is not None:
        found["planning"] = threshold_signal(-regret.double(), -most_regret)
    found |= dict(signals or {})
    one_step = one_step_signal(scores, forced, usual.one_step)
    grows = growth_of(scores)
    decision = decide(outcome_of(scores), found, one_step=one_step, compounding=grows)
    return Assignment(
        decision=decision,
        signals={**found, "dynamics": one_step},
        grows=grows,
        truth=None if truth is None else truth.model,
    )
