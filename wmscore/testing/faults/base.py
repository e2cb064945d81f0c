"""What a fault is: one known defect, in a world that is otherwise true, from a known step on."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from wmscore.manifest import Panel
from wmscore.rollouts import Rollouts
from wmscore.worlds.protocol import Capabilities, Item, WorldModel

__all__ = ["Fault", "Faulty", "candidate_steps", "row_random"]


@dataclass(frozen=True, kw_only=True)
class Fault(ABC):
    """One defect.

    Attributes:
        step: the first wrong step, 1-based. None draws it per row from (scenario id, seed), so
            that all branches of a counterfactual group get the same one, whatever the batch.
    """

    step: int | None = None

    def __post_init__(self) -> None:
        """Check the step."""
        if self.step is not None and self.step < 1:
            raise ValueError(f"step: expected at least 1, got {self.step}")

    @property
    @abstractmethod
    def name(self) -> str:
        """Short name, which becomes the model's."""

    @property
    def looks_ahead(self) -> bool:
        """Whether early frames may depend on the horizon or on later ones."""
        return self.step is None

    @abstractmethod
    def inject(
        self, world: WorldModel, items: Sequence[Item], horizon: int, panel: Panel | None
    ) -> Rollouts:
        """Roll out `world` with the fault; `info["fault_step"]` `[B]` says where it begins."""


class Faulty:
    """A world model with exactly one known fault: ground truth for whatever judges models.

    `info["fault_step"]` `[B]` int64 holds the 1-based step of the first frame that is wrong in
    the fault's sense, and 0 in rows where the fault could not be injected or has no effect (no
    object visible, a script that already is all no-op). Faults of objects add
    `info["fault_object"]` and `info["fault_other_object"]` `[B]`, labels, 0 where there is none:
    the two that are swapped; the one that vanishes, or is doubled; what it was and what it has
    become (morph, re-entry); the one that stays and the one that it takes in (merge); the one
    that is split and its new half; the one that is spawned.

    Example:
        >>> from wmscore.testing import Faulty, Freeze, sprite_items
        >>> from wmscore.worlds import SpriteWorld
        >>> model = Faulty(SpriteWorld(), Freeze(step=3))
        >>> model.name, model.rollout(sprite_items(1, 8), 8).info["fault_step"]
        ('freeze', tensor([3, 3]))
    """

    def __init__(self, world: WorldModel, fault: Fault, *, panel: Panel | None = None) -> None:
        """Break `world`.

        Args:
            world: the world to break.
            fault: how.
            panel: where the commanded script of a group is found when a batch holds other
                branches of the group only; faults of objects choose by the commanded rollout.
        """
        self.world = world
        self.fault = fault
        self.panel = panel

    @property
    def name(self) -> str:
        """The fault's name."""
        return self.fault.name

    @property
    def capabilities(self) -> Capabilities:
        """The world's; steps that are drawn depend on the horizon."""
        inner = self.world.capabilities
        return replace(inner, prefix_causal=inner.prefix_causal and not self.fault.looks_ahead)

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        """Roll out with the fault; keys and actions stay those of `items`."""
        return replace(self.fault.inject(self.world, items, horizon, self.panel), model=self.name)


def row_random(item: Item) -> random.Random:
    """The generator of a row's choices: by scenario and seed, never by place in the batch."""
    return random.Random(f"{item.scenario_id}/{item.seed}")


def candidate_steps(rng: random.Random, horizon: int, step: int | None) -> list[int]:
    """Steps at which to try to begin: the given one, or those of the middle half, shuffled.

    Raises:
        ValueError: the given step lies beyond the horizon.
    """
    if step is None:
        first = max(1, horizon // 4)
        steps = list(range(first, max(first, horizon - horizon // 4) + 1))
        rng.shuffle(steps)
        return steps
    if step > horizon:
        raise ValueError(f"step: expected at most horizon = {horizon}, got {step}")
    return [step]


def first_steps(items: Sequence[Item], horizon: int, step: int | None) -> Tensor:
    """The first candidate step of every row, `[B]` int64."""
    return torch.tensor([candidate_steps(row_random(item), horizon, step)[0] for item in items])
