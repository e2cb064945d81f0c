"""`diagnose`: what failed first, where, why as far as is known, and what would settle it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from wmscore.attribution.assigning import Assignment, Normal, assign
from wmscore.attribution.decision import CAUSES, Decision
from wmscore.attribution.first import FirstFailure, first_failure
from wmscore.attribution.signals import Signal
from wmscore.attribution.stages import PRECEDED, SETTLES, SHARPENS, STAGES, Cause
from wmscore.functional import Reason
from wmscore.scores import Scores

__all__ = ["Diagnosis", "diagnose"]


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """A model's first failure and its cause.

    Attributes:
        model: its name.
        failure: the first failing row, or None.
        cause: of that row; of evaluation faults where no row has a horizon.
        candidates: stages that the evidence does not exclude.
        weak: the signal that decided is close to its threshold.
        for_: what speaks for the cause, or for each candidate; one sentence each.
        against: what excludes the other stages.
        missing: signals that were not measured, by stage.
        settles: the experiment that would decide between the candidates, by stage.
        rows: how many rows have which cause.
    """

    model: str
    failure: FirstFailure | None
    cause: Cause
    candidates: tuple[str, ...]
    weak: bool
    for_: tuple[str, ...]
    against: tuple[str, ...]
    missing: tuple[str, ...]
    settles: tuple[str, ...]
    rows: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """Plain data: the entry of `attribution.json`."""
        return {
            "cause": self.cause,
            "candidates": list(self.candidates),
            "weak": self.weak,
            "for": list(self.for_),
            "against": list(self.against),
            "missing": list(self.missing),
            "settles": list(self.settles),
            "first_failure": None if self.failure is None else asdict(self.failure),
            "rows": self.rows,
        }


def diagnose(
    scores: Scores,
    results: Sequence[Scores] = (),
    *,
    roles: Mapping[str, str] | None = None,
    signals: Mapping[str, Signal] | None = None,
    regret: Tensor | None = None,
    most_regret: float = 0.1,
    normal: Normal | None = None,
) -> Diagnosis:
    """Assign the first failure of a model to a stage, or say what remains.

    The arguments are those of `assign`, which finds companions, true world and floor among
    `results` by name and role, and decides every row.
    """
    found = assign(
        scores,
        results,
        roles=roles,
        signals=signals,
        regret=regret,
        most_regret=most_regret,
        normal=normal,
    )
    decision = found.decision
    failure = first_failure(scores)
    row = _row(scores, failure, decision)
    if row is None:
        return _nothing(scores, decision)
    cause = CAUSES[int(decision.cause[row])]
    candidates = tuple(
        stage for stage, left in zip(STAGES, decision.candidates[row].tolist(), strict=True) if left
    )
    for_, against, missing = _sentences(scores, found, row)
    settles: tuple[str, ...] = ()
    if cause == "undetermined":
        settles = tuple(
            f"{stage}: {text}"
            for stage in candidates
            if (text := _next(stage, found, row, missing)) is not None
        )
    return Diagnosis(
        model=scores.model,
        failure=failure,
        cause=cause,
        candidates=candidates,
        weak=bool(decision.weak[row]),
        for_=for_,
        against=against,
        missing=missing,
        settles=settles,
        rows=decision.counts(),
    )


def _row(scores: Scores, failure: FirstFailure | None, decision: Decision) -> int | None:
    """The row that is told about: the first failure, else a planner's, else a fault's."""
    if failure is not None:
        return failure.row
    told = (decision.cause > 0).nonzero()[:, 0]
    return int(told[0]) if len(told) else None


def _next(stage: str, found: Assignment, row: int, missing: tuple[str, ...]) -> str | None:
    """What would settle whether a candidate is to blame, or None where nothing more is known."""
    if stage in missing:
        return SETTLES[stage]
    if stage in PRECEDED and bool(found.signals[stage].implicates[row]):
        return PRECEDED[stage]
    return SHARPENS.get(stage)


def _nothing(scores: Scores, decision: Decision) -> Diagnosis:
    return Diagnosis(
        model=scores.model,
        failure=None,
        cause="none",
        candidates=(),
        weak=False,
        for_=("no axis stayed below its threshold within the horizon",),
        against=(),
        missing=(),
        settles=(),
        rows=decision.counts(),
    )


def _sentences(
    scores: Scores, found: Assignment, row: int
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """What speaks for, what against, and what is missing, of one row."""
    for_, against, missing = [], [], []
    fault = Reason(int(scores.fault[row]))
    for stage in STAGES:
        signal = found.signals.get(stage)
        if stage == "planning" and signal is None:
            against.append("planning: the action script was fixed, no planner was in the loop")
            continue
        if signal is None or not bool(signal.available[row]):
            missing.append(stage)
            continue
        text = _finding(stage, signal, row, fault, found.truth)
        if bool(signal.implicates[row]):
            for_.append(text)
        elif stage == "dynamics" and bool(found.grows[row]):
            for_.append(f"{text}, but rolled out its errors grow step by step up to the failure")
        elif not bool(signal.excludes[row]):
            for_.append(f"{text}; {_UNCLEAR.get(stage, 'worse than without a fault')}")
        else:
            against.append(text)
    return tuple(for_), tuple(against), tuple(missing)


_UNCLEAR = {
    "perception": "worse than normal, though not enough to fail alone",
    "control": "something else went wrong too",
    "dynamics": "no stage fails on true inputs, the rollout does on its own",
}


def _finding(stage: str, signal: Signal, row: int, fault: Reason, truth: str | None) -> str:
    bad = bool(signal.implicates[row])
    value, line = float(signal.value[row]), float(signal.threshold[row])
    if stage == "evaluation":
        if fault:
            return f"evaluation: the row cannot be judged: {fault.description}"
        if bad and truth is not None:
            return (
                f"evaluation: the true world itself (`{truth}`) does not pass there, or a "
                "photograph does, or the model's reconstructions fit once they are shifted"
            )
        return "evaluation: the true world itself passes there"
    if stage == "perception":
        how = "falls below" if value < line else "stays above"
        most = ", and loses most of what the rollout loses" if bad and value >= line else ""
        return (
            f"perception: the model's own reconstruction of the true frames {how} the threshold "
            f"(worst run {value:.3f}, threshold {line:.3f}){most}"
        )
    if stage == "control":
        if bad:
            return "control: the frames follow other actions than were commanded"
        if not bool(signal.excludes[row]):
            return "control: other actions than were commanded explain a part of the failure"
        return "control: other actions do not explain the frames"
    if stage == "representation":
        how = "cannot" if bad else "can"
        return (
            f"representation: the true state {how} be read from latents of the true frames "
            f"(worst run {value:.3f}, threshold {line:.3f})"
        )
    if stage == "dynamics":
        how = "fail" if bad else "hold"
        return (
            f"dynamics: one-step predictions from the true history {how} "
            f"(worst run {value:.3f}, threshold {line:.3f})"
        )
    how = "more" if bad else "no more"
    return f"planning: the planner's actions lose {-value:.0%}, {how} than allowed ({-line:.0%})"
