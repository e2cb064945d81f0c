"""A comparison in words: what is shown, what is not, and what would settle it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from wmscore.comparison.phrases import (
    count,
    interval,
    listed,
    names,
    number,
    p_text,
    readable,
    signed,
)
from wmscore.comparison.result import Comparison, Difference, Side
from wmscore.scores import Scores

__all__ = ["notes", "shown", "verdict"]

_LEAST, _GOOD = 6, 12  # scenarios for a p-value at all, and for a test that is not coarse
_MOST = 0.5  # share from which something holds for most rollouts


def verdict(found: Comparison) -> list[str]:
    """Sentences, the most important first: gate, difference, causes, axes, limits, next steps."""
    lines = []
    if found.gate is not None:
        head, *rest = found.gate.because
        lines += [f"{found.gate.outcome.upper()}: {head}.", *(f"Also: {text}." for text in rest)]
    lines.append(_headline(found))
    if not found.horizon.scenarios:
        return [*lines, *found.notes]
    lines += _doubts(found)
    lines.append(_ends(found))
    lines += _axes(found)
    lines += found.notes
    lines += _next_steps(found)
    lines.append(_scope(found))
    return lines


def shown(found: Comparison, part: Difference, p_value: float) -> bool:
    """Whether a difference is one, at the comparison's level."""
    return p_value <= 1 - found.level + 1e-12


def _headline(found: Comparison) -> str:
    (old, new), part = names(found), found.horizon
    if not part.scenarios:
        return (
            f"Nothing can be compared: there is no (scenario, seed) at which both {old} and {new} "
            "have a usable horizon."
        )
    sizes = f"{number(part.candidate, 'steps')} against {number(part.baseline, 'steps')}"
    data = _data(found)
    if part.estimate == 0 and part.low == part.high == 0:
        return (
            f"{new} and {old} are usable equally long: {number(part.candidate, 'steps')} of "
            f"{found.steps} steps on average, in each scenario the same ({data})."
        )
    longer = f"{number(abs(part.estimate), 'steps')} steps " + (
        "more" if part.estimate > 0 else "fewer"
    )
    ends = f"{found.level:.0%} interval {interval(part)}" if part.low == part.low else "no interval"
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


def _doubts(found: Comparison) -> list[str]:
    """Why the p-value and the interval are to be taken with care, or are not there."""
    part, lines = found.horizon, []
    few = found.estimand == "scenarios" and part.scenarios < _LEAST
    if few:
        smallest = 2.0 ** (1 - part.scenarios)
        lines.append(
            f"There is no p-value: if the models were alike, {count(part.scenarios, 'scenario')} "
            f"could not give one below {p_text(smallest)}, so that nothing could be significant. "
            f"It takes at least {_LEAST} scenarios, better {_GOOD} or more."
        )
    elif found.estimand == "scenarios" and part.scenarios < _GOOD:
        lines.append(
            f"{count(part.scenarios, 'scenario')} are few: only large differences can be found, "
            f"and the interval leans on the differences being near normal. Better {_GOOD} or more."
        )
    elif math.isnan(part.p_value) and found.estimand == "seeds":
        lines.append(
            "There is no p-value: the seeds of a scenario repeat each other, so that there is no "
            "chance between them; on these scenarios the difference is what it is."
            if part.low == part.high
            else f"There is no p-value: {count(part.pairs, 'pair')} are too few for one below 0.05."
        )
    if not math.isnan(part.p_value):
        apart = not part.low <= 0 <= part.high
        robust = not part.robust_low <= 0 <= part.robust_high
        if part.low < part.high and apart != shown(found, part, part.p_value):
            lines.append(
                "The interval and the p-value disagree on whether the difference may be zero: "
                "take it as not settled."
            )
        elif math.isfinite(part.robust_low) and part.low < part.high and robust != apart:
            ends = f"{signed(part.robust_low, 'steps')} to {signed(part.robust_high, 'steps')}"
            lines.append(
                f"The bootstrap-t interval, {ends}, disagrees on zero: the differences are far "
                "from normal, so take it as not settled."
            )
    return lines


def _ends(found: Comparison) -> str:
    """What ends the rollouts of either model."""
    old, new = names(found)
    parts = [_end(name, side) for name, side in ((new, found.candidate), (old, found.baseline))]
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if not text.startswith((old, new)) else f"{text}."


