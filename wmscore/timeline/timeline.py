"""The canonical action timeline: a panel's actions at a panel's frame rate."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self, cast

import torch
from torch import Tensor

from wmscore.manifest import ActionSpace, ActionUnit, Panel

__all__ = ["HasActions", "Timeline"]


class HasActions(Protocol):
    """What `Timeline.of_items` reads of an item; `wmscore.worlds.Item` has it."""

    @property
    def actions(self) -> Tensor:
        """`[T]` int64 or `[T, A]` floating point."""

    @property
    def action_names(self) -> tuple[str, ...]:
        """Names of the actions or of the components."""

    @property
    def action_units(self) -> tuple[str, ...]:
        """Units of the components, or empty."""

    @property
    def noop(self) -> int | tuple[float, ...] | None:
        """The action that commands nothing."""

    @property
    def fps(self) -> float | None:
        """Frames per second, or None where it is open."""


@dataclass(frozen=True, eq=False, repr=False)
class Timeline:
    """Actions on a common clock: action `t` acts between frame `t` and `t + 1`.

    Attributes:
        actions: `[T]` or `[B, T]` int64 of a discrete space, `[T, A]` or `[B, T, A]` float32 of a
            continuous one. All rows of a batch share space and frame rate.
        space: names, units and no-op. Yaw is positive to the right, pitch upwards.
        fps: frames per second, so that an action lasts `1 / fps` seconds.

    Raises:
        TypeError: another dtype.
        ValueError: another shape, an action that the space does not have, a number that is not
            finite, a button other than 0 or 1, or a frame rate that is not positive.

    Example:
        >>> Timeline.of(torch.tensor([0, 0, 1]), ("left", "right"), fps=20.0).words()
        ('left', 'left', 'right')
    """

    actions: Tensor
    space: ActionSpace
    fps: float

    def __post_init__(self) -> None:
        discrete = self.space.kind == "discrete"
        wanted = torch.int64 if discrete else torch.float32
        if self.actions.dtype != wanted:
            raise TypeError(
                f"actions: expected {wanted} of a {self.space.kind} space, got {self.actions.dtype}"
            )
        shape, count = tuple(self.actions.shape), len(self.space.names)
        if len(shape) - (not discrete) not in (1, 2) or (not discrete and shape[-1] != count):
            forms = "[T] or [B, T]" if discrete else f"[T, {count}] or [B, T, {count}]"
            raise ValueError(f"actions: expected {forms}, got {list(shape)}")
        if not (math.isfinite(self.fps) and self.fps > 0):
            raise ValueError(f"fps: expected a positive number, got {self.fps}")
        if self.actions.numel() == 0:
            return
        if discrete:
            least, most = (int(value) for value in self.actions.aminmax())
            if least < 0 or most >= count:
                raise ValueError(f"actions: expected 0..{count - 1}, got {least}..{most}")
            return
        if not bool(self.actions.isfinite().all()):
            raise ValueError("actions: expected finite numbers, got NaN or infinity")
        for i, unit in enumerate(self.space.units or ()):
            column = self.actions[..., i]
            if unit == "button" and bool(((column != 0) & (column != 1)).any()):
                wrong = float(column[(column != 0) & (column != 1)][0])
                raise ValueError(
                    f"actions: expected 0 or 1 for the button {self.space.names[i]!r}, got {wrong}"
                )

    # ---- making --------------------------------------------------------------------------

    @classmethod
    def of(
        cls,
        actions: Tensor,
        names: Sequence[str],
        *,
        units: Sequence[str] = (),
        noop: int | str | Sequence[float] | None = None,
        fps: float,
    ) -> Self:
        """A timeline of a tensor: integers are discrete actions, floating point ones vectors.

        Args:
            actions: `[T]`, `[B, T]` of any integer type, `[T, A]`, `[B, T, A]` of any floating
                point type; float64 is rounded to float32, the type of panels.
            names: of the actions or of the components.
            units: of the components, or empty.
            noop: the action that commands nothing, as index, name or vector.
            fps: frames per second.
        """
        if not names:
            raise ValueError("names: expected at least one, got none")
        vector = actions.is_floating_point()
        if not vector and actions.dtype in (torch.bool, torch.complex64, torch.complex128):
            raise TypeError(
                f"actions: expected integers or floating point numbers, got {actions.dtype}"
            )
        rest: str | tuple[float, ...] | None
        if noop is None or isinstance(noop, str):
            rest = noop
        elif isinstance(noop, int):
            if not 0 <= noop < len(names):
                raise ValueError(f"noop: expected 0..{len(names) - 1}, got {noop}")
            rest = names[noop]
        else:
            rest = tuple(float(value) for value in noop)
        space = ActionSpace(
            kind="continuous" if vector else "discrete",
            names=tuple(names),
            units=cast(tuple[ActionUnit, ...], tuple(units)) or None,
            noop=rest,
        )
        return cls(actions.to(torch.float32 if vector else torch.int64), space, fps)

    @classmethod
    def of_items(cls, items: Sequence[HasActions], *, fps: float | None = None) -> Self:
        """The actions of items as one batch: `[B, T]` or `[B, T, A]`.

        Args:
            items: of one panel, with scripts of one length.
            fps: frames per second, where the items leave it open.

        Raises:
            ValueError: no items, items of several spaces, lengths or frame rates, or no frame
                rate.
        """
        if not items:
            raise ValueError("items: expected at least one, got none")
        first = items[0]
        for field in ("action_names", "action_units", "noop", "fps"):
            for i, item in enumerate(items):
                mine, theirs = getattr(first, field), getattr(item, field)
                if mine != theirs:
                    raise ValueError(
                        f"items: expected one {field}, got {mine} and, of item {i}, {theirs}"
                    )
        if len(shapes := {tuple(item.actions.shape) for item in items}) > 1:
            raise ValueError(f"items: expected actions of one shape, got {sorted(shapes)}")
        rate = first.fps if first.fps is not None else fps
        if rate is None:
            raise ValueError("fps: expected a number, since the items leave it open, got None")
        if fps is not None and fps != rate:
            raise ValueError(f"fps: the items have {rate}, got {fps}")
        return cls.of(
            torch.stack([item.actions for item in items]),
            first.action_names,
            units=first.action_units,
            noop=first.noop,
            fps=rate,
        )

    @classmethod
    def of_panel(
        cls, panel: Panel, scenario: int, branch: int = 0, *, fps: float | None = None
    ) -> Self:
        """One script of a panel, at the panel's horizon and frame rate.

        Args:
            panel: the panel.
            scenario: index of the scenario.
            branch: which script of its group; 0 = commanded.
            fps: frames per second, where the panel leaves it open.
        """
        observation = panel.contract.observation
        rate = observation.fps if observation is not None else fps
        if rate is None:
            raise ValueError("fps: expected a number, since the panel leaves it open, got None")
        if fps is not None and fps != rate:
            raise ValueError(f"fps: the panel has {rate}, got {fps}")
        return cls(panel.actions(scenario, branch), panel.contract.actions, rate)

    def with_actions(self, actions: Tensor) -> Self:
        """Other actions of the same space at the same frame rate."""
        return replace(self, actions=actions)

    def renamed(self, names: Mapping[str, str]) -> Self:
        """The same actions under other names: `{"move_forward": "forward"}`.

        Raises:
            ValueError: a name that there is not, or two actions of one name.
        """
        if strays := [name for name in names if name not in self.names]:
            raise ValueError(f"names: expected some of {list(self.names)}, got {strays}")
        new = tuple(names.get(name, name) for name in self.names)
        if len(set(new)) < len(new):
            raise ValueError(f"names: expected each once, got {list(new)}")
        noop = self.space.noop
        if isinstance(noop, str):
            noop = names.get(noop, noop)
        space = ActionSpace(kind=self.space.kind, names=new, units=self.space.units, noop=noop)
        return replace(self, space=space)

    # ---- reading -------------------------------------------------------------------------

    @property
    def discrete(self) -> bool:
        """Whether actions are names and not vectors."""
        return self.space.kind == "discrete"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the actions, or of the components."""
        return self.space.names

    @property
    def units(self) -> tuple[ActionUnit, ...]:
        """Units of the components; "number" where the space names none. Empty if discrete."""
        if self.discrete:
            return ()
        number: ActionUnit = "number"
        return self.space.units or (number,) * len(self.names)

    @property
    def batched(self) -> bool:
        """Whether there is a batch dimension."""
        return self.actions.ndim == (2 if self.discrete else 3)

    @property
    def steps(self) -> int:
        """Number of actions, T."""
        return int(self.actions.shape[-1 if self.discrete else -2])

    @property
    def rest(self) -> Tensor | None:
        """What commands nothing: a scalar int64 index, or `[A]` float32.

        Vectors rest at zero where the space names no no-op; discrete spaces may have no rest.
        """
        noop = self.space.noop
        if isinstance(noop, str):
            return torch.tensor(self.names.index(noop), device=self.actions.device)
        if noop is not None:
            return torch.tensor(noop, dtype=torch.float32, device=self.actions.device)
        return None if self.discrete else torch.zeros(len(self.names), device=self.actions.device)

    def component(self, name: str) -> Tensor:
        """One component of vector actions over the steps, `[T]` or `[B, T]`."""
        self.need("continuous", "component")
        if name not in self.names:
            raise ValueError(f"name: expected one of {list(self.names)}, got {name!r}")
        return self.actions[..., self.names.index(name)]

    def words(self) -> tuple[str, ...]:
        """The names of discrete actions, step by step, of an unbatched timeline."""
        self.need("discrete", "words", one=True)
        return tuple(self.names[int(index)] for index in self.actions)

    def rows(self) -> Iterator[Timeline]:
        """The rows of a batch, each without the batch dimension; an unbatched timeline itself."""
        if not self.batched:
            yield self
            return
        for actions in self.actions:
            yield self.with_actions(actions)

    def same_as(self, other: Timeline) -> bool:
        """Whether space, frame rate and every action are the same."""
        return (
            self.space == other.space
            and self.fps == other.fps
            and torch.equal(self.actions, other.actions)
        )

    def need(self, kind: str, who: str, *, one: bool = False) -> None:
        """Raise ValueError in the name of `who` unless the actions are of a kind.

        Args:
            kind: "discrete" or "continuous".
            who: what needs it.
            one: a batch is refused too.
        """
        if self.space.kind != kind:
            raise ValueError(
                f"timeline: {who} needs {kind} actions, got {self.space.kind} {list(self.names)}"
            )
        if one and self.batched:
            raise ValueError(
                f"timeline: {who} takes one row, got {list(self.actions.shape)}; see rows()"
            )

    def __repr__(self) -> str:
        """Shape, names and frame rate."""
        shape = list(self.actions.shape)
        return f"Timeline({shape} {self.space.kind} {list(self.names)} at {self.fps:g} fps)"
