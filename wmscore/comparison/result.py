"""`Comparison`: what two models' difference is, how sure it is, and what follows; JSON and back."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import BeforeValidator, ConfigDict, PlainSerializer, TypeAdapter, ValidationError

from wmscore.comparison.gate import Outcome
from wmscore.files import write_json

__all__ = [
    "Comparison",
    "Difference",
    "Gate",
    "ScenarioLine",
    "Side",
    "as_json",
    "read_json",
]

T = TypeVar("T")


def _from_json(value: Any) -> Any:
    return math.nan if value is None else value


def _to_json(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else ("inf" if value > 0 else "-inf")


# JSON has neither NaN nor infinity: null stands for what is undefined, "inf" for no end.
Number = Annotated[float, BeforeValidator(_from_json), PlainSerializer(_to_json)]

_STRICT = ConfigDict(extra="forbid")

_ADAPTERS: dict[type, TypeAdapter[Any]] = {}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Candidate - baseline of one quantity; NaN where undefined.

    Attributes:
        name: "usable_horizon" or an axis.
        unit: "steps", or "1" for a score in [0, 1].
        baseline: mean of the baseline, each scenario with the same weight.
        candidate: mean of the candidate over the same pairs.
        estimate: their difference, positive where the candidate is better.
        low: lower end of its interval.
        high: upper end.
        p_value: two-sided, of the two models being alike.
        p_holm: the same, corrected for the number of axes; NaN for the usable horizon, which is the
            primary question.
        exact: whether the p-value went through all patterns.
        scenarios: how many there are with a pair.
        pairs: (scenario, seed) pairs.
        better: scenarios in which the candidate is better.
        worse: scenarios in which it is worse.
        deviation: standard deviation of the scenarios' differences.
        seed_correlation: of the two models over the seeds of a scenario.
        robust_low: lower end of the bootstrap-t interval, which does not ask for normal
            differences: where it disagrees, be careful.
        robust_high: its upper end.
        detectable: true difference that such a panel finds with 80 % probability.
        scenarios_needed: how many find a true difference of the size seen with 80 % probability.
        seeds_needed: how many seeds per scenario do on these scenarios; "inf" where only more
            scenarios can.
    """

    __pydantic_config__ = _STRICT

    name: str
    unit: Literal["steps", "1"]
    baseline: Number
    candidate: Number
    estimate: Number
    low: Number
    high: Number
    p_value: Number
    p_holm: Number
    exact: bool
    scenarios: int
    pairs: int
    better: int
    worse: int
    deviation: Number
    seed_correlation: Number
    robust_low: Number
    robust_high: Number
    detectable: Number
    scenarios_needed: Number
    seeds_needed: Number


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two models, over the matched rows, each scenario with the same weight.

    Attributes:
        model: its name.
        never_failed: share of rollouts that no axis ended within the horizon; NaN where none was
            seen so far.
        at_once: share that fail at the first step.
        ended_by: per axis, the share of rollouts that it ends (cumulative incidence at the last
            step that was seen).
        dropped: rows that it does not have, by reason.
        faults: how many of these are evaluation faults.
        undefined_alone: rows that it alone lacks, without an evaluation fault.
        ends_first: pairs in which its rollout ends, without failing or after, before the other's.
        hidden: pairs in which it fails only after the end of the other's, which never failed.
        unjudged: gated axis -> pairs of which it leaves more than half undefined, of the steps at
            which the other is defined, up to its own horizon.
        undefined: axis -> the same of all steps that both show.
        uses_seed: whether any rollout differs from another of its scenario; None where no scenario
            has two that are matched.
    """

    __pydantic_config__ = _STRICT

    model: str
    never_failed: Number
    at_once: Number
    ended_by: dict[str, Number]
    dropped: dict[str, int]
    faults: int
    undefined_alone: int
    ends_first: int
    hidden: int
    unjudged: dict[str, int]
    undefined: dict[str, int]
    uses_seed: bool | None


@dataclass(frozen=True, kw_only=True)
class ScenarioLine:
    """Mean usable horizons of one scenario over its pairs; NaN where no pair is left."""

    __pydantic_config__ = _STRICT

    scenario: str
    pairs: int
    baseline: Number
    candidate: Number
    difference: Number


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What was asked of the candidate, and the answer.

    Attributes:
        outcome: "pass", "fail" or "undecided".
        margin: steps by which the candidate may be worse; NaN where only axes were gated.
        axes: the same for mean scores of axes.
        because: the sentences that lead to the outcome, the decisive ones first.
    """

    __pydantic_config__ = _STRICT

    outcome: Literal["pass", "fail", "undecided"]
    margin: Number
    axes: dict[str, Number]
    because: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0 pass, 1 fail, 3 undecided."""
        return int(Outcome[self.outcome.upper()])


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two models on one panel, paired by scenario and seed. Made by `compare`.

    Attributes:
        panel: name of the panel.
        fingerprint: of the panel.
        steps: its horizon.
        seeds: seeds of each scenario.
        estimand: "scenarios" (new ones of the kind) or "seeds" (new ones on this panel).
        level: of confidence.
        draws: random patterns where there were too many to go through.
        seed: of those.
        baseline: the one.
        candidate: the other.
        horizon: difference of the usable horizon, the primary question.
        axes: difference of each axis' mean score.
        scenarios: the matched table.
        dropped: pairs that one of the models lacks.
        restricted: pairs in which a rollout ends early, both cut to the steps that both show.
        gate: the gate's answer, where one was asked for.
        notes: what to know of the data, in words.
    """

    __pydantic_config__ = _STRICT

    panel: str
    fingerprint: str
    steps: int
    seeds: int
    estimand: Literal["scenarios", "seeds"]
    level: Number
    draws: int
    seed: int
    baseline: Side
    candidate: Side
    horizon: Difference
    axes: tuple[Difference, ...]
    scenarios: tuple[ScenarioLine, ...]
    dropped: int
    restricted: int
    gate: Gate | None = None
    notes: tuple[str, ...] = field(default=())

    def verdict(self, *, brief: bool = False) -> list[str]:
        """What a person should know, one sentence each, the most important first.

        A brief one leaves out what holds for all pairs of a panel, or of one model alone.
        """
        from wmscore.comparison.words import verdict

        return verdict(self, brief=brief)

    def table(self) -> str:
        """The matched table and the differences as text, with the verdict below."""
        from wmscore.comparison.tables import as_text, difference_table, scenario_table

        parts = [as_text(*scenario_table(self)), as_text(*difference_table(self))]
        return "\n\n".join([*parts, "\n".join(self.verdict())])

    def to_json(self) -> dict[str, Any]:
        """Plain data for JSON, with the verdict: NaN becomes null, infinity "inf"."""
        return as_json(self) | {"verdict": self.verdict()}

    @classmethod
    def from_json(cls, data: Any) -> Comparison:
        """What `to_json` made of one.

        Raises:
            ValueError: it is something else; says which field.
        """
        return read_json(cls, data, "comparison")

    def save(self, path: str | Path) -> None:
        """Write it as a JSON file, atomically."""
        write_json(path, self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> Comparison:
        """Read a file that `save` wrote.

        Raises:
            ValueError: the file is something else.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: expected the JSON of a comparison, got {error}") from None
        return read_json(cls, data, str(path))


def as_json(value: Any) -> dict[str, Any]:
    """A dataclass as plain data for JSON."""
    found: dict[str, Any] = _adapter(type(value)).dump_python(value, mode="json")
    return found


def read_json(kind: type[T], data: Any, where: str) -> T:
    """A dataclass from plain data, checked field by field; its words are made anew."""
    try:
        return cast(T, _adapter(kind).validate_python(_without_words(data)))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "it"
        got = "" if first["type"] == "missing" else f", got {first['input']!r:.80}"
        raise ValueError(
            f"{where}: expected a {kind.__name__}; {place}: {first['msg']}{got}"
        ) from None


def _adapter(kind: type) -> TypeAdapter[Any]:
    """Built once for each kind: that takes longer than its use."""
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def _without_words(data: Any) -> Any:
    """Data without the verdicts, which are made of the rest."""
    if isinstance(data, dict):
        return {k: _without_words(v) for k, v in data.items() if k != "verdict"}
    return [_without_words(v) for v in data] if isinstance(data, list) else data
