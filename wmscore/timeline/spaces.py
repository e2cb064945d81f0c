"""Action spaces of vectors with units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from wmscore.manifest import ActionSpace, ActionUnit

__all__ = ["MOTION_UNITS", "motion_space", "vector_space"]

# The way and turn of a camera or player in one step, in its own axes: OpenCV's right, down,
# forward; yaw to the right, pitch upwards, roll clockwise as seen from behind.
MOTION_UNITS: dict[str, str] = {
    "right": "metre",
    "down": "metre",
    "forward": "metre",
    "yaw": "degree",
    "pitch": "degree",
    "roll": "degree",
}


def vector_space(
    names: Sequence[str], units: Sequence[str] = (), noop: Sequence[float] | None = None
) -> ActionSpace:
    """A continuous action space; `units` are those of `wmscore.manifest.ActionUnit`, or empty."""
    return ActionSpace(
        kind="continuous",
        names=tuple(names),
        units=cast(tuple[ActionUnit, ...], tuple(units)) or None,
        noop=None if noop is None else tuple(float(value) for value in noop),
    )


def motion_space() -> ActionSpace:
    """The action space of a free camera: metres right, down, forward; degrees yaw, pitch, roll.

    A step first turns, by yaw to the right, pitch upwards, roll clockwise as seen from behind, in
    this order about the axes turned so far, and then moves along the axes it has come to, as
    SANA-WM and HY-WorldPlay do.
    """
    return vector_space(tuple(MOTION_UNITS), tuple(MOTION_UNITS.values()))
