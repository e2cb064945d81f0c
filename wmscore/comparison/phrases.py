"""Numbers and names as they stand in sentences and tables."""

from __future__ import annotations

import math
from collections.abc import Iterable

from wmscore.comparison.result import Comparison, Difference

__all__ = [
    "count",
    "interval",
    "listed",
    "names",
    "number",
    "p_text",
    "readable",
    "share",
    "signed",
    "unseen",
]


def names(found: Comparison) -> tuple[str, str]:
    """What to call the baseline and the candidate, apart even where they share a name."""
    first, second = found.baseline.model, found.candidate.model
    if first == second:
        return f"{first} (baseline)", f"{second} (candidate)"
    return first, second


def readable(name: str) -> str:
    """`usable_horizon` as words."""
    return name.replace("_", " ")


def number(value: float, unit: str) -> str:
    """Steps with one digit, scores with three; "n/a" where undefined."""
    if math.isnan(value):
        return "n/a"
    return f"{value:z.1f}" if unit == "steps" else f"{value:z.3f}"


def signed(value: float, unit: str) -> str:
    """The same with its sign, for differences."""
    text = number(value, unit)
    return f"+{text}" if value > 0 and float(text) > 0 else text


def interval(found: Difference) -> str:
    """Both ends with their signs."""
    return f"{signed(found.low, found.unit)} to {signed(found.high, found.unit)}"


def p_text(value: float) -> str:
    """Two digits: 0.0078, 0.31, 1."""
    return "n/a" if math.isnan(value) else f"{value:.2g}"


def share(value: float) -> str:
    """Of a whole: no share that is there is called 0%, and none that lacks something 100%."""
    if 0 < value < 0.005:
        return "<1%"
    return ">99%" if 0.995 <= value < 1 else f"{value:.0%}"


def unseen(level: float, units: int) -> float:
    """Largest share of units that differ with which as many as these may well show none."""
    return 1.0 - math.pow((1 - level) / 2, 1 / units)


def count(value: float, what: str) -> str:
    """1 scenario, 8 scenarios, 1,200 scenarios; more than a million is no number to plan with."""
    if value > 1e6:
        return f"over a million {what}s"
    return f"{value:,.0f} {what}" + ("" if value == 1 else "s")


def listed(parts: Iterable[str]) -> str:
    """a, b and c."""
    *rest, last = parts
    return f"{', '.join(rest)} and {last}" if rest else last
