"""What a stress ladder says, as plain data."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from wmscore.comparison.result import Number

__all__ = ["Ladder", "ModelLadder", "Rung", "StressorSummary"]

_STRICT = ConfigDict(extra="forbid")
_OF_SCENARIOS = ("before", "after")  # no cells of a table


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One model at one severity of one stressor; NaN where undefined.

    Attributes:
        stressor: its name.
        severity: in the stressor's unit.
        unit: that unit.
        index: place on the ladder of its stressor, from 1.
        panel: fingerprint of the stressed panel; empty where there is none.
        horizon: steps of the stressed panel.
        usable_share: mean over scenarios of the usable horizon, as a share of the panel's; 0..1.
        low: lower end of its 95 % interval over scenarios.
        high: upper end.
        relative: what is kept of the clean panel's usable share, ratio of means over the same
            rows; 1 = all of it. On a longer horizon, relative to what the clean panel lets expect:
            a rollout that failed fails at that step, another one lasts.
        relative_low: lower end of its interval (linearised ratio, Student's t over scenarios).
        relative_high: upper end.
        pairs: scenarios with a horizon on both panels.
        changed: scenarios in which the stress changes what is asked or shown; None where unknown.
        p: one-sided sign-flip test over scenarios that the stress costs usable share, of this rung
            alone; NaN with fewer than 5 pairs, where no verdict is possible.
        p_joint: corrected for all rungs of all stressors of this model, by flipping their signs
            together (`wmscore.stats.joint_sign_flip_test`).
        broken: p_joint is below .05; None where nothing can be told.
        undecided: why nothing can be told of a rung that was climbed, or None.
        ended_by: per axis, how many rows it ends.
        faults: rows that could not be judged, by kind.
        excluded: why the rung says nothing of this model, or None.
        before: of each scenario of the clean panel, its usable share without the stress, of rows
            that have a horizon on both panels; NaN where none has.
        after: the same with it. The numbers of the rung follow from both.
    """

    __pydantic_config__ = _STRICT

    stressor: str
    severity: float
    unit: str
    index: int
    panel: str = ""
    horizon: int = 0
    usable_share: Number = math.nan
    low: Number = math.nan
    high: Number = math.nan
    relative: Number = math.nan
    relative_low: Number = math.nan
    relative_high: Number = math.nan
    pairs: int = 0
    changed: int | None = None
    p: Number = math.nan
    p_joint: Number = math.nan
    broken: bool | None = None
    undecided: str | None = None
    ended_by: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    excluded: str | None = None
    before: tuple[Number, ...] = ()
    after: tuple[Number, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StressorSummary:
    """One model under one stressor, over all its rungs.

    Attributes:
        auc: mean of `relative` over the rungs; 1 = nothing is lost.
        corruption_error: sum over rungs of what is not usable (1 - usable share), as a multiple of
            the baseline's sum (Hendrycks and Dietterich, arXiv:1903.12261, section 4); 1 = as bad
            as the baseline. NaN without a baseline.
        breakpoint: smallest severity that breaks the model, or None.
        trend_p: Page's test that the usable share falls from the clean panel on, rung by rung.
    """

    __pydantic_config__ = _STRICT

    auc: Number = math.nan
    corruption_error: Number = math.nan
    breakpoint: float | None = None
    trend_p: Number = math.nan


@dataclass(frozen=True, kw_only=True)
class ModelLadder:
    """All rungs of one model.

    Attributes:
        role: "model", "truth", "ceiling" or "floor".
        clean: usable share on the clean panel with its interval, and the panel's horizon:
            `usable_share`, `low`, `high`, `horizon`.
        shares: usable share of each of its scenarios; NaN where none.
        rungs: in the order in which they were climbed.
        stressors: summaries by name.
        first_break: `stressor` and `severity` of the stress that breaks it first, or None. First is
            the lowest rung of a ladder, since units differ; of those on the same rung the one that
            leaves the least.
        why: how that was found, or why nothing is said.
    """

    __pydantic_config__ = _STRICT

    role: str
    clean: dict[str, Number]
    shares: tuple[Number, ...]
    rungs: tuple[Rung, ...]
    stressors: dict[str, StressorSummary]
    first_break: dict[str, str | float] | None
    why: str


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """Stress ladders of some models on one panel.

    Attributes:
        panel: fingerprint of the clean panel.
        scenarios: how many it has.
        seed: of what the stressors drew.
        baseline: the model that corruption errors are relative to, or None.
        models: by name.
    """

    __pydantic_config__ = _STRICT

    panel: str
    scenarios: int
    seed: int
    baseline: str | None
    models: dict[str, ModelLadder]

    def records(self) -> list[dict[str, Any]]:
        """One flat record per model and rung: the lines of `stress.csv`; "" where undefined."""
        lines = []
        for name, model in self.models.items():
            for rung in model.rungs:
                line: dict[str, Any] = {"model": name, "role": model.role}
                for key in (k for k in Rung.__dataclass_fields__ if k not in _OF_SCENARIOS):
                    value = getattr(rung, key)
                    if isinstance(value, dict):
                        value = "; ".join(f"{k} {n}" for k, n in value.items())
                    blank = value is None or (isinstance(value, float) and math.isnan(value))
                    line[key] = "" if blank else value
                lines.append(line)
        return lines

    def sentences(self) -> list[str]:
        """What breaks each judged model first, one sentence each."""
        return [
            f"{name}: {model.why}" for name, model in self.models.items() if model.role == "model"
        ]

    def exclusions(self) -> list[str]:
        """Which rungs say nothing, and why: one sentence for each stressor and reason.

        With the models in brackets where it is not all of them.
        """
        found: dict[tuple[str, str], dict[str, list[str]]] = {}
        for name, model in self.models.items():
            for rung in model.rungs:
                if rung.excluded is not None:
                    of = found.setdefault((rung.stressor, rung.excluded), {})
                    of.setdefault(f"{rung.severity:g}", []).append(name)
        lines = []
        for (stressor, why), severities in found.items():
            names = list(dict.fromkeys(n for those in severities.values() for n in those))
            of_some = "" if len(names) == len(self.models) else f" ({', '.join(names)})"
            lines.append(f"{stressor} {', '.join(severities)}{of_some}: {why}")
        return lines

    def to_json(self) -> dict[str, Any]:
        """Plain data for JSON; NaN is null."""
        data: dict[str, Any] = TypeAdapter(Ladder).dump_python(self, mode="json")
        return data

    @classmethod
    def from_json(cls, data: Any) -> Ladder:
        """What `to_json` made of one.

        Raises:
            ValueError: it is something else; says which field.
        """
        try:
            return TypeAdapter(Ladder).validate_python(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ValueError(f"ladder: {where}: {first['msg']}") from None
