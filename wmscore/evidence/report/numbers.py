"""How numbers are written in a report."""

from __future__ import annotations

import math

__all__ = ["count", "number", "plain", "share", "words"]


def number(value: float | None, form: str = ".2f") -> str:
    """A number, "n/a" where it is undefined, without a minus before zero."""
    if value is None or math.isnan(value):
        return "n/a"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    sign = "+" if form.startswith("+") else ""
    return format(value, f"{sign}z{form.removeprefix('+')}").replace("-", "−")


def plain(value: float) -> str:
    """A number as short as it can be: 0.6, 3, 1.25."""
    return f"{value:.4g}".replace("-", "−")


def share(value: float | None) -> str:
    """A share in percent."""
    return "n/a" if value is None or math.isnan(value) else f"{value:.0%}"


def count(many: int, one: str, more: str | None = None) -> str:
    """A count with its noun: "1 row", "3 rows"."""
    return f"{many:,} {one if many == 1 else more or one + 's'}"


def words(name: str) -> str:
    """A name of this package as words: perceptual_drift -> perceptual drift."""
    return name.replace("_", " ")
