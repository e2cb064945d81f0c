"""`stressed_world`: a true world as a stressed panel has it rendered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from wmscore.manifest import Panel, Stress
from wmscore.rollouts import Rollouts
from wmscore.worlds.closing import Closing
from wmscore.worlds.lighting import Relightable
from wmscore.worlds.protocol import Capabilities, Item, WorldModel
from wmscore.worlds.stressed.given import spoil_given
from wmscore.worlds.stressed.light import light_frames, stress_light

__all__ = ["StressedWorld", "stressed_world"]

# What a stress does to the world, by `Stress.parameters["world"]`; the others are in the panel.
_RENDERED = ("light", "given")
_ASKED = ("scripts", "start")


class StressedWorld(Closing):
    """A world under one stress: what it shows is what the reference of the stressed panel is.

    It has the name and the capabilities of the world that it is made of. Object labels stay.
    """

    def __init__(self, world: WorldModel, stress: Stress) -> None:
        """Wrap `world`; `stress` is the panel's.

        Raises:
            ValueError: the stress has nothing to render, or in a way that is not known here or to
                the world.
        """
        kind, rendered = (stress.parameters.get(name) for name in ("world", "rendered"))
        if kind not in _RENDERED:
            raise ValueError(
                f"stress.parameters['world']: expected one of {list(_RENDERED)}, got {kind!r}"
            )
        self.world, self.stress = world, stress
        self._light = stress_light(stress) if kind == "light" else None
        self._shown = world
        if self._light is not None and rendered == "simulator":
            if not isinstance(world, Relightable):
                raise ValueError(
                    f"world: {stress.stressor} is rendered by the simulator here, but "
                    f"{world.name!r} has no `relit`; lay it on the frames instead: "
                    f"find({stress.stressor!r}, rendered='frames')"
                )
            self._shown, self._light = world.relit(self._light), None
        elif self._light is not None and rendered != "frames":
            raise ValueError(
                f"stress.parameters['rendered']: expected 'simulator' or 'frames', got {rendered!r}"
            )
        self._given = kind == "given"

    @property
    def name(self) -> str:
        """The world's own."""
        return self.world.name

    @property
    def capabilities(self) -> Capabilities:
        """The world's own."""
        return self.world.capabilities

    @property
    def conversion_losses(self) -> tuple[str, ...]:
        """The world's own."""
        return tuple(getattr(self._shown, "conversion_losses", ()))

    @property
    def codec(self) -> Any:
        """How lossy the video is that the world's frames come from, or None."""
        return getattr(self.world, "codec", None)

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        """Roll the world out under the stress."""
        truth = self._shown.rollout(items, horizon)
        if self._light is not None:
            return replace(truth, frames=light_frames(truth.frames, items, self._light))
        if not self._given:
            return truth
        frames = truth.frames.clone()
        frames[:, 0] = spoil_given(frames[:, 0], items, self.stress)
        return replace(truth, frames=frames)

    def scaled(self, gain: float) -> StressedWorld:
        """The same world in which every action has `gain` times the effect, under the same stress.

        Raises:
            ValueError: the world has no other gain.
        """
        scaled = getattr(self.world, "scaled", None)
        if scaled is None:
            raise ValueError(f"world: expected one with scaled(gain), {self.name!r} has none")
        return StressedWorld(scaled(gain), self.stress)

    def close_own(self) -> None:
        """Close what was made for this stress alone; the world that was given stays open."""
        close = getattr(self._shown, "close", None)
        if self._shown is not self.world and close is not None:
            close()

    def close(self) -> None:
        """Close the world, where it can be closed."""
        for world in (self._shown,) if self._shown is self.world else (self._shown, self.world):
            close = getattr(world, "close", None)
            if close is not None:
                close()


def stressed_world(world: WorldModel, panel: Panel) -> WorldModel:
    """`world` as `panel.stress` has it rendered; `world` itself where there is nothing to render.

    What is stressed already is not stressed twice, wrapped or not.

    Raises:
        ValueError: `world` is under another stress already, cannot be stressed in this way, or
            shows recordings that do not depend on what this stress changes.
    """
    stress, known = panel.stress, _stress_of(world)
    if known is not None:
        if stress is None or _told(stress) != _told(known):
            name = "none" if stress is None else f"{stress.stressor} {stress.severity:g}"
            raise ValueError(
                f"world: is under the stress {known.stressor} {known.severity:g}, but the panel's "
                f"is {name}; give the world as it is without a stress"
            )
        return world
    kind = None if stress is None else stress.parameters.get("world")
    if stress is None or kind is None:
        return world
    if kind not in _ASKED:
        return StressedWorld(world, stress)
    if (blind := _blind_recording(world, str(kind))) is not None:
        raise ValueError(
            f"world: {stress.stressor} changes what the world does, but {blind!r} shows "
            "recordings, which stay the same; give a simulator"
        )
    return world


def _told(stress: Stress) -> tuple[str, float, int, str]:
    """All of a stress but the panel that it was put on."""
    parameters = json.dumps(stress.parameters, sort_keys=True)
    return stress.stressor, stress.severity, stress.seed, parameters


def _inside(world: object) -> list[object]:
    """A world and what it is wrapped around, from outside in."""
    found: list[object] = []
    while world is not None and not any(world is known for known in found):
        found.append(world)
        inner = getattr(world, "world", None)
        world = getattr(world, "model", None) if inner is None else inner
    return found


def _stress_of(world: object) -> Stress | None:
    """The stress that a world is under, by itself or by what it is wrapped around."""
    for inner in _inside(world):
        if isinstance(stress := getattr(inner, "stress", None), Stress):
            return stress
    return None


def _blind_recording(world: WorldModel, kind: str) -> str | None:
    """The name of recorded episodes in `world` that nobody checks against what is asked."""
    from wmscore.worlds.recorded import RecordedWorld

    for inner in _inside(world):
        if isinstance(inner, RecordedWorld):
            checked = inner.capabilities.actions != "none" and inner.actions == "check"
            if kind == "start" or not checked:
                return inner.name
    return None
