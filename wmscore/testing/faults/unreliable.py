"""Faults that corrupt a share of the actions, graded: a larger share corrupts more of the same."""

from __future__ import annotations

import random
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from wmscore.testing.faults.action_fault import ActionFault, check_share, need_discrete
from wmscore.worlds.baselines import noop_script
from wmscore.worlds.protocol import Item

__all__ = ["DroppedActions", "NoisyActions", "StickyActions"]


@dataclass(frozen=True)
class _Unreliable(ActionFault):
    """Each action is corrupted with chance `share`.

    Which are, and by what, is drawn by scenario, seed and branch: every row has draws of its own,
    whatever the batch, so that the branches of a counterfactual group are corrupted at different
    steps. The steps that a smaller share corrupts are among those of a larger one, and an action
    is corrupted in the same way by both.

    Attributes:
        share: the chance, in 0..1.
    """

    share: float = 0.3

    def __post_init__(self) -> None:
        """Check the share."""
        super().__post_init__()
        check_share(self.share)

    @property
    @abstractmethod
    def kind(self) -> str:
        """The name, without the share."""

    @property
    def name(self) -> str:
        """With the share."""
        return f"{self.kind}-{self.share:g}"

    def draws(self, item: Item) -> tuple[Tensor, Tensor]:
        """Which actions are corrupted, `[T]` bool, and a number in [0, 1) for each, float64."""
        rng = random.Random(f"{item.scenario_id}/{item.seed}/{item.branch}")
        drawn = [(rng.random(), rng.random()) for _ in range(len(item.actions))]
        chance, number = torch.tensor(drawn, dtype=torch.float64).unbind(1)
        return chance < self.share, number


@dataclass(frozen=True)
class DroppedActions(_Unreliable):
    """Each action is lost with chance `share`: no-op arrives. Draws are each row's own.

    Attributes:
        share: the chance, in 0..1. The steps of a smaller share are among those of a larger one.
    """

    @property
    def kind(self) -> str:
        """Fixed."""
        return "dropped-actions"

    def send(self, item: Item, step: int) -> Tensor:
        """No-op where an action is lost."""
        lost, _ = self.draws(item)
        lost = lost.view(-1, *[1] * (item.actions.dim() - 1))
        return torch.where(lost, noop_script(item), item.actions)


@dataclass(frozen=True)
class NoisyActions(_Unreliable):
    """Each action is taken for another one with chance `share`. Draws are each row's own.

    The other one is uniform among all but the commanded, no-op included. At a share of 1 what is
    sent still tells a little about what was commanded: it is never that. Chance is reached at
    (N - 1) / N with N actions.

    Attributes:
        share: the chance, in 0..1. The steps of a smaller share are among those of a larger one,
            with the same other actions.
    """

    @property
    def kind(self) -> str:
        """Fixed."""
        return "noisy-actions"

    def send(self, item: Item, step: int) -> Tensor:
        """Another action where one is mistaken."""
        count = need_discrete(item, self)
        if count < 2:
            raise ValueError(f"items: {self.name} needs two actions, got {list(item.action_names)}")
        wrong, number = self.draws(item)
        other = (number * (count - 1)).long()
        other += other >= item.actions.cpu()
        return torch.where(wrong.to(item.actions.device), other.to(item.actions), item.actions)


@dataclass(frozen=True)
class StickyActions(_Unreliable):
    """With chance `share` what was sent last is sent again. Draws are each row's own.

    The first action has none before it, and is sent as it is.

    Attributes:
        share: the chance, in 0..1. The steps of a smaller share are among those of a larger one.

    Source:
        Machado et al., "Revisiting the Arcade Learning Environment", arXiv:1709.06009, section 5
        (there with a share of 0.25).
    """

    @property
    def kind(self) -> str:
        """Fixed."""
        return "sticky-actions"

    def send(self, item: Item, step: int) -> Tensor:
        """The last action that did not stick."""
        stuck, _ = self.draws(item)
        source = torch.arange(len(stuck)).masked_fill(stuck, 0).cummax(0).values
        return item.actions[source.to(item.actions.device)]
