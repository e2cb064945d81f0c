"""Faults of objects, in pixels and labels: identity swap, vanish, duplicate.

Which objects, and from which step on, is decided once per counterfactual group, in its commanded
rollout; every branch gets the same.
"""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from wmscore.manifest import Panel
from wmscore.rollouts import Rollouts
from wmscore.testing.faults.base import Fault, candidate_steps, row_random
from wmscore.testing.faults.regions import areas, boxes, fill_from
from wmscore.worlds.protocol import Item, WorldModel

__all__ = ["Duplicate", "IdentitySwap", "Vanish"]


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What is done to each row, on the rollouts' device."""

    step: Tensor  # [B] int64; T + 1 = nothing
    objects: Tensor  # [B, 2] int64, labels; 0 = none
    offset: Tensor  # [B, 2] int64, (down, right)
    anchors: Rollouts  # true rollouts, the commanded one of every group among them
    anchor: Tensor  # [B] int64, row of the group's commanded rollout in `anchors`


_Choice = tuple[tuple[int, ...], tuple[int, int]]  # objects, offset


@dataclass(frozen=True, kw_only=True)
class ObjectFault(Fault):
    """A true rollout in which chosen objects are changed from the fault's step on.

    Chosen are objects with at least `min_area` visible pixels at the step and for
    `visible_steps` steps from it on, in the commanded rollout.

    Attributes:
        min_area: pixels.
        visible_steps: steps, the fault's own included.
    """

    min_area: int = 40
    visible_steps: int = 3

    @property
    def looks_ahead(self) -> bool:
        """The choice needs the steps after the fault's."""
        return True

    @abstractmethod
    def choose(self, rng: random.Random, labels: Tensor, there: list[int]) -> _Choice | None:
        """Choose out of `there`, given the `labels` `[V, H, W]` of the visible steps."""

    @abstractmethod
    def change(self, rollouts: Rollouts, labels: Tensor, plan: _Plan) -> tuple[Rollouts, Tensor]:
        """Change `rollouts`; also say which frames were changed, `[B, T+1]` bool."""

    def inject(
        self, world: WorldModel, items: Sequence[Item], horizon: int, panel: Panel | None
    ) -> Rollouts:
        """Roll out the world, choose in the commanded rollouts, change all of the group.

        Raises:
            ValueError: the world gives no labels, or a commanded rollout is missing.
        """
        anchor, missing = _commanded(items, panel)
        everything = world.rollout([*items, *missing], horizon)
        if everything.labels is None:
            raise ValueError(f"world: {self.name} needs labels, {world.name!r} gives none")
        truth = everything[: len(items)] if missing else everything
        labels = everything.labels[: len(items)]
        chosen = {
            row: self._choose(items[anchor.index(row)], everything[row], horizon)
            for row in dict.fromkeys(anchor)
        }
        table = torch.tensor([chosen[row] for row in anchor]).to(truth.device)
        plan = _Plan(
            step=table[:, 0],
            objects=table[:, 1:3],
            offset=table[:, 3:],
            anchors=everything,
            anchor=torch.tensor(anchor, device=truth.device),
        )
        changed, wrong = self.change(truth, labels, plan)
        wrong = wrong & truth.valid
        onset = torch.where(wrong.any(1), wrong.int().argmax(1), 0).cpu()
        info = {**truth.info, "fault_step": onset}
        objects = torch.where(onset[:, None] > 0, plan.objects.cpu(), 0)
        info["fault_object"], info["fault_other_object"] = objects.unbind(1)
        return replace(changed, info=info)

    def _choose(self, item: Item, anchor: Rollouts, horizon: int) -> tuple[int, ...]:
        """(step, object, other object, down, right) of one group."""
        labels = anchor.labels
        if labels is None:
            raise ValueError("world: expected labels in every rollout")
        seen = (areas(labels)[0] >= self.min_area) & anchor.valid[0, :, None]
        seen = seen.cpu()
        rng = row_random(item)
        for step in candidate_steps(rng, horizon, self.step):
            until = step + self.visible_steps
            if until <= horizon + 1:
                there = [i for i in seen[step:until].all(0).nonzero()[:, 0].tolist() if i]
                choice = self.choose(rng, labels[0, step:until], there)
                if choice is not None:
                    objects, offset = choice
                    return (step, *objects, *(0,) * (2 - len(objects)), *offset)
        return (horizon + 1, 0, 0, 0, 0)


@dataclass(frozen=True, kw_only=True)
class IdentitySwap(ObjectFault):
    """Two visible objects exchange appearance and label, and go on moving as they were.

    Appearance is taken from the commanded rollout, where the object is seen best up to the step,
    and resampled to the other's box.
    """

    @property
    def name(self) -> str:
        """Fixed."""
        return "identity-swap"

    def choose(self, rng: random.Random, labels: Tensor, there: list[int]) -> _Choice | None:
        """Any two."""
        if len(there) < 2:
            return None
        first, second = rng.sample(there, 2)
        return (first, second), (0, 0)

    def change(self, rollouts: Rollouts, labels: Tensor, plan: _Plan) -> tuple[Rollouts, Tensor]:
        """Paint each object's mask with the other's texture."""
        frames, swapped = rollouts.frames.clone(), labels.clone()
        wrong = torch.zeros_like(rollouts.valid)
        for this, other in ((0, 1), (1, 0)):
            mask = _mask(labels, plan, this)
            texture, inside = _texture(plan, other)
            box = boxes(mask)
            b, t, y, x = mask.nonzero(as_tuple=True)
            top, left, height, width = box[b, t].unbind(-1)
            from_top, from_left, from_height, from_width = inside[b].unbind(-1)
            from_y = from_top + (y - top) * from_height // height
            from_x = from_left + (x - left) * from_width // width
            frames[b, t, :, y, x] = texture[b, :, from_y, from_x].to(frames.dtype)
            swapped[b, t, y, x] = plan.objects[b, other].to(labels.dtype)
            wrong |= mask.flatten(2).any(2)
        return replace(rollouts, frames=frames, labels=swapped), wrong


