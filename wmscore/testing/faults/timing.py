"""Faults of the time axis: the true film at half speed, and played backwards."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from wmscore.manifest import Panel
from wmscore.rollouts import Rollouts
from wmscore.testing.faults.base import Fault
from wmscore.worlds.protocol import Item, WorldModel

__all__ = ["HalfSpeed", "TimeReversed"]


@dataclass(frozen=True, kw_only=True)
class _Retimed(Fault):
    """True frames (and labels and latents) at other times; frame 0 is the given one."""

    def __post_init__(self) -> None:
        """The fault is there from the start."""
        if self.step is not None:
            raise ValueError(f"step: {self.name} begins with the first frame, got {self.step}")

    @abstractmethod
    def times(self, valid: Tensor) -> Tensor:
        """Which true frame is shown at each time, for `valid` `[B, T+1]`; `[B, T+1]` int64."""

    @abstractmethod
    def exists(self, valid: Tensor) -> Tensor:
        """Which of the frames that are shown exist, `[B, T+1]` bool."""

    def inject(
        self, world: WorldModel, items: Sequence[Item], horizon: int, panel: Panel | None
    ) -> Rollouts:
        """Roll out the world and show its frames at other times."""
        truth = world.rollout(items, horizon)
        source, valid = self.times(truth.valid), self.exists(truth.valid)
        row = torch.arange(len(truth), device=truth.device)[:, None]
        shown = {
            name: value[row, source]
            for name in ("frames", "labels", "latents")
            if (value := getattr(truth, name)) is not None
        }
        time = torch.arange(horizon + 1, device=truth.device)
        wrong = ((source != time) & truth.valid & valid).cpu()
        onset = torch.where(wrong.any(1), wrong.int().argmax(1), 0)
        info = {**truth.info, "fault_step": onset}
        return replace(truth, valid=valid, info=info, **shown)


@dataclass(frozen=True, kw_only=True)
class HalfSpeed(_Retimed):
    """The true rollout at half speed: frame t is true frame t // 2 under the same actions.

    All that moves does so at half speed, and every action shows late, the later the longer the
    rollout is. For a gain of one half at the right time see `ScaledActions(0.5)`.
    """

    @property
    def name(self) -> str:
        """Fixed."""
        return "half-speed"

    @property
    def looks_ahead(self) -> bool:
        """It looks back."""
        return False

    def times(self, valid: Tensor) -> Tensor:
        """Every true frame twice."""
        return (torch.arange(valid.shape[1], device=valid.device) // 2).expand(valid.shape)

    def exists(self, valid: Tensor) -> Tensor:
        """An episode that ends, ends later."""
        return valid.gather(1, self.times(valid))


@dataclass(frozen=True, kw_only=True)
class TimeReversed(_Retimed):
    """The true rollout backwards: the given frame 0, then true frames T, T - 1, ..., 1.

    It visits exactly the true states in the opposite order, so that whatever compares the two as
    sets of states, such as the Hausdorff distance between their trajectories, takes it for
    perfect. In a rollout that ends early, the frames that exist are reversed, and the last of
    them, true frame 1, is the padding.
    """

    @property
    def name(self) -> str:
        """Fixed."""
        return "time-reversed"

    @property
    def looks_ahead(self) -> bool:
        """Frame 1 is the last true one."""
        return True

    def times(self, valid: Tensor) -> Tensor:
        """From the last true frame on, backwards."""
        last = valid.sum(1, keepdim=True) - 1
        time = torch.arange(valid.shape[1], device=valid.device)
        back = (last + 1 - time).clamp(min=1).minimum(last)
        return torch.where(time == 0, 0, back)

    def exists(self, valid: Tensor) -> Tensor:
        """As many as are true."""
        return valid
