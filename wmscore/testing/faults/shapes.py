"""Objects that change their number: two become one, one becomes two, one comes from nowhere."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from itertools import combinations

import torch
from torch import Tensor

from wmscore.rollouts import Rollouts
from wmscore.testing.faults.novel import novel_texture
from wmscore.testing.faults.object_fault import (
    NEW,
    Choice,
    Plan,
    VisibleObjectFault,
    label_of,
    mask_of,
    texture_of,
)
from wmscore.testing.faults.regions import boxes, repaint

__all__ = ["Merge", "Spawn", "Split"]


@dataclass(frozen=True, kw_only=True)
class Merge(VisibleObjectFault):
    """Two neighbours become one: the second takes texture and label of the first.

    Neighbours are two objects whose boxes touch (a pixel may lie between them) at the step and the
    next; of several pairs, the one with the smallest gap. Which of them is the first is drawn.
    """

    @property
    def name(self) -> str:
        """Fixed."""
        return "merge"

    def choose(self, rng: random.Random, labels: Tensor, there: list[int]) -> Choice | None:
        """The nearest two that touch."""
        pairs = []
        for i, j in combinations(there, 2):
            gaps = [
                _gap(boxes(step == i).tolist(), boxes(step == j).tolist()) for step in labels[:2]
            ]
            if max(gaps) <= 1:
                pairs.append((gaps[0], i, j))
        if not pairs:
            return None
        _, first, second = min(pairs)
        return Choice((first, second) if rng.random() < 0.5 else (second, first))

    def change(self, rollouts: Rollouts, labels: Tensor, plan: Plan) -> tuple[Rollouts, Tensor]:
        """Paint the second's mask with the first's texture."""
        mask = mask_of(labels, plan, 1)
        frames = rollouts.frames.clone()
        repaint(frames, mask, boxes(mask), *texture_of(plan, 0))
        labels = torch.where(mask, label_of(labels, plan, 0), labels)
        return replace(rollouts, frames=frames, labels=labels), mask.flatten(2).any(2)


@dataclass(frozen=True, kw_only=True)
class Split(VisibleObjectFault):
    """One half of an object becomes a thing of its own, with a new label and texture.

    The half lies on one side of the middle of the box of what is visible, across its longer side
    at the step; which of the two halves is drawn.
    """

    @property
    def name(self) -> str:
        """Fixed."""
        return "split"

    def choose(self, rng: random.Random, labels: Tensor, there: list[int]) -> Choice | None:
        """Any one."""
        if not there:
            return None
        chosen = rng.choice(there)
        _, _, height, width = boxes(labels[0] == chosen).tolist()
        return Choice((chosen, NEW), (int(width > height), rng.randrange(2)))

    def change(self, rollouts: Rollouts, labels: Tensor, plan: Plan) -> tuple[Rollouts, Tensor]:
        """Paint the half with a new texture."""
        mask = mask_of(labels, plan, 0)
        top, left, height, width = boxes(mask)[..., None].unbind(2)
        y = torch.arange(labels.shape[2], device=labels.device)
        x = torch.arange(labels.shape[3], device=labels.device)
        below = ((y - top) * 2 >= height)[:, :, :, None]
        right = ((x - left) * 2 >= width)[:, :, None, :]
        sideways, far = plan.place[:, :2, None, None, None].unbind(1)
        mask &= torch.where(sideways == 1, right, below) == (far == 1)
        frames = rollouts.frames.clone()
        repaint(frames, mask, boxes(mask), *novel_texture(plan))
        labels = torch.where(mask, label_of(labels, plan, 1), labels)
        return replace(rollouts, frames=frames, labels=labels), mask.flatten(2).any(2)


@dataclass(frozen=True, kw_only=True)
class Spawn(VisibleObjectFault):
    """A disc that was never there appears in an empty place, and stays there in the view.

    Its area is the median one of the visible objects, and at least `min_area`; the place is free
    of objects for `visible_steps` steps, and half its diameter from the border. It lies behind
    all objects. `info["fault_object"]` is its label, one more than any of the row.
    """

    @property
    def name(self) -> str:
        """Fixed."""
        return "spawn"

    def choose(self, rng: random.Random, labels: Tensor, there: list[int]) -> Choice | None:
        """Any empty place."""
        sizes = sorted(int((labels[0] == i).sum()) for i in there)
        area = max([self.min_area, *sizes[len(sizes) // 2 : len(sizes) // 2 + 1]])
        side = math.isqrt(math.ceil(area * 4 / math.pi)) + 1
        margin = max(1, side // 2)
        taken = (labels != 0).any(0).to(torch.int64)
        taken = taken[margin : taken.shape[0] - margin, margin : taken.shape[1] - margin]
        if min(taken.shape) < side:
            return None
        count = torch.nn.functional.pad(taken.cumsum(0).cumsum(1), (1, 0, 1, 0))
        inside = count[side:] - count[:-side]
        inside = inside[:, side:] - inside[:, :-side]
        free = (inside == 0).nonzero().tolist()
        if not free:
            return None
        top, left = rng.choice(free)
        return Choice((NEW,), (top + margin, left + margin, side))

    def change(self, rollouts: Rollouts, labels: Tensor, plan: Plan) -> tuple[Rollouts, Tensor]:
        """Paint the disc where no object is."""
        top, left, side = plan.place[:, :3, None].unbind(1)
        y = torch.arange(labels.shape[2], device=labels.device) - top
        x = torch.arange(labels.shape[3], device=labels.device) - left
        up, across = (2 * y + 1 - side)[:, :, None], (2 * x + 1 - side)[:, None]
        disc = up.square() + across.square() <= side.square()[:, :, None]
        time = torch.arange(labels.shape[1], device=labels.device)
        begun = (time >= plan.step[:, None])[:, :, None, None]
        mask = disc[:, None] & begun & (labels == 0)
        frames = rollouts.frames.clone()
        box = torch.cat([top, left, side, side], 1)[:, None].expand(-1, labels.shape[1], -1)
        repaint(frames, mask, box, *novel_texture(plan))
        labels = torch.where(mask, label_of(labels, plan, 0), labels)
        return replace(rollouts, frames=frames, labels=labels), mask.flatten(2).any(2)


def _gap(one: list[int], other: list[int]) -> int:
    """Pixels between two boxes along the axis on which they are farther apart; 0 if they touch."""
    gaps = [
        max(one[axis], other[axis]) - min(one[axis] + one[axis + 2], other[axis] + other[axis + 2])
        for axis in (0, 1)
    ]
    return max(0, *gaps)
