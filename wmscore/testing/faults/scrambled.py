"""Faults that send other actions: permuted or mirrored ones, or another script of the group."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wmscore.manifest import Panel
from wmscore.testing.faults.action_fault import ActionFault
from wmscore.testing.faults.base import row_random
from wmscore.worlds.baselines import noop_script
from wmscore.worlds.protocol import Item

__all__ = ["MirroredActions", "PermutedActions", "ShuffledScripts", "mirror_name"]

_OPPOSITES = {
    "left": ("right",),
    "right": ("left",),
    "up": ("down",),
    "down": ("up",),
    "forward": ("back", "backward"),
    "forwards": ("backwards",),
    "back": ("forward",),
    "backward": ("forward",),
    "backwards": ("forwards",),
}


@dataclass(frozen=True, kw_only=True)
class PermutedActions(ActionFault):
    """Every action does what another one should: a fixed permutation of the actions.

    Of continuous actions the components are permuted, by their distance from no-op.

    Attributes:
        mapping: name of a commanded action (or component) -> name of the one that is sent; names
            that are missing are sent as they are. None draws a derangement of all actions but
            no-op (of all components), the same for every row with the same names.
        draw: draws the derangement.
    """

    mapping: Mapping[str, str] | None = None
    draw: int = 0

    def __post_init__(self) -> None:
        """Check that the mapping permutes names."""
        super().__post_init__()
        if self.mapping is None:
            return
        if set(self.mapping) != set(self.mapping.values()):
            raise ValueError(f"mapping: expected a permutation of names, got {dict(self.mapping)}")
        if all(name == other for name, other in self.mapping.items()):
            raise ValueError(f"mapping: expected names that change, got {dict(self.mapping)}")

    @property
    def name(self) -> str:
        """Fixed."""
        return "permuted-actions"

    def send(self, item: Item, step: int) -> Tensor:
        """The action that each one is taken for.

        Raises:
            ValueError: the mapping holds an unknown name, or there are not two actions to permute.
        """
        source = self.mapping_for(item)
        index = {name: i for i, name in enumerate(item.action_names)}
        unknown = [name for name in source if name not in index]
        if unknown:
            known = list(item.action_names)
            raise ValueError(f"mapping: expected names out of {known}, got {unknown}")
        sent = list(range(len(index)))
        for name, other in source.items():
            sent[index[name]] = index[other]
        if not item.actions.is_floating_point():
            return item.actions.new_tensor(sent)[item.actions]
        moved, noop = torch.empty_like(item.actions), noop_script(item)
        moved[:, sent] = item.actions - noop
        return noop + moved

    def mapping_for(self, item: Item) -> dict[str, str]:
        """What is sent for every action of an item that is not sent as it is."""
        if self.mapping is not None:
            return dict(self.mapping)
        still = None if item.actions.is_floating_point() else item.noop
        names = [name for i, name in enumerate(item.action_names) if i != still]
        if len(names) < 2:
            raise ValueError(
                f"items: {self.name} needs two actions besides no-op, got {list(names)}"
            )
        rng = random.Random(f"{self.name}/{self.draw}/{'/'.join(names)}")
        order = _derangement(len(names), rng)
        return {name: names[order[i]] for i, name in enumerate(names)}


@dataclass(frozen=True, kw_only=True)
class MirroredActions(ActionFault):
    """Every action does the opposite: left <-> right, up <-> down, forward <-> back.

    The opposite of a name replaces those words in it (`strafe_left` <-> `strafe_right`); a name
    without any of them, such as no-op, is its own. A continuous action is sent as far from no-op
    on the other side.
    """

    @property
    def name(self) -> str:
        """Fixed."""
        return "mirrored-actions"

    def send(self, item: Item, step: int) -> Tensor:
        """The opposite of every action.

        Raises:
            ValueError: an action's opposite is not among the names, or none has an opposite.
        """
        if item.actions.is_floating_point():
            return 2 * noop_script(item) - item.actions
        names = item.action_names
        opposite = [mirror_name(name, names) for name in names]
        if opposite == list(names):
            raise ValueError(f"items: {self.name} needs actions with opposites, got {list(names)}")
        return item.actions.new_tensor([names.index(name) for name in opposite])[item.actions]


@dataclass(frozen=True, kw_only=True)
class ShuffledScripts(ActionFault):
    """The model reacts to some script of the counterfactual group, not to the one it was told.

    Which row is sent which script of its group is drawn by scenario and seed. The group are the
    scripts that the panel has for the scenario where `Faulty` is given the panel: then a batch may
    hold any part of a group. Without, the group are the rows of the batch, which must hold it
    whole: branches 0, 1, 2 and so on without a gap. A group of one script stays as it is.

    Attributes:
        derange: no row is sent its own script. Then a model of K scripts is a little worse than
            chance: what it shows and what it was told correlate by -1 / (K - 1). False draws any
            permutation, for which they do not correlate on average.
    """

    derange: bool = True

    @property
    def name(self) -> str:
        """With the kind of permutation."""
        return "shuffled-scripts" if self.derange else "shuffled-scripts-any"

    def send(self, item: Item, step: int) -> Tensor:
        """As commanded: what a group of this one script would be sent."""
        return item.actions

    def send_all(self, items: Sequence[Item], horizon: int, panel: Panel | None) -> list[Tensor]:
        """Another script of the same group.

        Raises:
            ValueError: a group has gaps and there is no panel, or the panel is another.
        """
        groups: dict[tuple[int, str, int], dict[int, Tensor]] = {}
        for item in items:
            groups.setdefault(_group(item), {})[item.branch] = item.actions
        sent = []
        orders: dict[tuple[int, str, int], list[int]] = {}
        for item in items:
            group = _group(item)
            scripts = groups[group]
            if group not in orders:
                if panel is not None:
                    scripts.update(_scripts_of(panel, item))
                elif sorted(scripts) != list(range(len(scripts))):
                    raise ValueError(
                        f"items: expected all branches of ({item.scenario_id!r}, seed "
                        f"{item.seed}), got {sorted(scripts)}; add the others, or give Faulty the "
                        "panel"
                    )
                orders[group] = self._order(len(scripts), row_random(item))
            sent.append(scripts[orders[group][item.branch]])
        return sent

    def _order(self, count: int, rng: random.Random) -> list[int]:
        if self.derange:
            return _derangement(count, rng)
        order = list(range(count))
        rng.shuffle(order)
        return order


def mirror_name(name: str, names: Sequence[str]) -> str:
    """The action of `names` that does the opposite of `name`; itself if it has no direction.

    Words end at whatever is no letter and before a capital after a small letter: `strafe_left`,
    `look left` and `lookLeft`, but not `lookleft`.

    Raises:
        ValueError: `names` lacks the opposite.
    """
    choices = [""]
    for word in re.split(r"([^A-Za-z]+|(?<=[a-z])(?=[A-Z]))", name):
        opposites = _OPPOSITES.get(word.lower(), (word,))
        choices = [choice + other for choice in choices for other in opposites]
    found = [choice for choice in choices if choice.lower() in {n.lower() for n in names}]
    if not found:
        raise ValueError(
            f"action_names: expected the opposite of {name!r}, {' or '.join(choices)}, "
            f"in {list(names)}"
        )
    return next(n for n in names if n.lower() == found[0].lower())


def _group(item: Item) -> tuple[int, str, int]:
    return item.scenario, item.scenario_id, item.seed


def _scripts_of(panel: Panel, item: Item) -> dict[int, Tensor]:
    if panel.fingerprint != item.panel:
        raise ValueError(
            f"panel: expected panel {item.panel[:12]} of the items, got {panel.fingerprint[:12]}"
        )
    count = len(panel.scenarios[item.scenario].scripts)
    return {branch: panel.actions(item.scenario, branch) for branch in range(count)}


def _derangement(count: int, rng: random.Random) -> list[int]:
    """A permutation that moves everything, uniform among them; of one thing, that one."""
    order = list(range(count))
    if count < 2:
        return order
    while any(i == other for i, other in enumerate(order)):
        rng.shuffle(order)
    return order
