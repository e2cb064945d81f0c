"""The gate's answer for two models, and the sentences that lead to it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from wmscore.comparison.gate import GATE_SCENARIOS, Outcome, gate_outcome
from wmscore.comparison.phrases import count, names, number, readable, signed
from wmscore.comparison.result import Comparison, Difference, Gate

__all__ = ["decide"]


def decide(
    found: Comparison, margins: Mapping[str, float], settled_by: Mapping[str, tuple[float, float]]
) -> Gate:
    """Pass, fail or undecided: the worst of all that was asked.

    An evaluation fault of the candidate fails it, as nobody knows what the rows would have shown;
    one of the baseline leaves the gate undecided, as do rows of the candidate that end early or
    that nothing could judge, and rows in which it fails after the baseline's end: the baseline
    might have gone on. A baseline that nothing could judge leaves it undecided too.

    Args:
        found: the comparison.
        margins: "usable_horizon" or an axis -> how much worse the candidate may be.
        settled_by: the same names -> (scenarios, seeds) that would settle it; NaN where unknown.
    """
    old, new = names(found)
    answers: list[tuple[Outcome, str]] = []
    sides = (
        (Outcome.FAIL, new, found.candidate),
        (Outcome.UNDECIDED, old, found.baseline),
    )
    for outcome, name, side in sides:
        if side.faults:
            what = _faults(side.faults, side.dropped)
            answers.append((outcome, f"{name} has {what}; what they would have shown is unknown"))
    for name, side in ((new, found.candidate), (old, found.baseline)):
        if side.undefined_alone:
            rows = count(side.undefined_alone, "row")
            text = f"{name} alone has {rows} that nothing could judge; what they hide is unknown"
            answers.append((Outcome.UNDECIDED, text))
    answers += [(Outcome.UNDECIDED, text) for text in _unjudged(found, margins)]
    if found.candidate.ends_first:
        pairs = count(found.candidate.ends_first, "pair")
        text = f"{new} ends before {old} in {pairs}; what it would have shown is unknown"
        answers.append((Outcome.UNDECIDED, text))
    if found.candidate.hidden:
        pairs = count(found.candidate.hidden, "pair")
        text = (
            f"{new} fails after the end of {old} in {pairs}; how much further {old} would have "
            "gone is unknown"
        )
        answers.append((Outcome.UNDECIDED, text))
    for part in (found.horizon, *found.axes):
        if part.name in margins:
            answers.append(_answer(found, part, margins[part.name], settled_by[part.name]))
    order = [Outcome.FAIL, Outcome.UNDECIDED, Outcome.PASS]
    answers.sort(key=lambda answer: order.index(answer[0]))
    return Gate(
        outcome=answers[0][0].name.lower(),  # type: ignore[arg-type]  # one of the three
        margin=margins.get("usable_horizon", math.nan),
        axes={name: margin for name, margin in margins.items() if name != "usable_horizon"},
        because=tuple(text for _, text in answers),
    )


def _unjudged(found: Comparison, margins: Mapping[str, float]) -> list[str]:
    """Axes that were asked about and that the candidate does not show where the baseline does."""
    old, new = names(found)
    asked = found.candidate.unjudged if "usable_horizon" in margins else {}
    asked = asked | {a: n for a, n in found.candidate.undefined.items() if a in margins}
    return [
        f"{readable(axis)} is undefined in {new} in {count(pairs, 'pair')}, at most of the steps "
        f"at which {old} has it; what that hides is unknown"
        for axis, pairs in asked.items()
    ]


def _answer(
    found: Comparison, part: Difference, margin: float, settled_by: tuple[float, float]
) -> tuple[Outcome, str]:
    """One margin's outcome and why."""
    _, new = names(found)
    of_seeds = found.estimand == "seeds"
    units, unit = (part.pairs, "pair") if of_seeds else (part.scenarios, "scenario")
    low, high, baseline = (
        torch.tensor(value, dtype=torch.float64) for value in (part.low, part.high, part.baseline)
    )
    outcome = Outcome(int(gate_outcome(low, high, margin, torch.tensor(units), baseline=baseline)))
    what = f"{readable(part.name)}: "
    steps = " steps" if part.unit == "steps" else ""
    bound = f"{number(margin, part.unit)}{steps}"
    ends = [f"{signed(value, part.unit)}{steps}" for value in (part.low, part.high)]
    line = f"{signed(-margin, part.unit)}" if margin else number(0.0, part.unit)
    if outcome == Outcome.PASS:
        less = f"at most {bound} worse" if margin else "better"
        return outcome, f"{what}{new} is {less}; the interval begins at {ends[0]}, above {line}"
    if outcome == Outcome.FAIL:
        more = f"more than {bound} worse" if margin else "worse"
        return outcome, f"{what}{new} is {more}; the interval ends at {ends[1]}, below {line}"
    if units < GATE_SCENARIOS:
        return outcome, (
            f"{what}{count(units, unit)} with a pair can support no verdict; it takes at least "
            f"{GATE_SCENARIOS}"
        )
    if math.isnan(part.low):
        return outcome, f"{what}no scenario has two seeds in both models, so there is no interval"
    if part.baseline <= margin and part.low > -margin:
        return outcome, (
            f"{what}the baseline's own is {number(part.baseline, part.unit)}{steps}, so that "
            f"nothing could be {bound} worse: choose a smaller margin or an easier panel"
        )
    way = _settling(found, *settled_by)
    return outcome, f"{what}the interval, {ends[0]} to {ends[1]}, includes {line}{way}"


def _settling(found: Comparison, scenarios: float, seeds: float) -> str:
    """What would decide it, if the difference is as it was seen."""
    ways = []
    if math.isfinite(scenarios) and scenarios > len(found.scenarios):
        ways.append(f"about {count(max(scenarios, GATE_SCENARIOS), 'scenario')} of the kind")
    if math.isfinite(seeds) and seeds > found.seeds:
        ways.append(f"about {count(seeds, 'seed')} per scenario")
    if not ways:
        return "; only a larger difference could be told from it"
    text = "; " + " or ".join(ways) + " would settle it, if the difference is as seen"
    if math.isinf(seeds):
        text += " (more seeds alone would not)"
    return text


def _faults(rows: int, dropped: Mapping[str, int]) -> str:
    kinds = ", ".join(
        f"{n} x {readable(kind)}" for kind, n in dropped.items() if kind != "undefined"
    )
    return f"{count(rows, 'row')} with an evaluation fault ({kinds})"
