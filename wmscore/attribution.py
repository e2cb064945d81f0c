"""From scores to cause: what failed first, and how far the evidence names a culprit.

A stage is named only when the evidence excludes every other one (oracle substitution in a fixed
order, abstaining otherwise). What a panel replay alone can decide: an evaluation fault, and that
no planner was in the loop. Telling perception, representation, dynamics and control apart takes
interventions inside the model, so between those the verdict is `undetermined`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from wmscore.functional import Reason
from wmscore.scores import Scores

__all__ = ["Attribution", "Cause", "FirstFailure", "attribute", "first_failure"]

Cause = Literal[
    "perception",
    "representation",
    "dynamics",
    "planning",
    "control",
    "evaluation",
    "undetermined",
]

# The experiment that would implicate or exclude a stage.
SETTLES: dict[str, str] = {
    "perception": "encode and decode the reference frames: does the error appear without dynamics?",
    "representation": "probe the latent for the lost object or state on reference frames",
    "dynamics": "predict one step from the true history at the failing step",
    "control": "from the true history, send two different actions and compare the responses",
}


@dataclass(frozen=True, kw_only=True)
class FirstFailure:
    """The earliest end of a usable horizon among a model's rows."""

    row: int
    scenario: str
    seed: int
    axis: str
    step: int
    score: float
    threshold: float
    patience: int


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """A cause, what is left as candidates, and the signals for and against.

    Attributes:
        cause: the stage, or "undetermined".
        candidates: the stages that the evidence does not exclude.
        evidence: the signals, one sentence each.
        missing: per candidate the experiment that would settle it.
    """

    cause: Cause
    candidates: tuple[str, ...]
    evidence: tuple[str, ...]
    missing: tuple[str, ...] = ()


def first_failure(scores: Scores) -> FirstFailure | None:
    """The row whose usable horizon ends first (ties in panel order), or None if none ends."""
    horizon = scores.horizon
    ended = horizon.defined & ~horizon.censored
    if not bool(ended.any()):
        return None
    steps = horizon.steps.masked_fill(~ended, horizon.steps.max() + 1)
    row = int(steps.argmin())
    a = int(horizon.axis[row])
    spec = scores.panel.axes[a]
    step = int(horizon.steps[row]) + 1
    s, seed = list(scores.panel.rows())[row]
    return FirstFailure(
        row=row,
        scenario=scores.panel.scenarios[s].id,
        seed=seed,
        axis=spec.axis,
        step=step,
        score=float(scores.axes[spec.axis].values[row, step - 1]),
        threshold=spec.threshold,
        patience=spec.patience,
    )


def attribute(
    scores: Scores, failure: FirstFailure | None, *, truth: Scores | None = None
) -> Attribution:
    """Assign a first failure to a stage, or abstain.

    Args:
        scores: the failing model's.
        failure: from `first_failure`; None when no horizon ended.
        truth: the true world replayed and scored as if it were a model, the self-check of the
            evaluation. Without it an evaluation fault cannot be excluded.
    """
    faults = [
        f"{n} rows have no horizon: {Reason[kind.upper()].description}"
        for kind, n in scores.faults().items()
    ]
    if failure is None and faults:
        return Attribution(cause="evaluation", candidates=("evaluation",), evidence=tuple(faults))
    if failure is None:
        return Attribution(
            cause="undetermined",
            candidates=(),
            evidence=("no axis stayed below its threshold within the horizon",),
        )
    evidence = [
        *faults,
        "the action script was fixed, no planner was in the loop: planning is excluded",
    ]
    candidates = ["perception", "representation", "dynamics", "control"]
    if truth is None:
        candidates.insert(0, "evaluation")
        evidence.append("no replay of the true world was scored: evaluation is not excluded")
    else:
        own = float(truth.axes[failure.axis].values[failure.row, failure.step - 1])
        if not own >= failure.threshold:
            return Attribution(
                cause="evaluation",
                candidates=("evaluation",),
                evidence=(
                    (
                        f"the true world itself scores {own:.3f} on {failure.axis} at step "
                        f"{failure.step}, below the threshold {failure.threshold}"
                    ),
                ),
            )
        evidence.append(
            f"the true world scores {own:.3f} on {failure.axis} at that step: "
            "evaluation is excluded there"
        )
    return Attribution(
        cause="undetermined",
        candidates=tuple(candidates),
        evidence=tuple(evidence),
        missing=tuple(f"{c}: {SETTLES[c]}" for c in candidates if c in SETTLES),
    )
