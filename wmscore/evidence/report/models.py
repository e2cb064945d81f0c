"""What a report shows of each model, taken out of its scores one after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from wmscore.actions import action_records, action_summary, takes_no_actions
from wmscore.attribution import FirstFailure, first_failure
from wmscore.comparison.horizons import MeanHorizon, mean_horizon
from wmscore.comparison.report import COMPANIONS, role_of
from wmscore.evidence.companions import real_faults
from wmscore.manifest import Panel
from wmscore.scores import Scores

__all__ = ["AxisCell", "Model", "look", "view"]

_COLOURS = 8
_DASHES = 3  # of anchors of one role


@dataclass(frozen=True, kw_only=True)
class AxisCell:
    """One axis of one model: median and quartiles over rows of a row's mean score."""

    middle: float
    low: float
    high: float
    lost: int


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model as the report shows it.

    Attributes:
        name: its name.
        role: "model", "truth", "ceiling", "floor", "one-step" or "reconstruction".
        base: for companions the model that they belong to, else its own name.
        rows: how many rows the panel has.
        horizon: mean usable horizon with its interval.
        median: median usable horizon, as text.
        never: rows that never fail.
        below: mean share of steps at which some gated axis is below.
        axes: per axis, or None where it has no value.
        ended: how many rows each axis ends.
        faults: evaluation faults by kind; of a companion without missing label maps.
        messages: what the model said in rows that failed.
        undefined: per axis how many values are undefined, by reason.
        scenarios: per scenario the median horizon as text and the mean horizon, None = unknown.
        failure: where it fails first.
        deaf: whether it takes no actions although the panel asks for a response.
        actions: `actions.action_summary`.
        effects: `actions.action_records`.
        provenance: what made the numbers.
    """

    name: str
    role: str
    base: str
    rows: int
    horizon: MeanHorizon
    median: str
    never: int
    below: float
    axes: dict[str, AxisCell | None]
    ended: dict[str, int]
    faults: dict[str, int]
    messages: dict[int, str]
    undefined: dict[str, dict[str, int]]
    scenarios: list[tuple[str, float | None]]
    failure: FirstFailure | None
    deaf: bool
    actions: dict[str, Any] | None
    effects: list[dict[str, Any]] = field(default_factory=list)
    provenance: dict[str, str] = field(default_factory=dict)

    @property
    def judged(self) -> bool:
        """Whether it is a model under test, no anchor and no companion."""
        return self.role == "model"

    @property
    def companion(self) -> bool:
        """Whether it is a one-step prediction or a reconstruction, which has no usable horizon."""
        return self.base != self.name

    @property
    def rank(self) -> tuple[float, float]:
        """Sorts as the tables of the folder do: longest mean horizon first, unknown as 0."""
        steps = sum(mean or 0.0 for _, mean in self.scenarios)
        known = [cell.middle for cell in self.axes.values() if cell is not None]
        return (-steps, -sum(known))


def view(scores: Scores, roles: Mapping[str, str]) -> Model:
    """What is shown of one model; the scores can be dropped afterwards."""
    panel, horizon = scores.panel, scores.horizon
    base = scores.model
    for ending in COMPANIONS:
        base = base.removesuffix(ending)
    deaf = takes_no_actions(scores)
    ends = Counter(filter(None, (scores.failing_axis(r) for r in range(len(scores)))))
    return Model(
        name=scores.model,
        role=role_of(scores.model, roles),
        base=base,
        rows=len(scores),
        horizon=mean_horizon(scores),
        median=scores.horizon_text(),
        never=int(horizon.censored.sum()),
        below=float(scores.failing_steps().nanmean()),
        axes={spec.axis: _axis_cell(scores, spec.axis, deaf) for spec in panel.axes},
        ended=dict(ends.most_common()),
        faults=real_faults(scores),
        messages=scores.messages,
        undefined={
            axis: found for axis, curve in scores.axes.items() if (found := curve.undefined())
        },
        scenarios=_scenarios(scores, panel),
        failure=first_failure(scores),
        deaf=deaf,
        actions=action_summary(scores),
        effects=action_records(scores),
        provenance=scores.provenance,
    )


def look(models: list[Model]) -> dict[str, str]:
    """The class that gives each model its line: a colour for each judged one, grey for anchors.

    Companions have the colour of their model. After eight the colours come again, dashed. Of
    several anchors of one role each has dashes of its own.
    """
    classes: dict[str, str] = {}
    anchors: Counter[str] = Counter()
    judged = [model for model in models if model.judged]
    for i, model in enumerate(judged):
        classes[model.name] = f"c{i % _COLOURS}" + (f" d{i // _COLOURS}" if i >= _COLOURS else "")
    for model in models:
        if model.role in COMPANIONS.values():
            classes[model.name] = f"{classes.get(model.base, 'c0')} companion {model.role}"
        elif not model.judged:
            more = f" n{anchors[model.role] % _DASHES}" if anchors[model.role] else ""
            classes[model.name] = f"anchor {model.role}{more}"
            anchors[model.role] += 1
    return classes


def _axis_cell(scores: Scores, axis: str, deaf: bool) -> AxisCell | None:
    """As the tables of the folder have it; a row with an evaluation fault has no value."""
    if axis == "action_response" and deaf:
        return None
    rows = scores.axes[axis].values.nanmean(1).masked_fill(scores.fault != 0, float("nan"))
    known = rows[~rows.isnan()]
    if not len(known):
        return None
    points = torch.tensor([0.25, 0.5, 0.75], dtype=known.dtype)
    low, middle, high = torch.quantile(known, points).tolist()
    return AxisCell(middle=middle, low=low, high=high, lost=len(rows) - len(known))


def _scenarios(scores: Scores, panel: Panel) -> list[tuple[str, float | None]]:
    seeds = len(panel.seeds)
    found: list[tuple[str, float | None]] = []
    for s in range(len(panel.scenarios)):
        rows = slice(s * seeds, (s + 1) * seeds)
        steps = scores.horizon.steps[rows][scores.horizon.defined[rows]]
        mean = float(steps.double().mean()) if len(steps) else None
        found.append((scores.horizon_text(rows), mean))
    return found
