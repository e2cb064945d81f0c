"""The fault of an action gain: every action does too little or too much."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from wmscore.manifest import Panel
from wmscore.rollouts import Rollouts
from wmscore.testing.faults.action_fault import ActionFault, first_difference
from wmscore.worlds.baselines import noop_script
from wmscore.worlds.protocol import Item, WorldModel

__all__ = ["Scalable", "ScaledActions"]


@runtime_checkable
class Scalable(Protocol):
    """A world that exists with other gains, such as `SpriteWorld`."""

    def scaled(self, gain: float) -> WorldModel:
        """The same world in which every action has `gain` times the effect."""
        ...


@dataclass(frozen=True)
class ScaledActions(ActionFault):
    """Every action has `gain` times its effect.

    A continuous action is sent `gain` times as far from no-op. A discrete one cannot be scaled:
    the world is asked for its like with that gain, `world.scaled(gain)`, which `SpriteWorld` has;
    there the camera's path is scaled and rounded to whole pixels. Wrong from the first action on
    that is not no-op.

    Attributes:
        gain: 0 or more. 0.5 is the model of half speed that an evaluation which fits the scale of
            a trajectory (MIND's Sim(3)) takes for perfect.
    """

    gain: float = 0.5

    def __post_init__(self) -> None:
        """Check the gain."""
        super().__post_init__()
        if isinstance(self.gain, bool) or not isinstance(self.gain, int | float):
            raise ValueError(f"gain: expected a number, got {self.gain!r}")
        if not math.isfinite(self.gain) or self.gain < 0:
            raise ValueError(f"gain: expected a finite number of at least 0, got {self.gain!r}")

    @property
    def name(self) -> str:
        """With the gain."""
        return f"scaled-actions-{self.gain:g}"

    def send(self, item: Item, step: int) -> Tensor:
        """A continuous action scaled, a discrete one as it is."""
        if not item.actions.is_floating_point():
            return item.actions
        noop = noop_script(item)
        return noop + (item.actions - noop) * self.gain

    def inject(
        self, world: WorldModel, items: Sequence[Item], horizon: int, panel: Panel | None
    ) -> Rollouts:
        """Roll out the world with the other gain.

        Raises:
            ValueError: actions are discrete, and the world has no other gain.
        """
        if all(item.actions.is_floating_point() for item in items):
            return super().inject(world, items, horizon, panel)
        if not isinstance(world, Scalable):
            raise ValueError(
                f"world: {self.name} needs a world with scaled(gain) for discrete actions, "
                f"{world.name!r} has none"
            )
        still = [replace(item, actions=noop_script(item)) for item in items]
        onset = first_difference(still, items, horizon)
        onset = torch.zeros_like(onset) if self.gain == 1 else onset
        rollouts = world.scaled(self.gain).rollout(items, horizon)
        return replace(rollouts, info={**rollouts.info, "fault_step": onset})
