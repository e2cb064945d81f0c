"""A ranking in words: who is first how surely, and which neighbours are not settled."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from wmscore.comparison.phrases import listed, number, p_text, readable, share, signed

if TYPE_CHECKING:
    from wmscore.comparison.ranking import RankedPair, Ranking

__all__ = ["ranking_verdict"]

_SHOWN = 4  # pairs that are told one by one


def ranking_verdict(found: Ranking) -> list[str]:
    """Sentences, the most important first."""
    lines = []
    if not found.rows:
        lines.append("No ranking: there is no (scenario, seed) that all models have.")
    elif len(found.models) > 1:
        lines += _order(found)
    for model in found.models:
        if model.lost:
            lost = ", ".join(f"{n} x {readable(kind)}" for kind, n in model.lost.items())
            lines.append(f"{model.model} lacks rows ({lost}); no model is judged on these.")
    for name, kinds in found.unranked.items():
        lost = ", ".join(f"{n} x {readable(kind)}" for kind, n in kinds.items())
        lines.append(f"{name} is not ranked: it lacks more than half of its rows ({lost}).")
    return lines


def _order(found: Ranking) -> list[str]:
    best = found.models[0]
    lines = []
    if math.isfinite(best.first):
        lines.append(
            f"{best.model} is first in {share(best.first)} of {found.draws:,} bootstrap draws of "
            f"the {found.scenarios} scenarios."
        )
    if all(math.isnan(pair.p_holm) for pair in found.pairs):
        lines.append(
            f"No order is settled: {found.scenarios} scenarios can give no p-value below 0.05; it "
            "takes at least 6."
        )
        return lines
    places = {model.model: i for i, model in enumerate(found.models)}
    neighbours = [p for p in found.pairs if places[p.worse] == places[p.better] + 1]
    unsettled = [p for p in neighbours if not p.p_holm <= 1 - found.level + 1e-12]
    family = f"Holm over {len(found.pairs)} pairs"
    if not unsettled:
        lines.append(f"The whole order is settled (each neighbour, p after {family}).")
        return lines
    told = listed(map(_pair, unsettled[:_SHOWN]))
    more = f", and {len(unsettled) - _SHOWN} more" if len(unsettled) > _SHOWN else ""
    lines.append(f"The order is not settled between {told}{more} (p after {family}).")
    return lines


def _pair(pair: RankedPair) -> str:
    if pair.difference == pair.low == pair.high == 0:
        return f"{pair.better} and {pair.worse} (equal in each scenario)"
    return (
        f"{pair.better} and {pair.worse} ({number(pair.difference, 'steps')} steps apart, "
        f"{signed(pair.low, 'steps')} to {signed(pair.high, 'steps')}, p = {p_text(pair.p_holm)})"
    )
