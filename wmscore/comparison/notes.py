"""What to know of the data behind a comparison."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from wmscore.comparison.phrases import count, listed, names, readable, share, unseen
from wmscore.comparison.result import Comparison
from wmscore.scores import Scores

__all__ = ["lost_pairs", "notes"]

_MOST = 0.5  # share from which something holds for most rollouts


def notes(found: Comparison, results: Sequence[Scores]) -> tuple[str, ...]:
    """What to know of the data: what fell out, what cannot show, what is no evidence."""
    old, new = names(found)
    lines = lost_pairs(found)
    sides = ((old, found.baseline), (new, found.candidate))
    lost = [line.scenario for line in found.scenarios if not line.pairs]
    if lost:
        some = listed(lost[:3]) if len(lost) <= 3 else f"{', '.join(lost[:3])} and others"
        lines.append(f"{count(len(lost), 'scenario')} without any pair: {some}.")
    if found.restricted:
        lines.append(
            f"{count(found.restricted, 'pair')} end early; both models count only up to the last "
            "step that both show."
        )
    for (name, side), other in zip(sides, (new, old), strict=True):
        lines += [
            f"{readable(axis)} is undefined in {name} in {count(pairs, 'pair')}, at most of the "
            f"steps at which {other} has it: nothing could fail there."
            for axis, pairs in side.unjudged.items()
        ]
    if _identical(*results):
        lines.append(
            "Both have the very same scores at every step: one model twice, or one recording?"
        )
    whole = [
        f"{share(side.never_failed)} of {name}'s rollouts"
        for name, side in sides
        if side.never_failed > _MOST
    ]
    if whole:
        lines.append(
            f"{listed(whole)} never fail within {found.steps} steps: a longer horizon or a "
            "harder panel would tell more."
        )
    at_once = [
        f"{share(side.at_once)} of {name}'s rollouts"
        for name, side in sides
        if side.at_once > _MOST
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
        most = unseen(found.level, part.scenarios)
        lines.append(
            "All scenarios show the same difference, so that the interval has no width; up to "
            f"{most:.0%} of scenarios like these may differ all the same."
        )
    versions = [scores.provenance.get("wmscore", "") for scores in results]
    if len(set(versions)) > 1:
        lines.append(f"The scores are by different versions of wmscore: {listed(versions)}.")
    return tuple(lines)


def lost_pairs(found: Comparison) -> list[str]:
    """How many pairs count for neither model, and why."""
    if not found.dropped:
        return []
    sides = zip(names(found), (found.baseline, found.candidate), strict=True)
    why = "; ".join(
        f"{name}: " + ", ".join(f"{n} x {readable(kind)}" for kind, n in side.dropped.items())
        for name, side in sides
        if side.dropped
    )
    rows = len(found.scenarios) * found.seeds
    return [f"{found.dropped} of {rows} pairs count for neither model ({why})."]


def _identical(one: Scores, other: Scores) -> bool:
    """Whether all rows score the same, undefined steps included."""
    pairs = [(one.fault, other.fault)]
    pairs += [(curve.values, other.axes[name].values) for name, curve in one.axes.items()]
    return all(torch.equal(a.cpu().nan_to_num(-1.0), b.cpu().nan_to_num(-1.0)) for a, b in pairs)
