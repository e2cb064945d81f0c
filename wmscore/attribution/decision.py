"""The decision: from signals to a cause, or to the set of stages that remain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.attribution.signals import Outcome, Signal, no_signal
from wmscore.attribution.stages import STAGES, Cause

__all__ = ["CAUSES", "Decision", "decide"]

CAUSES: tuple[Cause, ...] = ("none", *STAGES, "undetermined")
"""What `Decision.cause` counts: 0 = none, 1..6 the stages, 7 = undetermined."""


class Decision(NamedTuple):
    """What `decide` returns.

    Attributes:
        cause: int64 `[R]`, index into `CAUSES`.
        candidates: bool `[R, 6]`, stages that are not excluded, in the order of `STAGES`; none
            where nothing failed.
        weak: bool `[R]`, the signal that decided is within a tenth of its threshold.
    """

    cause: Tensor
    candidates: Tensor
    weak: Tensor

    def counts(self) -> dict[str, int]:
        """How many rows have which cause; those that none has are left out."""
        found = torch.bincount(self.cause, minlength=len(CAUSES)).tolist()
        return {cause: n for cause, n in zip(CAUSES, found, strict=True) if n}


def decide(
    outcome: Outcome,
    signals: Mapping[str, Signal],
    *,
    one_step: Signal | None = None,
    compounding: Tensor | None = None,
) -> Decision:
    """Name the earliest stage whose replacement by an oracle removes the failure, or abstain.

    1. Evaluation first: where it is implicated, no other verdict stands. Where it is unknown,
       nothing else can be named.
    2. Where the rollout did not fail: planning if its signal implicates it, else none.
    3. Where it failed: perception, control, representation, dynamics, in this order. A stage is
       named only if its own signal implicates it and all stages before it are excluded by theirs;
       `Signal.direct` evidence (control) needs only that no stage before it is implicated.
       Dynamics is implicated by failing one-step predictions, or by better ones whose errors
       accumulate when rolled out; it is never excluded, since a rollout that fails although every
       stage is fine on true inputs fails on its own.
    4. Else undetermined, with the stages that remain.

    Args:
        outcome: of the rollouts.
        signals: by stage, of "evaluation", "perception", "control", "representation", "planning";
            those that are missing were not measured.
        one_step: of one-step predictions from the true history.
        compounding: bool `[R]`, errors grow when rolled out (`accumulates`).

    Returns:
        A `Decision`.

    Raises:
        ValueError: a signal of no stage.
    """
    unknown = set(signals) - set(STAGES)
    if unknown:
        raise ValueError(f"signals: expected stages of {STAGES}, got {sorted(unknown)}")
    rows = len(outcome.failed)
    have = {stage: signals.get(stage) or no_signal(rows) for stage in STAGES}
    step = one_step or no_signal(rows)
    grows = torch.zeros(rows, dtype=torch.bool) if compounding is None else compounding
    have["dynamics"] = Signal(
        available=step.available,
        implicates=step.implicates | (step.available & grows),
        onset=step.onset,
        value=step.value,
        threshold=step.threshold,
        unclear=step.available & ~grows & ~step.implicates,
    )
    undetermined = len(CAUSES) - 1
    cause = torch.where(outcome.failed, undetermined, 0)
    weak = torch.zeros(rows, dtype=torch.bool)
    candidates = torch.stack([~have[stage].excludes for stage in STAGES], 1)

    def name(stage: Cause, where: Tensor) -> None:
        nonlocal cause, weak
        place = STAGES.index(stage)
        cause = torch.where(where, place + 1, cause)
        weak = torch.where(where, have[stage].weak, weak)
        candidates[where] = torch.arange(len(STAGES)) == place

    name("planning", ~outcome.failed & have["planning"].implicates)
    candidates[~outcome.failed & (cause == 0)] = False
    candidates[:, STAGES.index("planning")] &= ~outcome.failed | have["planning"].implicates
    open_rows = outcome.failed & have["evaluation"].excludes
    clear = open_rows.clone()  # all stages so far are excluded
    blamed = torch.zeros_like(clear)  # some stage so far is implicated
    for stage in STAGES[1:5]:
        signal = have[stage]
        hit = signal.implicates & (open_rows & ~blamed if signal.direct else clear)
        # Direct evidence against a later stage contradicts a verdict of perception.
        if stage == "perception":
            hit &= ~have["control"].implicates
        name(stage, hit)
        clear &= signal.excludes
        blamed |= signal.implicates
    name("evaluation", have["evaluation"].implicates)
    return Decision(cause=cause, candidates=candidates, weak=weak)
