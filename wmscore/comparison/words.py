"""A comparison in words: what is shown, what is not, and what would settle it."""

from __future__ import annotations

import math

from wmscore.comparison.gate import GATE_SCENARIOS
from wmscore.comparison.notes import lost_pairs
from wmscore.comparison.phrases import (
    count,
    interval,
    listed,
    names,
    number,
    p_text,
    readable,
    share,
    signed,
    unseen,
)
from wmscore.comparison.result import Comparison, Difference, Side

__all__ = ["shown", "verdict"]

_GOOD = 12  # scenarios for a test that is not coarse
_MOST = 0.5  # share from which something holds for most rollouts


def verdict(found: Comparison, *, brief: bool = False) -> list[str]:
    """Sentences, the most important first: gate, difference, causes, axes, limits, next steps.

    A brief one leaves out what is the same for all pairs of a panel, or true of one model alone.
    """
    lines = []
    if found.gate is not None:
        head, *rest = found.gate.because
        lines += [f"{found.gate.outcome.upper()}: {head}.", *(f"Also: {text}." for text in rest)]
    lines.append(_headline(found))
    if not found.horizon.scenarios:
        return [*lines, *_axes(found), *found.notes]
    lines += [] if brief else _few(found)
    lines += _doubts(found)
    lines.append(_ends(found))
    lines += _axes(found)
    lines += lost_pairs(found) if brief else found.notes
    lines += _next_steps(found)
    return lines if brief else [*lines, _scope(found)]


def shown(found: Comparison, part: Difference, p_value: float) -> bool:
    """Whether a difference is one, at the comparison's level."""
    return p_value <= 1 - found.level + 1e-12


def _headline(found: Comparison) -> str:
    (old, new), part = names(found), found.horizon
    if not part.scenarios:
        return (
            f"No usable horizon can be compared: there is no (scenario, seed) at which both {old} "
            f"and {new} have one."
        )
    sizes = f"{number(part.candidate, 'steps')} against {number(part.baseline, 'steps')}"
    data = _data(found)
    if part.estimate == 0 and part.low == part.high == 0 and part.better == part.worse == 0:
        return (
            f"{new} and {old} are usable equally long: {number(part.candidate, 'steps')} of "
            f"{found.steps} steps on average, in each scenario the same ({data})."
        )
    longer = f"{number(abs(part.estimate), 'steps')} steps " + (
        "more" if part.estimate > 0 else "fewer"
    )
    ends = f"{found.level:.0%} interval {interval(part)}" if part.low == part.low else "no interval"
    if math.isnan(part.p_value) and float(number(part.estimate, "steps")) == 0:
        return (
            f"On this panel {new} and {old} are usable equally long on average: {sizes} of "
            f"{found.steps} steps ({ends}, no p-value, {data})."
        )
    if math.isnan(part.p_value):
        return (
            f"On this panel {new} is usable for {longer} than {old}, {sizes} of {found.steps} "
            f"({ends}, no p-value, {data})."
        )
    facts = f"({ends}, p = {p_text(part.p_value)}, {data})"
    if shown(found, part, part.p_value):
        return f"{new} is usable for {longer} than {old}: {sizes} of {found.steps} steps {facts}."
    return (
        f"No difference in usable horizon is shown between {new} and {old}: {sizes} of "
        f"{found.steps} steps, a difference of {signed(part.estimate, 'steps')} {facts}."
    )


def _data(found: Comparison) -> str:
    text = count(found.horizon.scenarios, "scenario")
    if found.horizon.pairs == found.horizon.scenarios * found.seeds and found.seeds > 1:
        return f"{text} x {found.seeds} seeds"
    return f"{text}, {count(found.horizon.pairs, 'pair')}"


def _few(found: Comparison) -> list[str]:
    """Why there is no p-value, or a coarse one."""
    part = found.horizon
    if found.estimand == "seeds":
        if not math.isnan(part.p_value):
            return []
        if part.low == part.high:
            return [_no_chance(found)]
        return [f"There is no p-value: {count(part.pairs, 'pair')} cannot give one below 0.05."]
    number_of = count(part.scenarios, "scenario")
    if part.scenarios < GATE_SCENARIOS:
        smallest = 2.0 ** (1 - part.scenarios)
        text = (
            f"There is no p-value: if the models were alike, {number_of} could not give one below "
            f"{smallest:.3g}, so that nothing could be significant. It takes at least "
            f"{GATE_SCENARIOS} scenarios, better {_GOOD} or more."
        )
        return [text]
    if part.scenarios < _GOOD:
        text = (
            f"{number_of} are few: the interval leans on differences that are near normal, and "
            f"small ones go unseen. Better {_GOOD} or more."
        )
        return [text]
    return []


def _no_chance(found: Comparison) -> str:
    """Why pairs of a scenario that all show the same have no p-value."""
    if found.baseline.uses_seed is False and found.candidate.uses_seed is False:
        return (
            "There is no p-value: the seeds of a scenario repeat each other, so that there is "
            "no chance between them; on these scenarios the difference is what it is."
        )
    most = unseen(found.level, found.horizon.pairs)
    return (
        "There is no p-value, and the interval has no width: all pairs of a scenario show the "
        f"same difference. Up to {share(most)} of pairs with new seeds may differ all the same."
    )


