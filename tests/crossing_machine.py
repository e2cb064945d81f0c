"""Failures and recoveries of one curve, one step after the other: what the op is held against."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Machine:
    """Reads a curve step by step. Steps are 1-based; 0 stands for none.

    Attributes:
        failures: (first step, first step of the recovery or 0) of each failure.
        lost: steps from the beginning of a failure to its recovery.
        defined: steps that pass or fail.
        failing: steps that fail.
        pending: length of the run of failing steps at the end that is no failure yet.
    """

    patience: int
    recovery_patience: int = 1
    failures: list[tuple[int, int]] = field(default_factory=list)
    defined: list[int] = field(default_factory=list)
    failing: list[int] = field(default_factory=list)
    margins: dict[int, float] = field(default_factory=dict)
    run: list[int] = field(default_factory=list)
    is_failing: bool = False
    is_down: bool = False

    def read(self, step: int, score: float, low: float, high: float, valid: bool) -> None:
        if not valid or math.isnan(score) or math.isnan(low) or math.isnan(high):
            return
        self.defined.append(step)
        self.margins[step] = score - low
        if score < low:
            self.is_failing = True
        elif score >= high:
            self.is_failing = False
        if self.is_failing:
            self.failing.append(step)
        if self.is_failing == self.is_down:
            self.run = []
            return
        self.run.append(step)
        if len(self.run) < (self.recovery_patience if self.is_down else self.patience):
            return
        if self.is_down:
            self.failures[-1] = (self.failures[-1][0], self.run[0])
        else:
            self.failures.append((self.run[0], 0))
        self.is_down = not self.is_down
        self.run = []

    @property
    def pending(self) -> int:
        return 0 if self.is_down else len(self.run)

    def lost(self, steps: int) -> set[int]:
        return {
            step
            for first, back in self.failures
            for step in range(first, back if back else steps + 1)
        }


def watch(
    scores: Sequence[float],
    threshold: float | Sequence[float],
    patience: int,
    *,
    recover: float | Sequence[float] | None = None,
    recovery_patience: int = 1,
    valid: Sequence[bool] | None = None,
    above: bool = False,
) -> Machine:
    """A machine that has read a whole curve."""
    sign = -1 if above else 1
    machine = Machine(patience, recovery_patience)
    for t, score in enumerate(scores):
        low = threshold if isinstance(threshold, float | int) else threshold[t]
        high = low if recover is None else recover
        high = high if isinstance(high, float | int) else high[t]
        is_valid = valid is None or bool(valid[t])
        machine.read(t + 1, sign * score, sign * low, sign * high, is_valid)
    return machine