@dataclass(frozen=True, kw_only=True)
class Vanish(ObjectFault):
    """One object is gone: its pixels show the background beside them, its label is 0."""

    @property
    def name(self) -> str:
        """Fixed."""
        return "vanish"

    def choose(self, rng: random.Random, labels: Tensor, there: list[int]) -> _Choice | None:
        """Any one."""
        return ((rng.choice(there),), (0, 0)) if there else None

    def change(self, rollouts: Rollouts, labels: Tensor, plan: _Plan) -> tuple[Rollouts, Tensor]:
        """Fill the object's mask from unlabelled pixels."""
        mask = _mask(labels, plan, 0)
        wrong = mask.flatten(2).any(2)
        row, t = wrong.nonzero(as_tuple=True)
        frames = rollouts.frames.clone()
        frames[row, t] = fill_from(frames[row, t], mask[row, t], labels[row, t] == 0)
        return replace(rollouts, frames=frames, labels=labels.masked_fill(mask, 0)), wrong


@dataclass(frozen=True, kw_only=True)
class Duplicate(ObjectFault):
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

    def choose(self, rng: random.Random, labels: Tensor, there: list[int]) -> _Choice | None:
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
                return (label,), places[int(hit.sum(1).argmin())]
        return None

    def change(self, rollouts: Rollouts, labels: Tensor, plan: _Plan) -> tuple[Rollouts, Tensor]:
        """Copy the object's visible pixels and label to the place beside it."""
        height, width = labels.shape[-2:]
        b, t, y, x = _mask(labels, plan, 0).nonzero(as_tuple=True)
        to_y, to_x = y + plan.offset[b, 0], x + plan.offset[b, 1]
        fits = (to_y >= 0) & (to_y < height) & (to_x >= 0) & (to_x < width)
        b, t, y, x, to_y, to_x = (index[fits] for index in (b, t, y, x, to_y, to_x))
        frames, doubled = rollouts.frames.clone(), labels.clone()
        frames[b, t, :, to_y, to_x] = rollouts.frames[b, t, :, y, x]
        doubled[b, t, to_y, to_x] = labels[b, t, y, x]
        wrong = torch.zeros_like(rollouts.valid)
        wrong[b, t] = True
        return replace(rollouts, frames=frames, labels=doubled), wrong


def _mask(labels: Tensor, plan: _Plan, which: int) -> Tensor:
    """Pixels of the plan's object from its step on, `[B, T+1, H, W]` bool."""
    time = torch.arange(labels.shape[1], device=labels.device)
    begun = (time >= plan.step[:, None])[:, :, None, None]
    return (labels == plan.objects[:, which, None, None, None]) & begun


def _texture(plan: _Plan, which: int) -> tuple[Tensor, Tensor]:
    """Frames `[B, C, H, W]` filled with the object's own colours, and its boxes `[B, 4]`."""
    labels = plan.anchors.labels
    if labels is None:
        raise ValueError("world: expected labels in every rollout")
    label = plan.objects[:, which, None]
    size = areas(labels)[plan.anchor]
    size = size.gather(2, label[:, None].expand(-1, size.shape[1], 1))[:, :, 0]
    time = torch.arange(size.shape[1], device=labels.device)
    best = size.masked_fill(time > plan.step[:, None], -1).argmax(1)
    mask = labels[plan.anchor, best] == label[:, :, None]
    frames = plan.anchors.frames[plan.anchor, best]
    return fill_from(frames, ~mask, mask), boxes(mask)


def _commanded(items: Sequence[Item], panel: Panel | None) -> tuple[list[int], list[Item]]:
    """Row of each item's commanded rollout; rows past the batch are items that it lacks."""
    groups = [(item.scenario, item.scenario_id, item.seed) for item in items]
    rows: dict[tuple[int, str, int], int] = {}
    for row, (group, item) in enumerate(zip(groups, items, strict=True)):
        if item.branch == 0:
            rows.setdefault(group, row)
    missing: list[Item] = []
    for group, item in zip(groups, items, strict=True):
        if group not in rows:
            if panel is None:
                raise ValueError(
                    f"items: branch 0 of ({item.scenario_id!r}, seed {item.seed}) is missing, and "
                    "the fault's objects are chosen in it; add it, or give Faulty the panel"
                )
            if panel.fingerprint != item.panel:
                raise ValueError(
                    f"panel: expected panel {item.panel[:12]} of the items, "
                    f"got {panel.fingerprint[:12]}"
                )
            rows[group] = len(items) + len(missing)
            missing.append(replace(item, branch=0, actions=panel.actions(item.scenario)))
    return [rows[group] for group in groups], missing
