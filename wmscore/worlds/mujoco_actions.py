"""From the actions of a panel to the controls of a MuJoCo model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from wmscore.worlds.item_scripts import check_names, script_names, script_vectors
from wmscore.worlds.protocol import Item

__all__ = ["Controls", "controls"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Controls:
    """How a panel's actions set the model's actuators.

    Attributes:
        kind: discrete names, or a vector.
        names: of the actions, or of the actuators that the vector sets.
        columns: `[A]` index of the actuator that each component of a vector sets.
        table: `[n, nu]` float64, the controls of each discrete action, or None.
        count: number of actuators of the model, nu; those that a vector does not set stay 0.
        limits: `[nu, 2]` float64, infinite where a control has none.
    """

    kind: Literal["discrete", "continuous"]
    names: tuple[str, ...]
    columns: tuple[int, ...]
    table: np.ndarray | None
    count: int
    limits: np.ndarray

    def script(self, item: Item, horizon: int) -> np.ndarray:
        """`[horizon, nu]` float64 controls of an item's script.

        Raises:
            ValueError: the actions are of another kind, have other names, or exceed the limits.
        """
        if self.kind == "discrete":
            return self._rows(script_names(item, horizon, self.names), "actions")
        return self._rows(script_vectors(item, horizon, self.names), "actions")

    def warmup(self, rows: Any) -> np.ndarray:
        """`[n, nu]` controls of a warm-up: action names, or vectors in the order of `names`."""
        if not isinstance(rows, list | tuple):
            raise ValueError(f"reset.warmup: expected a list of actions, got {rows!r}")
        return self._rows(rows, "reset.warmup")

    def _rows(self, rows: Sequence[Any], field: str) -> np.ndarray:
        if self.table is not None:
            check_names(field, rows, self.names)
            return self.table[[self.names.index(name) for name in rows]]
        result = np.zeros((len(rows), self.count))
        for t, row in enumerate(rows):
            if not isinstance(row, list | tuple) or len(row) != len(self.columns):
                raise ValueError(f"{field}: expected {len(self.columns)} numbers, got {row!r}")
            result[t, list(self.columns)] = row
        _check_limits(result, self.limits, field)
        return result


def controls(
    actuators: Sequence[str],
    limits: np.ndarray,
    actions: Sequence[str] | Mapping[str, Mapping[str, float] | Sequence[float]] | None,
) -> Controls:
    """How actions set actuators.

    Args:
        actuators: the model's, in order.
        limits: `[nu, 2]` smallest and largest control, infinite where there is no limit.
        actions: names of the actuators that a vector sets, by default all; or a table with the
            controls of each discrete action, by actuator or of all of them in order.

    Raises:
        ValueError: an actuator is unknown, or a control exceeds its limits.
    """
    places = {name: i for i, name in enumerate(actuators)}
    if not isinstance(actions, Mapping):
        names = tuple(actuators if actions is None else actions)
        unknown = [name for name in names if name not in places]
        if unknown or not names or len(set(names)) < len(names):
            raise ValueError(
                f"actions: expected different actuators out of {list(actuators)}, got {list(names)}"
            )
        return Controls(
            kind="continuous",
            names=names,
            columns=tuple(places[name] for name in names),
            table=None,
            count=len(actuators),
            limits=limits,
        )
    if not actions:
        raise ValueError("actions: expected at least one, got none")
    table = np.zeros((len(actions), len(actuators)))
    for row, (name, value) in enumerate(actions.items()):
        if isinstance(value, Mapping):
            unknown = [key for key in value if key not in places]
            if unknown:
                raise ValueError(
                    f"actions[{name!r}]: expected actuators out of {list(actuators)}, got {unknown}"
                )
            for key, number in value.items():
                table[row, places[key]] = number
        elif len(value) == len(actuators):
            table[row] = value
        else:
            raise ValueError(
                f"actions[{name!r}]: expected {len(actuators)} controls, got {value!r}"
            )
        _check_limits(table[row : row + 1], limits, f"actions[{name!r}]")
    return Controls(
        kind="discrete",
        names=tuple(actions),
        columns=(),
        table=table,
        count=len(actuators),
        limits=limits,
    )


def _check_limits(rows: np.ndarray, limits: np.ndarray, field: str) -> None:
    """MuJoCo cuts controls off at their limits without a word."""
    # A float32 of a limit such as 0.1 may lie just outside it.
    slack = 1e-6 * np.abs(np.where(np.isfinite(limits), limits, 0))
    wrong = ~((rows >= limits[:, 0] - slack[:, 0]) & (rows <= limits[:, 1] + slack[:, 1]))
    if wrong.any():
        t, column = (int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(
            f"{field}: expected {limits[column, 0]:g}..{limits[column, 1]:g} for actuator "
            f"{column}, got {rows[t, column]:g}"
        )
