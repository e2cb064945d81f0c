"""What a fault between the command and the world is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from wmscore.manifest import Panel
from wmscore.rollouts import Rollouts
from wmscore.testing.faults.base import Fault, first_steps
from wmscore.worlds.baselines import roll_out_edited
from wmscore.worlds.protocol import Item, WorldModel
from wmscore.worlds.step import stack_actions

__all__ = ["ActionFault", "check_share", "first_difference", "need_discrete"]


@dataclass(frozen=True, kw_only=True)
class ActionFault(Fault):
    """The world is sent other actions than commanded; wrong from the first one that differs."""

    _uses_step = False

    def __post_init__(self) -> None:
        """Check the step; most of these faults are there from the start."""
        if self.step is not None and not self._uses_step:
            raise ValueError(f"step: {self.name} begins with the first action, got {self.step}")
        super().__post_init__()

    @property
    def looks_ahead(self) -> bool:
        """Only a drawn step does."""
        return self.step is None and self._uses_step

    @abstractmethod
    def send(self, item: Item, step: int) -> Tensor:
        """What the world is sent for `item.actions`, of the same shape."""

    def send_all(self, items: Sequence[Item], horizon: int, panel: Panel | None) -> list[Tensor]:
        """What the world is sent for every item."""
        steps = first_steps(items, horizon, self.step).tolist()
        return [self.send(item, step) for item, step in zip(items, steps, strict=True)]

    def inject(
        self, world: WorldModel, items: Sequence[Item], horizon: int, panel: Panel | None
    ) -> Rollouts:
        """Roll out what is sent, and report what was commanded."""
        scripts = self.send_all(items, horizon, panel)
        sent = [replace(item, actions=s) for item, s in zip(items, scripts, strict=True)]
        onset = first_difference(sent, items, horizon)
        edited = iter(sent)
        rollouts = roll_out_edited(world, items, horizon, lambda item: next(edited), name=self.name)
        return replace(rollouts, info={**rollouts.info, "fault_step": onset})


def first_difference(sent: Sequence[Item], items: Sequence[Item], horizon: int) -> Tensor:
    """The step of each row's first action that is sent otherwise, `[B]` int64; 0 = none."""
    differs = stack_actions(sent, horizon) != stack_actions(items, horizon)
    differs = differs.flatten(2).any(2) if differs.dim() == 3 else differs
    return torch.where(differs.any(1), differs.int().argmax(1) + 1, 0)


def check_share(share: float) -> None:
    """Raise ValueError unless `share` is a number in 0..1."""
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise ValueError(f"share: expected a number in 0..1, got {share!r}")


def need_discrete(item: Item, fault: Fault) -> int:
    """The number of actions that `item` knows.

    Raises:
        ValueError: its actions are continuous.
    """
    if item.actions.is_floating_point():
        raise ValueError(f"items: {fault.name} needs discrete actions, got continuous ones")
    return len(item.action_names)
