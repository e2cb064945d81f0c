"""`stressed_world`: a true world as a stressed panel has it rendered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from wmscore.manifest import Panel, Stress
from wmscore.rollouts import Rollouts
from wmscore.worlds.protocol import Capabilities, Item, WorldModel
from wmscore.worlds.stressed.given import spoil_given
from wmscore.worlds.stressed.light import light_frames
from wmscore.worlds.stressed.start import start_elsewhere

__all__ = ["StressedWorld", "stressed_world"]

Roll = Callable[[Sequence[Item], int], Rollouts]

_RENDERED = ("light", "given", "start")


class StressedWorld:
    """A world under one stress: what it shows is what the reference of the stressed panel is."""

    def __init__(self, world: WorldModel, stress: Stress) -> None:
        """Wrap `world`; `stress` is the panel's.

        Raises:
            ValueError: the stress has nothing to render, or in a way that is not known.
        """
        kind = stress.parameters.get("world")
        if kind not in _RENDERED:
            raise ValueError(
                f"stress.parameters['world']: expected one of {list(_RENDERED)}, got {kind!r}"
            )
        self.world, self.stress, self._kind = world, stress, kind

    @property
    def name(self) -> str:
        """The world's own."""
        return self.world.name

    @property
    def capabilities(self) -> Capabilities:
        """The world's own."""
        return self.world.capabilities

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        """Roll the world out under the stress."""
        if self._kind == "start":
            return start_elsewhere(self.world, items, horizon, self.stress)
        truth = self.world.rollout(items, horizon)
        if self._kind == "light":
            return replace(truth, frames=light_frames(truth.frames, items, self.stress))
        frames = truth.frames.clone()
        frames[:, 0] = spoil_given(frames[:, 0], items, self.stress)
        return replace(truth, frames=frames)

    def close(self) -> None:
        """Close the world, where it can be closed."""
        close = getattr(self.world, "close", None)
        if close is not None:
            close()


def stressed_world(world: WorldModel, panel: Panel) -> WorldModel:
    """`world` as `panel.stress` has it rendered; `world` itself where there is nothing to render.

    What is stressed already is not stressed twice.

    Raises:
        ValueError: `world` is under another stress already, or cannot be stressed in this way.
    """
    stress = panel.stress
    if isinstance(world, StressedWorld):
        if world.stress != stress:
            name = "none" if stress is None else f"{stress.stressor} {stress.severity:g}"
            raise ValueError(
                f"world: is under the stress {world.stress.stressor} {world.stress.severity:g}, "
                f"but the panel's is {name}; give the world as it is without a stress"
            )
        return world
    if stress is None or "world" not in stress.parameters:
        return world
    return StressedWorld(world, stress)
