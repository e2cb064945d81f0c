"""Keys to motion, and motion to keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from wmscore.timeline.loss import Conversion, Loss
from wmscore.timeline.picking import pick
from wmscore.timeline.spaces import MOTION_UNITS, vector_space
from wmscore.timeline.tables import Table
from wmscore.timeline.timeline import Timeline

__all__ = ["KeysToMotion", "MotionToKeys"]

KeyMotion = Mapping[str, Mapping[str, float]]


class KeysToMotion:
    """Held keys to the motion of a step: each held key adds what it does.

    Args:
        motion: key -> components, `{"w": {"forward": 0.05}, "j": {"yaw": -1.2}}`. The components
            are those of a camera (metres right, down, forward; degrees yaw, pitch, roll).
        table: action -> keys held, for discrete actions.

    The value is a `Timeline` of the components that `motion` names. Different keys that add to
    one motion, as opposite ones do, are stated as merged.
    """

    def __init__(self, motion: KeyMotion, *, table: Table | None = None) -> None:
        self.motion = _checked(motion)
        self.table = table
        named = dict.fromkeys(name for entry in motion.values() for name in entry)
        self.components = tuple(named)

    def __call__(self, timeline: Timeline, /) -> Conversion[Timeline]:
        """Add up what the held keys do."""
        keys = dict.fromkeys(self.motion, "button")
        found = pick(timeline, keys, table=self.table, who="KeysToMotion")
        effect = torch.tensor(
            [[self.motion[key].get(name, 0.0) for name in self.components] for key in self.motion],
            dtype=torch.float64,
            device=found.value.device,
        )
        moved = (found.value.double() @ effect).float()
        losses = _merged(found.value.flatten(0, -2), moved.flatten(0, -2), tuple(self.motion))
        units = [MOTION_UNITS[name] for name in self.components]
        space = vector_space(self.components, units)
        value = Timeline(moved, space, timeline.fps)
        return Conversion(timeline, found.losses).then(Conversion(value, losses))


class MotionToKeys:
    """The motion of a step to the keys that come nearest to it: `KeysToMotion` backwards.

    Each component is met by the one key that comes nearest, or by none: a key has one speed, and
    what is faster or slower is rounded, which is stated with the largest difference.

    Args:
        motion: as of `KeysToMotion`, where every key does one thing.
        table: action -> components of motion, for discrete actions.

    The value is a `Timeline` of buttons, one per key.
    """

    def __init__(self, motion: KeyMotion, *, table: Table | None = None) -> None:
        self.motion = _checked(motion)
        for key, entry in self.motion.items():
            if len(entry) != 1:
                raise ValueError(f"motion[{key!r}]: expected one component, got {sorted(entry)}")
        self.table = table

    def __call__(self, timeline: Timeline, /) -> Conversion[Timeline]:
        """Find the nearest key of every component and step."""
        named = dict.fromkeys(name for entry in self.motion.values() for name in entry)
        wanted = {name: MOTION_UNITS[name] for name in named}
        found = pick(timeline, wanted, table=self.table, who="MotionToKeys")
        held = torch.zeros(*found.value.shape[:-1], len(self.motion), device=found.value.device)
        losses = []
        for i, name in enumerate(wanted):
            own = [key for key, entry in self.motion.items() if name in entry]
            speeds = torch.tensor([0.0, *(self.motion[key][name] for key in own)])
            speeds = speeds.to(held.device)
            column = found.value[..., i]
            nearest = (column[..., None] - speeds).abs().argmin(-1)
            for j, key in enumerate(own, 1):
                held[..., list(self.motion).index(key)] = (nearest == j).float()
            gap = (column - speeds[nearest]).abs()
            if bool((gap > 0).any()):
                steps, most = int((gap > 0).sum()), float(gap.max())
                text = "to the speed of a key, or to rest"
                losses.append(Loss("rounded", name, steps, most, wanted[name], text))
        space = vector_space(tuple(self.motion), ["button"] * len(self.motion))
        value = Timeline(held, space, timeline.fps)
        return Conversion(timeline, found.losses).then(Conversion(value, tuple(losses)))


def _checked(motion: KeyMotion) -> dict[str, dict[str, float]]:
    if not motion:
        raise ValueError("motion: expected at least one key, got none")
    for key, entry in motion.items():
        if strays := [name for name in entry if name not in MOTION_UNITS]:
            raise ValueError(
                f"motion[{key!r}]: expected components of {list(MOTION_UNITS)}, got {strays}"
            )
    return {key: dict(entry) for key, entry in motion.items()}


def _merged(held: torch.Tensor, moved: torch.Tensor, keys: Sequence[str]) -> tuple[Loss, ...]:
    """A loss for each motion that several sets of held keys came to."""
    combos, which, counts = torch.unique(held, dim=0, return_inverse=True, return_counts=True)
    groups: dict[tuple[float, ...], list[int]] = {}
    first = {int(group): i for i, group in reversed(list(enumerate(which.tolist())))}
    for group, row in sorted(first.items()):
        groups.setdefault(tuple(moved[row].tolist()), []).append(group)
    losses = []
    for same in groups.values():
        if len(same) > 1:
            names = [
                "+".join(k for k, on in zip(keys, combos[g].tolist(), strict=True) if on) or "none"
                for g in same
            ]
            steps = sum(int(counts[g]) for g in same)
            losses.append(Loss("merged", ", ".join(names), steps, text="they move alike"))
    return tuple(losses)
