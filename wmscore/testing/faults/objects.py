"""Faults of known objects, in pixels and labels: identity swap, vanish, duplicate."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from wmscore.rollouts import Rollouts
from wmscore.testing.faults.object_fault import (
    Choice,
    Plan,
    VisibleObjectFault,
    label_of,
    mask_of,
    texture_of,
)
from wmscore.testing.faults.regions import boxes, fill_from, repaint

__all__ = ["Duplicate", "IdentitySwap", "Vanish"]


@dataclass(frozen=True, kw_only=True)
class IdentitySwap(VisibleObjectFault):
    """Two visible objects exchange appearance and label, and go on moving as they were.

    Appearance is taken from the commanded rollout, where the object is seen best up to the step,
    and resampled to the other's box.
    """

    @property
    def name(self) -> str:
        """Fixed."""
        return "identity-swap"

    def choose(self, rng: random.Random, labels: Tensor, there: list[int]) -> Choice | None:
        """Any two."""
        if len(there) < 2:
            return None
        first, second = rng.sample(there, 2)
        return Choice((first, second))

    def change(self, rollouts: Rollouts, labels: Tensor, plan: Plan) -> tuple[Rollouts, Tensor]:
        """Paint each object's mask with the other's texture."""
        frames, swapped = rollouts.frames.clone(), labels.clone()
        wrong = torch.zeros_like(rollouts.valid)
        for this, other in ((0, 1), (1, 0)):
            mask = mask_of(labels, plan, this)
            repaint(frames, mask, boxes(mask), *texture_of(plan, other))
            swapped = torch.where(mask, label_of(labels, plan, other), swapped)
            wrong |= mask.flatten(2).any(2)
        return replace(rollouts, frames=frames, labels=swapped), wrong


@dataclass(frozen=True, kw_only=True)
class Vanish(VisibleObjectFault):
    """One object is gone: its pixels show the background beside them, its label is 0."""

    @property
    def name(self) -> str:
        """Fixed."""
        return "vanish"

    def choose(self, rng: random.Random, labels: Tensor, there: list[int]) -> Choice | None:
        """Any one."""
        return Choice((rng.choice(there),)) if there else None

    def change(self, rollouts: Rollouts, labels: Tensor, plan: Plan) -> tuple[Rollouts, Tensor]:
        """Fill the object's mask from unlabelled pixels."""
        mask = mask_of(labels, plan, 0)
        wrong = mask.flatten(2).any(2)
        row, t = wrong.nonzero(as_tuple=True)
        frames = rollouts.frames.clone()
        frames[row, t] = fill_from(frames[row, t], mask[row, t], labels[row, t] == 0)
        return replace(rollouts, frames=frames, labels=labels.masked_fill(mask, 0)), wrong


@dataclass(frozen=True, kw_only=True)
class Duplicate(VisibleObjectFault):
    """One object is there twice: a twin with the same label moves beside it, in front of all.

    The twin keeps a fixed offset, which puts it inside the view at the fault's first steps,
    outside the object's box grown by its own size on each side, and on as few other objects as
    can be found. A branch whose camera moves the twin out of the view does not show it.
    """

    tries: int = 24

    @property
    def name(self) -> str:
        """Fixed."""
        return "duplicate"

    def choose(self, rng: random.Random, labels: Tensor, there: list[int]) -> Choice | None:
        """The first object (in random order) that has room beside it, and the emptiest place."""
        for label in rng.sample(there, len(there)):
            mask = labels == label
            box = boxes(mask)
            end = box[:, :2] + box[:, 2:]
            room = torch.tensor(labels.shape[-2:], device=labels.device) - end.amax(0)
            (top, left), (down, right) = (-box[:, :2].amin(0)).tolist(), room.tolist()
            height, width = box[:, 2:].amax(0).tolist()
            places = [
                (dy, dx)
                for dy in range(top, down + 1)
                for dx in range(left, right + 1)
                if abs(dy) >= 2 * height or abs(dx) >= 2 * width
            ]
            if places:
                places = rng.sample(places, min(self.tries, len(places)))
                v, y, x = mask.nonzero(as_tuple=True)
                offset = torch.tensor(places, device=labels.device)
                hit = labels[v, y + offset[:, :1], x + offset[:, 1:]] != 0
                return Choice((label,), places[int(hit.sum(1).argmin())])
        return None

    def change(self, rollouts: Rollouts, labels: Tensor, plan: Plan) -> tuple[Rollouts, Tensor]:
        """Copy the object's visible pixels and label to the place beside it."""
        height, width = labels.shape[-2:]
        b, t, y, x = mask_of(labels, plan, 0).nonzero(as_tuple=True)
        to_y, to_x = y + plan.place[b, 0], x + plan.place[b, 1]
        fits = (to_y >= 0) & (to_y < height) & (to_x >= 0) & (to_x < width)
        b, t, y, x, to_y, to_x = (index[fits] for index in (b, t, y, x, to_y, to_x))
        frames, doubled = rollouts.frames.clone(), labels.clone()
        frames[b, t, :, to_y, to_x] = rollouts.frames[b, t, :, y, x]
        doubled[b, t, to_y, to_x] = labels[b, t, y, x]
        wrong = torch.zeros_like(rollouts.valid)
        wrong[b, t] = True
        return replace(rollouts, frames=frames, labels=doubled), wrong
