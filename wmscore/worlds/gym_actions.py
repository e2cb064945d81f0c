"""From the actions of a panel to those of a gymnasium environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from wmscore.extras import require
from wmscore.worlds.item_scripts import check_names, script_names, script_vectors
from wmscore.worlds.protocol import Item

__all__ = ["ActionTable", "action_table"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ActionTable:
    """How a panel's actions are played.

    Attributes:
        kind: discrete names, or a vector.
        names: of the actions, or of the vector's components.
        space: the action space of a single environment.
        entries: the environment's action for each name; None for vectors.
    """

    kind: Literal["discrete", "continuous"]
    names: tuple[str, ...]
    space: Any
    entries: tuple[Any, ...] | None

    def script(self, item: Item, horizon: int) -> tuple[Any, ...]:
        """An item's actions as hashable entries: indices into `entries`, or vectors.

        Raises:
            ValueError: the item's actions are of another kind, or out of the space's bounds.
        """
        if self.kind == "discrete":
            names = script_names(item, horizon, self.names)
            return tuple(self.names.index(name) for name in names)
        vectors = script_vectors(item, horizon, self.names)
        return tuple(self._vector("actions", row) for row in vectors)

    def warmup(self, entries: Sequence[Any]) -> tuple[Any, ...]:
        """A warm-up's names or vectors as hashable entries.

        Raises:
            ValueError: a name is unknown, or a vector out of the space's bounds.
        """
        if self.kind == "continuous":
            return tuple(self._vector("reset.warmup", row) for row in entries)
        check_names("reset.warmup", entries, self.names)
        return tuple(self.names.index(name) for name in entries)

    def batch(self, scripts: Sequence[Any]) -> Any:
        """One action of every row, as a vector environment takes them."""
        utils = require("gymnasium.vector.utils", "gymnasium")
        if self.entries is not None:
            rows = [self.entries[entry] for entry in scripts]
        else:
            rows = [np.asarray(entry, dtype=self.space.dtype) for entry in scripts]
        out = utils.create_empty_array(self.space, n=len(rows), fn=np.zeros)
        return utils.concatenate(self.space, rows, out)

    def _vector(self, field: str, row: Any) -> tuple[float, ...]:
        if not isinstance(row, list | tuple) or len(row) != len(self.names):
            raise ValueError(f"{field}: expected {len(self.names)} numbers, got {row!r}")
        vector = np.asarray(row, dtype=self.space.dtype)
        if not self.space.contains(vector) or not np.allclose(vector, row, rtol=1e-6, atol=0):
            raise ValueError(f"{field}: expected a vector of {self.space}, got {list(row)}")
        return tuple(vector.tolist())


def action_table(space: Any, actions: Sequence[str] | Mapping[str, Any] | None) -> ActionTable:
    """The table of an environment's action space.

    Args:
        space: a single environment's action space.
        actions: names in order, a table of names with the environment's action for each, or None.

    Raises:
        ValueError: names do not fit the space, or it needs a table.
    """
    spaces = require("gymnasium.spaces", "gymnasium")
    if isinstance(actions, Mapping):
        entries = tuple(_entry(space, name, value) for name, value in actions.items())
        if not entries:
            raise ValueError("actions: expected at least one, got none")
        return ActionTable(kind="discrete", names=tuple(actions), space=space, entries=entries)
    if isinstance(space, spaces.Discrete):
        names = _names(actions, int(space.n))
        start = int(space.start)
        entries = tuple(space.dtype.type(start + i) for i in range(int(space.n)))
        return ActionTable(kind="discrete", names=names, space=space, entries=entries)
    flat = isinstance(space, spaces.Box | spaces.MultiDiscrete | spaces.MultiBinary)
    if not flat or len(space.shape) != 1:
        raise ValueError(
            f"actions: expected a table of names with an action for each, since {space} is neither "
            f"discrete nor a vector; got {actions!r}"
        )
    names = _names(actions, int(space.shape[0]))
    return ActionTable(kind="continuous", names=names, space=space, entries=None)


def _names(actions: Sequence[str] | None, count: int) -> tuple[str, ...]:
    names = tuple(map(str, range(count))) if actions is None else tuple(actions)
    if len(names) != count or len(set(names)) != count:
        raise ValueError(f"actions: expected {count} different names, got {list(names)}")
    return names


def _entry(space: Any, name: str, value: Any) -> Any:
    """A table's entry as the space holds it."""
    if isinstance(value, list | tuple) and getattr(space, "shape", None):
        value = np.asarray(value, dtype=space.dtype)
    if isinstance(value, int) and hasattr(space, "n"):
        value = space.dtype.type(value)
    if not space.contains(value):
        raise ValueError(f"actions[{name!r}]: expected an action of {space}, got {value!r}")
    return value