def _end(name: str, side: Side) -> str:
    causes = sorted(
        ((share, axis) for axis, share in side.ended_by.items() if share > 0), reverse=True
    )
    if not causes:
        return f"no rollout of {name} fails within the horizon"
    share, axis = causes[0]
    if share > _MOST:
        text = f"most of {name}'s rollouts end by {readable(axis)} ({share:.0%})"
        rest = causes[1:]
    else:
        text, rest = f"{name}'s rollouts end", causes
        text += " by " + listed(f"{readable(a)} ({s:.0%})" for s, a in rest)
        rest = []
    if rest:
        text += ", others by " + listed(f"{readable(a)} ({s:.0%})" for s, a in rest)
    if side.never_failed > 0:
        text += f", and {side.never_failed:.0%} never fail"
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
        return [f"No axis' mean score differs beyond chance (smallest p {p_text(least)}, {family})."]
    differ.sort(key=lambda axis: (axis.p_holm, -abs(axis.estimate)))
    parts = [
        f"{readable(axis.name)} {'higher' if axis.estimate > 0 else 'lower'} "
        f"({number(axis.candidate, '1')} against {number(axis.baseline, '1')}, p = "
        f"{p_text(axis.p_holm)})"
        for axis in differ
    ]
    return [f"{new}'s mean scores, {family}: {listed(parts)}."]


def notes(found: Comparison, results: Sequence[Scores]) -> tuple[str, ...]:
    """What to know of the data: what fell out, what cannot show, what does not count as evidence."""
    old, new = names(found)
    lines = []
    sides = ((old, found.baseline), (new, found.candidate))
    if found.dropped:
        why = "; ".join(
            f"{name}: " + ", ".join(f"{n} x {readable(kind)}" for kind, n in side.dropped.items())
            for name, side in sides
            if side.dropped
        )
        whole = len(found.scenarios) * found.seeds
        lines.append(f"{found.dropped} of {whole} pairs count for neither model ({why}).")
    lost = [line.scenario for line in found.scenarios if not line.pairs]
    if lost:
        some = listed(lost[:3]) if len(lost) <= 3 else f"{', '.join(lost[:3])} and others"
        lines.append(f"{count(len(lost), 'scenario')} without any pair: {some}.")
    if found.restricted:
        lines.append(
            f"{count(found.restricted, 'pair')} end early; both models count only up to the last "
            "step that both show."
        )
    whole = [name for name, side in sides if side.never_failed > _MOST]
    if whole:
        shares = listed(
            f"{side.never_failed:.0%} of {name}'s rollouts"
            for name, side in sides
            if side.never_failed > _MOST
        )
        lines.append(
            f"{shares} never fail within {found.steps} steps: a longer horizon or a harder panel "
            "would tell more."
        )
    at_once = [
        f"{side.at_once:.0%} of {name}'s rollouts" for name, side in sides if side.at_once > _MOST
    ]
    if at_once:
        lines.append(f"{listed(at_once)} fail at the first step, so that nothing worse can show.")
    still = [name for name, side in sides if side.uses_seed is False]
    if still and found.horizon.scenarios:
        repeats = "repeat themselves" if len(still) == 2 else "repeats itself"
        lines.append(
            f"{listed(still)} {repeats} whatever the seed: more seeds add no evidence of "
            f"{'them' if len(still) == 2 else 'it'}."
        )
    part = found.horizon
    if found.estimand == "scenarios" and part.scenarios > 1 and part.deviation == 0:
        most = 1 - ((1 - found.level) / 2) ** (1 / part.scenarios)
        lines.append(
            "All scenarios show the same difference, so that the interval has no width; up to "
            f"{most:.0%} of scenarios like these may differ all the same."
        )
    versions = [scores.provenance.get("wmscore", "") for scores in results]
    if len(set(versions)) > 1:
        lines.append(f"The scores are by different versions of wmscore: {listed(versions)}.")
    return tuple(lines)


def _next_steps(found: Comparison) -> list[str]:
    """How small a difference could have been seen, and what a difference as seen would take."""
    part = found.horizon
    if math.isnan(part.detectable) or part.detectable == 0 or part.estimate == 0:
        return []
    if shown(found, part, part.p_value):
        return []
    text = (
        f"Such a panel finds a true difference of {number(part.detectable, 'steps')} steps with "
        "80 % probability"
    )
    ways = []
    if math.isfinite(part.scenarios_needed):
        ways.append(f"about {count(max(part.scenarios_needed, _LEAST), 'scenario')}")
    if math.isfinite(part.seeds_needed) and part.seeds_needed > found.seeds:
        ways.append(f"about {count(part.seeds_needed, 'seed')} per scenario")
    if ways:
        size = number(abs(part.estimate), "steps")
        text += f"; one of the {size} steps seen would take {' or '.join(ways)}"
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
