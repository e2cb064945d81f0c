"""Objects that become something else: in view (morph), or while nobody looks (re-entry)."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from wmscore.rollouts import Rollouts
from wmscore.testing.faults.base import candidate_steps
from wmscore.testing.faults.novel import novel_texture
from wmscore.testing.faults.object_fault import (
    NEW,
    Choice,
    ObjectFault,
    Plan,
    VisibleObjectFault,
    label_of,
    mask_of,
    texture_of,
)
from wmscore.testing.faults.regions import areas, boxes, repaint

__all__ = ["Morph", "Reentry"]


@dataclass(frozen=True, kw_only=True)
class Morph(VisibleObjectFault):
    """One object stays where it is and becomes something that the rollout has never shown.

    Its pixels take a texture that belongs to nothing in the rollout, its label becomes one more
    than any of the row (`info["fault_other_object"]`).

    Attributes:
        keep_label: leave the label, as a segmenter does that tracks places; there is no other
            object then.
    """

    keep_label: bool = False

    @property
    def name(self) -> str:
        """Fixed, by what happens to the label."""
        return "morph-unnoticed" if self.keep_label else "morph"

    def choose(self, rng: random.Random, labels: Tensor, there: list[int]) -> Choice | None:
        """Any one."""
        if not there:
            return None
        chosen = rng.choice(there)
        return Choice((chosen,) if self.keep_label else (chosen, NEW))

    def change(self, rollouts: Rollouts, labels: Tensor, plan: Plan) -> tuple[Rollouts, Tensor]:
        """Paint the object's mask with a new texture."""
        mask = mask_of(labels, plan, 0)
        frames = rollouts.frames.clone()
        repaint(frames, mask, boxes(mask), *novel_texture(plan))
        if not self.keep_label:
            labels = torch.where(mask, label_of(labels, plan, 1), labels)
        return replace(rollouts, frames=frames, labels=labels), mask.flatten(2).any(2)


@dataclass(frozen=True, kw_only=True)
class Reentry(ObjectFault):
    """An object that was out of sight comes back as another one, and stays that.

    It was seen, was without a single visible pixel for `away_steps` steps or more, and is then
    seen for `visible_steps` steps or more; seen means `min_area` pixels. It comes back with
    texture and label of another object seen before, of one that is out of sight itself if there
    is one, and as something new (see `Morph`) if there is no other object.

    The fault's step is the first at which it is seen again. The few pixels that come into sight
    before that step are the other object's as well, so that nobody can tell that it was itself.
    Object and other object are chosen in the commanded rollout; every branch has the object
    change at its own first return, and no fault if it does not return there. `step` is the
    earliest step that counts.

    Attributes:
        away_steps: steps.
    """

    away_steps: int = 2

    def __post_init__(self) -> None:
        """Check the steps."""
        super().__post_init__()
        if self.away_steps < 1:
            raise ValueError(f"away_steps: expected at least 1, got {self.away_steps}")

    @property
    def name(self) -> str:
        """Fixed."""
        return "reentry-mismatch"

    def find(
        self, rng: random.Random, anchor: Rollouts, labels: Tensor, horizon: int
    ) -> tuple[int, Choice] | None:
        """Any object that comes back, and another one."""
        candidate_steps(rng, horizon, self.step)  # refuses a step beyond the horizon
        area = areas(labels[None])[0]
        valid = anchor.valid[0, :, None].expand_as(area)
        back, _ = self._first_return(area.T, valid.T)
        back[0] = 0
        returning = back.nonzero()[:, 0].tolist()
        if not returning:
            return None
        chosen = rng.choice(returning)
        step = int(back[chosen])
        known = (area[: step + 1] >= self.min_area).any(0)
        away = (area[step : step + self.visible_steps] == 0).all(0)
        others = [i for i in known.nonzero()[:, 0].tolist() if i not in (0, chosen)]
        unseen = [i for i in others if bool(away[i])]
        return step, Choice((chosen, rng.choice(unseen or others) if others else NEW))

    def change(self, rollouts: Rollouts, labels: Tensor, plan: Plan) -> tuple[Rollouts, Tensor]:
        """Paint the object's mask, from its return on, with the other's texture or a new one."""
        time = torch.arange(labels.shape[1], device=labels.device)
        own = labels == label_of(labels, plan, 0)
        planned = plan.step < len(time)
        step, first = self._first_return(own.flatten(2).sum(2), rollouts.valid)
        mask = own & ((time >= first[:, None]) & (planned & (step > 0))[:, None])[:, :, None, None]
        frames, box = rollouts.frames.clone(), boxes(mask)
        new = plan.new[:, 1, None, None, None]
        repaint(frames, mask & new, box, *novel_texture(plan))
        repaint(frames, mask & ~new, box, *texture_of(plan, 1))
        labels = torch.where(mask, label_of(labels, plan, 1), labels)
        wrong = mask.flatten(2).any(2) & (time >= step[:, None])
        return replace(rollouts, frames=frames, labels=labels), wrong

    def _first_return(self, area: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """When objects of `area` `[N, T+1]` are seen again, and when their first pixel is, `[N]`.

        0 for those that do not come back.
        """
        seen = (area >= self.min_area) & valid
        # stays[:, t]: seen at t and for visible_steps - 1 steps after it.
        stays = seen.clone()
        for later in range(1, self.visible_steps):
            stays[:, :-later] &= seen[:, later:]
            stays[:, -later:] = False
        step, first, entry, gone = (area.new_zeros(len(area), dtype=torch.int64) for _ in range(4))
        known = torch.zeros_like(step, dtype=torch.bool)
        for t in range(area.shape[1]):
            here = area[:, t] > 0
            enters = here & known & (gone >= self.away_steps)
            entry = torch.where(enters, t, torch.where(here, entry, 0))
            back = (entry > 0) & seen[:, t]
            found = back & stays[:, t] & (step == 0) & (t >= (self.step or 1))
            step, first = torch.where(found, t, step), torch.where(found, entry, first)
            # Once seen again, it has come back, for however short a time.
            entry = torch.where(back, 0, entry)
            gone = torch.where(here, 0, gone + 1)
            known = known | seen[:, t]
        return step, first