def _doubts(found: Comparison) -> list[str]:
    """Where the p-value and the intervals disagree."""
    part = found.horizon
    if math.isnan(part.p_value) or not part.low < part.high:
        return []
    apart = not part.low <= 0 <= part.high
    if apart != shown(found, part, part.p_value):
        text = (
            "The interval and the p-value disagree on whether the difference may be zero: take it "
            "as not settled."
        )
        return [text]
    robust = not part.robust_low <= 0 <= part.robust_high
    if math.isfinite(part.robust_low) and robust != apart:
        ends = f"{signed(part.robust_low, 'steps')} to {signed(part.robust_high, 'steps')}"
        text = (
            f"The bootstrap-t interval, {ends}, disagrees on zero: the differences are far from "
            "normal, so take it as not settled."
        )
        return [text]
    return []


def _ends(found: Comparison) -> str:
    """What ends the rollouts of either model."""
    old, new = names(found)
    sides = (found.baseline, found.candidate)
    if not any(part > 0 for side in sides for part in side.ended_by.values()):
        if any(math.isnan(side.never_failed) for side in sides):
            return "No rollout of either model was seen to fail before it ended."
        return f"No rollout of either model fails within {found.steps} steps."
    for axis, part in found.candidate.ended_by.items():
        if min(part, found.baseline.ended_by[axis]) > 1 - 1e-9:
            return f"All rollouts of both models end by {readable(axis)}."
    parts = [_end(name, side) for name, side in ((new, found.candidate), (old, found.baseline))]
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if not text.startswith((old, new)) else f"{text}."


def _end(name: str, side: Side) -> str:
    causes = sorted(
        ((part, axis) for axis, part in side.ended_by.items() if part > 0), reverse=True
    )
    if not causes:
        unseen_end = math.isnan(side.never_failed)
        until = "was seen to fail before it ended" if unseen_end else "fails within the horizon"
        return f"no rollout of {name} {until}"
    first, axis = causes[0]
    if first > _MOST:
        most = "all" if first > 1 - 1e-9 else "most"
        text = f"{most} of {name}'s rollouts end by {readable(axis)}"
        text += f" ({share(first)})" if most == "most" else ""
        rest = causes[1:]
    else:
        text = f"{name}'s rollouts end by " + listed(
            f"{readable(axis)} ({share(part)})" for part, axis in causes
        )
        rest = []
    if rest:
        text += ", others by " + listed(f"{readable(axis)} ({share(part)})" for part, axis in rest)
    if side.never_failed > 0:
        text += f", and {share(side.never_failed)} never fail"
    return text


def _axes(found: Comparison) -> list[str]:
    """Which axes differ."""
    asked = [axis for axis in found.axes if not math.isnan(axis.p_holm)]
    if not asked:
        return []
    _, new = names(found)
    differ = [axis for axis in asked if shown(found, axis, axis.p_holm)]
    family = f"after Holm over {len(asked)} axes" if len(asked) > 1 else "of one axis"
    if not differ:
        least = min(axis.p_holm for axis in asked)
        return [
            f"No axis' mean score differs beyond chance (smallest p {p_text(least)}, {family})."
        ]
    differ.sort(key=lambda axis: (axis.p_holm, -abs(axis.estimate)))
    parts = [
        f"{readable(axis.name)} {'higher' if axis.estimate > 0 else 'lower'} "
        f"({number(axis.candidate, '1')} against {number(axis.baseline, '1')}, p = "
        f"{p_text(axis.p_holm)})"
        for axis in differ
    ]
    return [f"{new}'s mean scores, {family}: {listed(parts)}."]


def _next_steps(found: Comparison) -> list[str]:
    """How small a difference could have been seen, and what a difference as seen would take."""
    part = found.horizon
    if math.isnan(part.detectable) or part.detectable == 0 or part.estimate == 0:
        return []  # with too few scenarios `_few` says how many it takes
    if shown(found, part, part.p_value):
        return []
    text = (
        f"Such a panel finds a true difference of {number(part.detectable, 'steps')} steps with "
        "80% probability"
    )
    ways = []
    if math.isfinite(part.scenarios_needed) and part.scenarios_needed > part.scenarios:
        ways.append(f"about {count(max(part.scenarios_needed, GATE_SCENARIOS), 'scenario')}")
    if math.isfinite(part.seeds_needed) and part.seeds_needed > found.seeds:
        ways.append(f"about {count(part.seeds_needed, 'seed')} per scenario")
    if ways:
        size = number(abs(part.estimate), "steps")
        text += f"; to tell the {size} steps seen from zero would take {' or '.join(ways)}"
        if math.isinf(part.seeds_needed):
            text += " (more seeds alone would not do)"
    return [f"{text}."]


def _scope(found: Comparison) -> str:
    if found.estimand == "scenarios":
        return (
            "This holds for new scenarios of this panel's kind (estimand: scenarios), each with "
            "the same weight."
        )
    return (
        "This holds for new seeds on these very scenarios (estimand: seeds) and says nothing of "
        "others."
    )
