"""Discrete actions to a model's vectors or names, and back, by a table that a person wrote."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from wmscore.manifest import ActionSpace
from wmscore.timeline.loss import Conversion, Loss
from wmscore.timeline.spaces import vector_space
from wmscore.timeline.timeline import Timeline

__all__ = ["ByName", "ByTable", "NearestAction", "Table"]

Table = Mapping[str, Mapping[str, float] | None]


class ByTable:
    """Discrete actions to vectors: `{"forward": {"w": 1}, "left": {"yaw": -12}, "stop": {}}`.

    What an entry does not name is 0. An entry None says that the model cannot express the action:
    its vector is 0 and the loss is stated. So is what becomes of actions with one vector.

    Args:
        table: action -> components. It may have more actions than a panel, not fewer.
        components: order of the components; by default as they first appear.
        units: of the components, or empty.

    The value is `[T, A]` or `[B, T, A]` float32.

    Example:
        >>> table = ByTable({"go": {"w": 1.0}, "turn": {"w": 1.0, "yaw": 12.0}})
        >>> table(Timeline.of(torch.tensor([0, 1]), ("go", "turn"), fps=20.0)).value.tolist()
        [[1.0, 0.0], [1.0, 12.0]]
    """

    def __init__(
        self, table: Table, *, components: Sequence[str] = (), units: Sequence[str] = ()
    ) -> None:
        if not table:
            raise ValueError("table: expected at least one action, got none")
        named = dict.fromkeys(name for entry in table.values() for name in entry or ())
        self.components = tuple(components or named)
        if not self.components:
            raise ValueError("table: expected at least one component in it or in components")
        if len(set(self.components)) < len(self.components):
            raise ValueError(f"components: expected each once, got {list(self.components)}")
        if strays := [name for name in named if name not in self.components]:
            raise ValueError(
                f"table: expected the components {list(self.components)}, got also {strays}"
            )
        if units and len(units) != len(self.components):
            raise ValueError(
                f"units: expected one for each of {list(self.components)}, got {list(units)}"
            )
        for action, entry in table.items():
            for name, value in (entry or {}).items():
                if not math.isfinite(value):
                    raise ValueError(f"table[{action!r}][{name!r}]: expected a number, got {value}")
        self.table = {action: None if e is None else dict(e) for action, e in table.items()}
        self.units = tuple(units)

    def vector(self, action: str) -> list[float]:
        """The vector of one action."""
        entry = self.table[action] or {}
        return [float(entry.get(name, 0.0)) for name in self.components]

    def __call__(self, timeline: Timeline, /) -> Conversion[Tensor]:
        """Look every action up.

        Raises:
            ValueError: the actions are vectors, or the table lacks one of them.
        """
        timeline.need("discrete", "ByTable")
        refuse_missing(timeline.names, self.table)
        vectors = torch.tensor(
            [self.vector(name) for name in timeline.names], device=timeline.actions.device
        )
        value = vectors[timeline.actions]
        keys = {
            name: tuple(self.vector(name))
            for name in timeline.names
            if self.table[name] is not None
        }
        unsaid = [name for name in timeline.names if self.table[name] is None]
        return Conversion(value, tuple(_lost(timeline, unsaid, keys, "all components at 0")))

    def timeline(self, timeline: Timeline, /) -> Conversion[Timeline]:
        """The same as a timeline of vectors."""
        found = self(timeline)
        noop = timeline.space.noop
        rest = self.vector(noop) if isinstance(noop, str) else None
        space = vector_space(self.components, self.units, rest)
        return Conversion(Timeline(found.value, space, timeline.fps), found.losses)


class ByName:
    """Discrete actions to the indices of a model's own actions.

    Args:
        names: the model's actions in its order.
        table: the panel's name -> the model's name, for those that differ; None for an action that
            the model does not have, which becomes `fallback` and is stated as lost.
        fallback: the model's action for what it does not have.

    The value is `[T]` or `[B, T]` int64.

    Example:
        >>> convert = ByName(("noop", "up"), {"forward": "up", "stop": "noop"})
        >>> convert(Timeline.of(torch.tensor([0, 1]), ("forward", "stop"), fps=15.0)).value.tolist()
        [1, 0]
    """

    def __init__(
        self,
        names: Sequence[str],
        table: Mapping[str, str | None] | None = None,
        *,
        fallback: str | None = None,
    ) -> None:
        self.names, self.table, self.fallback = tuple(names), dict(table or {}), fallback
        if not self.names or len(set(self.names)) < len(self.names):
            raise ValueError(f"names: expected each once and at least one, got {list(names)}")
        for action, name in self.table.items():
            if name is not None and name not in self.names:
                raise ValueError(
                    f"table[{action!r}]: expected one of {list(self.names)}, got {name!r}"
                )
        if fallback is not None and fallback not in self.names:
            raise ValueError(f"fallback: expected one of {list(self.names)}, got {fallback!r}")
        if fallback is None and None in self.table.values():
            raise ValueError("fallback: expected the model's action for what it lacks, got None")

    def __call__(self, timeline: Timeline, /) -> Conversion[Tensor]:
        """Look every action up.

        Raises:
            ValueError: the actions are vectors, or one is neither the model's nor in the table.
        """
        timeline.need("discrete", "ByName")
        refuse_missing(timeline.names, {**dict.fromkeys(self.names), **self.table})
        keys = {name: self.table.get(name, name) for name in timeline.names}
        unsaid = [name for name, key in keys.items() if key is None]
        index = [self.names.index(str(key or self.fallback)) for key in keys.values()]
        value = torch.tensor(index, device=timeline.actions.device)[timeline.actions]
        said = {name: key for name, key in keys.items() if key is not None}
        return Conversion(value, tuple(_lost(timeline, unsaid, said, f"became {self.fallback!r}")))


class NearestAction:
    """Vectors to the nearest action of a table: `ByTable` backwards.

    Distance is Euclidean over the table's components, each divided by its largest absolute value
    in the table, so that a key counts as much as the strongest turn. The first action of equally
    near ones is taken. Components of the timeline that the table lacks are dropped.

    Args:
        table: as of `ByTable`; entries None are never chosen.
        noop: the action that commands nothing, if any.

    The value is a discrete `Timeline` with the actions of the table.
    """

    def __init__(self, table: Table, *, noop: str | None = None) -> None:
        self.table = ByTable({name: entry for name, entry in table.items() if entry is not None})
        self.names = tuple(self.table.table)
        if noop is not None and noop not in self.names:
            raise ValueError(f"noop: expected one of {list(self.names)}, got {noop!r}")
        self.noop = noop

    def __call__(self, timeline: Timeline, /) -> Conversion[Timeline]:
        """Find the nearest action of every step.

        Raises:
            ValueError: the actions are discrete, or lack a component of the table.
        """
        timeline.need("continuous", "NearestAction")
        components = self.table.components
        if missing := [name for name in components if name not in timeline.names]:
            raise ValueError(
                f"timeline: expected the components {list(components)}, got {list(timeline.names)} "
                f"without {missing}"
            )
        order = [timeline.names.index(name) for name in components]
        known = torch.tensor([self.table.vector(name) for name in self.names])
        known = known.to(timeline.actions.device)
        own = timeline.actions[..., order]
        scale = known.abs().amax(0)
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        nearest = torch.cdist(own / scale, known / scale).argmin(-1)
        units = dict(zip(timeline.names, timeline.units, strict=True))
        losses = [
            Loss(
                "rounded",
                name,
                int((gap > 0).sum()),
                float(gap.max()),
                units[name],
                "to the nearest action of the table",
            )
            for name, gap in zip(components, (known[nearest] - own).abs().unbind(-1), strict=True)
            if bool((gap > 0).any())
        ]
        losses += dropped_components(timeline, components, "the table does not have it")
        space = ActionSpace(names=self.names, noop=self.noop)
        return Conversion(Timeline(nearest, space, timeline.fps), tuple(losses))


def refuse_missing(names: Sequence[str], known: Mapping[str, object]) -> None:
    """Raise ValueError unless all names are known to a table."""
    if missing := [name for name in names if name not in known]:
        raise ValueError(
            f"table: expected an entry for each of {list(names)}, got none for {missing}; "
            "None says that the model cannot express it"
        )


def dropped_components(timeline: Timeline, kept: Sequence[str], text: str) -> list[Loss]:
    """A loss for each component that is not kept and is not at rest throughout."""
    rest, found = timeline.rest, []
    assert rest is not None
    for i, name in enumerate(timeline.names):
        if name in kept:
            continue
        gap = (timeline.actions[..., i] - rest[i]).abs()
        if bool((gap > 0).any()):
            found.append(
                Loss(
                    "dropped", name, int((gap > 0).sum()), float(gap.max()), timeline.units[i], text
                )
            )
    return found


def _lost(
    timeline: Timeline, unsaid: Sequence[str], keys: Mapping[str, object], became: str
) -> Iterator[Loss]:
    """Losses of a look-up: actions without an entry, and actions that share one."""
    counts = torch.bincount(timeline.actions.flatten(), minlength=len(timeline.names)).tolist()
    used = {name: count for name, count in zip(timeline.names, counts, strict=True) if count}
    for name in unsaid:
        if name in used:
            yield Loss("dropped", name, used[name], text=f"the model cannot express it, {became}")
    groups: dict[object, list[str]] = {}
    for name, key in keys.items():
        groups.setdefault(key, []).append(name)
    for group in groups.values():
        if len(group) > 1 and (steps := sum(used.get(name, 0) for name in group)):
            yield Loss("merged", ", ".join(group), steps, text="the model sees one action")
