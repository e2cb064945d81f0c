"""Faults between the command and the world: late, ignored, weak, or from another state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from wmscore.manifest import Panel
from wmscore.rollouts import Rollouts
from wmscore.testing.faults.action_fault import ActionFault, need_discrete
from wmscore.testing.faults.base import Fault, row_random
from wmscore.worlds.baselines import noop_script
from wmscore.worlds.protocol import Item, WorldModel
from wmscore.worlds.step import stack_actions

__all__ = ["DelayedActions", "HalfGain", "IgnoredActions", "ResetMismatch"]


@dataclass(frozen=True)
class DelayedActions(ActionFault):
    """Each action arrives `steps` later; the first `steps` actions are no-op."""

    steps: int = 3

    def __post_init__(self) -> None:
        """Check the delay."""
        if self.steps < 1 or self.step is not None:
            raise ValueError(
                f"steps: expected at least 1, from the start on; "
                f"got steps={self.steps}, step={self.step}"
            )

    @property
    def name(self) -> str:
        """With the delay."""
        return f"delayed-actions-{self.steps}"

    def send(self, item: Item, step: int) -> Tensor:
        """No-op first, then what was commanded."""
        late = item.actions[: max(0, len(item.actions) - self.steps)]
        return torch.cat([noop_script(item)[: self.steps], late])


@dataclass(frozen=True, kw_only=True)
class IgnoredActions(ActionFault):
    """From `step` on nothing that is commanded arrives."""

    _uses_step = True

    @property
    def name(self) -> str:
        """Fixed."""
        return "ignored-actions"

    def send(self, item: Item, step: int) -> Tensor:
        """As commanded, then no-op."""
        return torch.cat([item.actions[: step - 1], noop_script(item)[step - 1 :]])


@dataclass(frozen=True, kw_only=True)
class HalfGain(ActionFault):
    """Half of what is commanded arrives.

    A discrete action cannot be halved: every second one that is not no-op is dropped, which is a
    gain of one half on average. A continuous action is sent as the middle between no-op and it.
    """

    @property
    def name(self) -> str:
        """Fixed."""
        return "half-gain"

    def send(self, item: Item, step: int) -> Tensor:
        """Every second action, or every action halfway."""
        actions, noop = item.actions, noop_script(item)
        if actions.is_floating_point():
            return noop + (actions - noop) / 2
        moves = actions != noop
        return torch.where(moves & (moves.cumsum(0) % 2 == 0), noop, actions)


@dataclass(frozen=True)
class ResetMismatch(Fault):
    """The world starts elsewhere: `warm_up` steps of one drawn action come before frame 0.

    Frame 0 is not the given one, so every step is wrong: `fault_step` is 1.
    """

    warm_up: int = 4

    def __post_init__(self) -> None:
        """Check the warm-up."""
        if self.warm_up < 1 or self.step is not None:
            raise ValueError(
                f"warm_up: expected at least 1, from the start on; "
                f"got warm_up={self.warm_up}, step={self.step}"
            )

    @property
    def name(self) -> str:
        """With the length of the warm-up."""
        return f"reset-mismatch-{self.warm_up}"

    @property
    def looks_ahead(self) -> bool:
        """It does not."""
        return False

    def inject(
        self, world: WorldModel, items: Sequence[Item], horizon: int, panel: Panel | None
    ) -> Rollouts:
        """Roll out longer and cut the warm-up off."""
        longer = [
            replace(item, actions=torch.cat([self._drawn(item), item.actions])) for item in items
        ]
        truth = world.rollout(longer, horizon + self.warm_up)
        cut = {
            name: value[:, self.warm_up :]
            for name in ("frames", "labels", "valid", "latents")
            if (value := getattr(truth, name)) is not None
        }
        commanded = stack_actions(items, horizon).to(truth.actions.device)
        onset = torch.ones(len(items), dtype=torch.int64)
        info = {**truth.info, "fault_step": onset}
        return replace(truth, actions=commanded, info=info, **cut)

    def _drawn(self, item: Item) -> Tensor:
        moves = [i for i in range(need_discrete(item, self)) if i != item.noop]
        if not moves:
            raise ValueError("items: reset mismatch needs an action besides no-op, got none")
        return item.actions.new_full((self.warm_up,), row_random(item).choice(moves))
