"""What faults of objects share: the choice in the commanded rollout, and the plan for each row.

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

__all__ = [
    "NEW",
    "Choice",
    "ObjectFault",
    "Plan",
    "VisibleObjectFault",
    "label_of",
    "mask_of",
    "texture_of",
]

NEW = -1
"""In a choice, an object that no rollout has: its label is one more than any of the row."""


@dataclass(frozen=True)
class Choice:
    """What is done to one group: labels of at most two objects, and up to four numbers."""

    objects: tuple[int, ...]
    place: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is done to each row, on the rollouts' device."""

    step: Tensor  # [B] int64; T + 1 = nothing
    objects: Tensor  # [B, 2] int64, labels; 0 = none
    new: Tensor  # [B, 2] bool, labels that were given out for the fault
    place: Tensor  # [B, 4] int64, what the fault means by it
    key: Tensor  # [B] int64, of further draws
    anchors: Rollouts  # true rollouts, the commanded one of every group among them
    anchor: Tensor  # [B] int64, row of the group's commanded rollout in `anchors`


@dataclass(frozen=True, kw_only=True)
class ObjectFault(Fault):
    """A true rollout in which chosen objects are changed from the fault's step on.

    Attributes:
        min_area: visible pixels that an object needs to be chosen.
        visible_steps: for how many steps it needs them, the fault's own included.
    """

    min_area: int = 40
    visible_steps: int = 3

    @property
    def looks_ahead(self) -> bool:
        """The choice needs the steps after the fault's."""
        return True

    @abstractmethod
    def change(self, rollouts: Rollouts, labels: Tensor, plan: Plan) -> tuple[Rollouts, Tensor]:
        """Change `rollouts`; also say which frames were changed, `[B, T+1]` bool."""

    @abstractmethod
    def find(
        self, rng: random.Random, anchor: Rollouts, labels: Tensor, horizon: int
    ) -> tuple[int, Choice] | None:
        """The step and the choice in a commanded rollout (one row, `labels` `[T+1, H, W]`)."""

    def inject(
        self, world: WorldModel, items: Sequence[Item], horizon: int, panel: Panel | None
    ) -> Rollouts:
        """Roll out the world, choose in the commanded rollouts, change all of the group.

        Raises:
            ValueError: the world gives no labels, a commanded rollout is missing, or the labels'
                dtype has no room for one more.
        """
        anchor, missing = _commanded(items, panel)
        everything = world.rollout([*items, *missing], horizon)
        if everything.labels is None:
            raise ValueError(f"world: {self.name} needs labels, {world.name!r} gives none")
        truth = everything[: len(items)] if missing else everything
        labels = everything.labels[: len(items)]
        chosen = {}
        for row in dict.fromkeys(anchor):
            rng = row_random(items[anchor.index(row)])
            found = self.find(rng, everything[row], everything.labels[row], horizon)
            step, choice = found or (horizon + 1, Choice(()))
            padded = [*choice.objects, 0, 0][:2] + [*choice.place, 0, 0, 0, 0][:4]
            chosen[row] = [step, *padded, rng.getrandbits(32)]
        table = torch.tensor([chosen[row] for row in anchor]).to(truth.device)
        objects, new = _give_new_labels(table[:, 1:3], labels)
        plan = Plan(
            step=table[:, 0],
            objects=objects,
            new=new,
            place=table[:, 3:7],
            key=table[:, 7],
            anchors=everything,
            anchor=torch.tensor(anchor, device=truth.device),
        )
        changed, wrong = self.change(truth, labels, plan)
        wrong = wrong & truth.valid
        onset = torch.where(wrong.any(1), wrong.int().argmax(1), 0).cpu()
        info = {**truth.info, "fault_step": onset}
        named = torch.where(onset[:, None] > 0, objects.cpu(), 0)
        info["fault_object"], info["fault_other_object"] = named.unbind(1)
        return replace(changed, info=info)


@dataclass(frozen=True, kw_only=True)
class VisibleObjectFault(ObjectFault):
    """A fault that begins at the given or a drawn step, with objects that are visible then.

    Chosen are objects with at least `min_area` visible pixels at the step and for
    `visible_steps` steps from it on, in the commanded rollout.
    """

    @abstractmethod
    def choose(self, rng: random.Random, labels: Tensor, there: list[int]) -> Choice | None:
        """Choose out of `there`, given the `labels` `[V, H, W]` of the visible steps."""

    def find(
        self, rng: random.Random, anchor: Rollouts, labels: Tensor, horizon: int
    ) -> tuple[int, Choice] | None:
        """The first candidate step at which there is something to choose."""
        seen = (areas(labels[None])[0] >= self.min_area) & anchor.valid[0, :, None]
        seen = seen.cpu()
        for step in candidate_steps(rng, horizon, self.step):
            until = step + self.visible_steps
            if until <= horizon + 1 and bool(anchor.valid[0, until - 1]):
                there = [i for i in seen[step:until].all(0).nonzero()[:, 0].tolist() if i]
                choice = self.choose(rng, labels[step:until], there)
                if choice is not None:
                    return step, choice
        return None


def mask_of(labels: Tensor, plan: Plan, which: int) -> Tensor:
    """Pixels of the plan's object from its step on, `[B, T+1, H, W]` bool."""
    time = torch.arange(labels.shape[1], device=labels.device)
    begun = (time >= plan.step[:, None])[:, :, None, None]
    return (labels == plan.objects[:, which, None, None, None]) & begun


def label_of(labels: Tensor, plan: Plan, which: int) -> Tensor:
    """The label of the plan's object in the dtype of `labels`, `[B, 1, 1, 1]`."""
    return plan.objects[:, which, None, None, None].to(labels.dtype)


def texture_of(plan: Plan, which: int) -> tuple[Tensor, Tensor]:
    """Frames `[B, C, H, W]` filled with the object's own colours, and its boxes `[B, 4]`."""
    labels = plan.anchors.labels
    if labels is None:
        raise ValueError("world: expected labels in every rollout")
    label = torch.where(plan.new[:, which], 0, plan.objects[:, which])[:, None]
    size = areas(labels)[plan.anchor]
    size = size.gather(2, label[:, None].expand(-1, size.shape[1], 1))[:, :, 0]
    time = torch.arange(size.shape[1], device=labels.device)
    best = size.masked_fill(time > plan.step[:, None], -1).argmax(1)
    mask = labels[plan.anchor, best] == label[:, :, None]
    frames = plan.anchors.frames[plan.anchor, best]
    return fill_from(frames, ~mask, mask), boxes(mask)


def _give_new_labels(objects: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Replace `NEW` in `objects` `[B, 2]`; also say where, `[B, 2]` bool.

    Raises:
        ValueError: the dtype of `labels` cannot hold a new label.
    """
    new, room = objects == NEW, torch.iinfo(labels.dtype).max
    given = labels.flatten(1).amax(1).to(torch.int64)[:, None] + 1
    if bool((new & (given > room)).any()):
        raise ValueError(
            f"labels: a new object needs a label of at most {room} in {labels.dtype}, "
            f"got {int(given[new.any(1)].max())}"
        )
    return torch.where(new, given, objects), new


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
