"""Stable object labels for VizDoom, whose own label values and object ids are not stable.

`label.value` is numbered anew in every frame. `object_id` is given out when an object is first
reported, labels before objects, so that it depends on what was in view; blood and bullet puffs
use ids up as well; and loading a savegame gives out all ids anew. Two branches of a
counterfactual group must call the same medikit by the same number, so the numbers here follow
from what exists: objects are numbered in the order in which they come to exist, and by class and
place among those that come to exist in the same step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["ObjectLabels"]

# Not objects that could keep an identity: the player's own weapon and body, puffs, sparks and
# smoke, blood, missiles, invisible helpers of the scenario.
_NOT_OBJECTS = frozenset({"Self", "SFX", "Gibs", "Explosive", "Internal", "ScriptThing"})

# A loaded game has run for one tic, in which nothing solid moves farther than this.
_ONE_TIC = 64.0


class ObjectLabels:
    """Labels 1, 2, ... of the objects of one episode."""

    def __init__(self, objects: Sequence[Any]) -> None:
        """Number the objects of the initial state."""
        self._labels: dict[int, int] = {}
        self._last: list[tuple[str, float, float, float, int]] = []
        self._count = 0
        self.update(objects)

    def update(self, objects: Sequence[Any]) -> None:
        """Number the objects that are new in this frame."""
        new = [o for o in objects if o.id not in self._labels]
        new.sort(key=lambda o: (o.name, o.position_x, o.position_y, o.position_z, o.angle))
        for o in new:
            if o.category in _NOT_OBJECTS:
                self._labels[o.id] = 0
            else:
                self._count += 1
                self._labels[o.id] = self._count

    def remember(self, objects: Sequence[Any]) -> None:
        """Note where each object is, for `relink`."""
        self._last = [(*_place(o), label) for o in objects if (label := self._labels[o.id])]

    def relink(self, objects: Sequence[Any]) -> None:
        """Find the remembered objects in a loaded game, one tic later and under new ids."""
        pairs = []
        for i, (name, *old, _) in enumerate(self._last):
            for o in objects:
                kind, *new = _place(o)
                if kind == name and (far := math.dist(old, new)) <= _ONE_TIC:
                    pairs.append((far, i, o.id))
        self._labels = {}
        taken: set[int] = set()
        for _, i, object_id in sorted(pairs):
            if i not in taken and object_id not in self._labels:
                taken.add(i)
                self._labels[object_id] = self._last[i][-1]
        self.update(objects)

    def paint(self, state: Any, out: npt.NDArray[np.int16]) -> None:
        """Write the label map of a game state to `out` `[H, W]`; 0 = background."""
        table = np.zeros(256, dtype=np.int16)
        for label in state.labels:
            table[label.value] = self._labels[label.object_id]
        np.take(table, state.labels_buffer, out=out)


def _place(o: Any) -> tuple[str, float, float, float]:
    # A body keeps its id, but its class is then reported as "Dead" + class.
    return o.name.removeprefix("Dead"), o.position_x, o.position_y, o.position_z
