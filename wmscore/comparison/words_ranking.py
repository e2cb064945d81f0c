"""A ranking in words: who is first how surely, and which neighbours are not settled."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from wmscore.comparison.gate import GATE_SCENARIOS
from wmscore.comparison.phrases import count, number, p_text, readable, share, signed

if TYPE_CHECKING:
    from wmscore.comparison.ranking import RankedPair, Ranking

__all__ = ["ranking_verdict"]

_SHOWN = 4  # pairs that are told one by one
_ROUNDING = 1e-12


def ranking_verdict(found: Ranking) -> list[str]:
    """Sentences, the most important first."""
    lines = []
    if not found.rows:
        lines.append("No ranking: there is no (scenario, seed) that all models have.")
    elif found.pairs:
        lines += _order(found)
    for model in found.models:
        if model.lost:
            lost = ", ".join(f"{n} x {readable(kind)}" for kind, n in model.lost.items())
            so = "; no model is judged on these" if model.role == "model" else ""
            lines.append(f"{model.model} lacks rows ({lost}){so}.")
        for axis, rows in model.unjudged.items():
            lines.append(
                f"{readable(axis)} is undefined in {model.model} in {count(rows, 'row')}, at most "
                "of the steps at which others have it: nothing could fail there."
            )
    if found.restricted:
        lines.append(
            f"{count(found.restricted, 'row')} end early in some model; all count only up to the "
            "last step that all show."
        )
    for name, kinds in found.unranked.items():
        lost = ", ".join(f"{n} x {readable(kind)}" for kind, n in kinds.items())
        lines.append(
            f"{name} is not ranked: it lacks more than half of its rows, or of their steps "
            f"({lost})."
        )
    return lines


def _order(found: Ranking) -> list[str]:
    judged = [pair.better for pair in found.pairs] + [found.pairs[-1].worse]
    order = list(dict.fromkeys(judged))
    best = next(model for model in found.models if model.model == order[0])
    lines = []
    if math.isfinite(best.first):
        lines.append(
            f"{best.model} is first in {share(best.first)} of {found.draws:,} bootstrap draws of "
            f"the {found.scenarios} scenarios."
        )
    alpha = 1 - found.level + _ROUNDING
    places = {name: i for i, name in enumerate(order)}
    neighbours = [p for p in found.pairs if places[p.worse] == places[p.better] + 1]
    several = len(found.pairs) > 1
    family = f" after Holm over {len(found.pairs)} pairs" if several else ""
    least = 2.0 ** (1 - found.scenarios) * len(found.pairs)
    if found.scenarios < GATE_SCENARIOS or least > alpha:
        enough = max(GATE_SCENARIOS, math.ceil(1 + math.log2(len(found.pairs) / alpha)))
        lines.append(
            f"No order can be settled: {count(found.scenarios, 'scenario')} can give no p-value "
            f"below {p_text(min(1.0, least))}{family}, however clear it is; it takes at "
            f"least {enough}."
        )
        open_pairs = [p for p in neighbours if not p.p_value <= alpha]
        if found.scenarios >= GATE_SCENARIOS and open_pairs:
            lines.append(f"Each pair by itself, not settled: {_told(open_pairs, raw=True)}.")
        return lines
    unsettled = [p for p in neighbours if not p.p_holm <= alpha]
    if not unsettled:
        how = f" (each neighbour, p{family})" if several else ""
        lines.append(f"The whole order is settled{how}.")
        return lines
    sign = f" (p{family})" if several else ""
    lines.append(f"Not settled{sign}: {_told(unsettled)}.")
    return lines


def _told(pairs: list[RankedPair], *, raw: bool = False) -> str:
    """The first of some pairs, and how many more there are."""
    text = "; ".join(_pair(pair, pair.p_value if raw else pair.p_holm) for pair in pairs[:_SHOWN])
    left = len(pairs) - _SHOWN
    return f"{text}; and {left} more" if left > 0 else text


def _pair(pair: RankedPair, p_value: float) -> str:
    if pair.difference == pair.low == pair.high == 0:
        return f"{pair.better} and {pair.worse} (equal in each scenario)"
    return (
        f"{pair.better} and {pair.worse} ({number(pair.difference, 'steps')} steps apart, "
        f"{signed(pair.low, 'steps')} to {signed(pair.high, 'steps')}, p = {p_text(p_value)})"
    )
