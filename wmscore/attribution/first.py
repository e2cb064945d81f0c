"""What failed first among a model's rows."""

from __future__ import annotations

from dataclasses import dataclass

from wmscore.scores import Scores

__all__ = ["FirstFailure", "first_failure"]


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
