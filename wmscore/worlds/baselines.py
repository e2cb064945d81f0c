"""Baselines that every model is shown beside: frozen, action-blind, and the world's other seed.

A score that `Frozen` or `ActionBlind` reaches is worth nothing; none that `OtherSeed` misses can
be asked of a model in a stochastic world.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from wmscore.rollouts import Rollouts
from wmscore.worlds.protocol import Capabilities, Item, WorldModel, item_keys
from wmscore.worlds.step import stack_actions

__all__ = ["ActionBlind", "Frozen", "OtherSeed", "noop_script", "roll_out_edited"]


class Frozen:
    """Repeats the given frame (and its labels, where items have them) for ever."""

    name = "frozen"

    def __init__(self, like: WorldModel | Capabilities | None = None) -> None:
        """Declare the rate, frame size and labels of `like`; the frames follow the items."""
        self._like: Capabilities | None
        if like is None or isinstance(like, Capabilities):
            self._like = like
        else:
            self._like = like.capabilities

    @property
    def capabilities(self) -> Capabilities:
        """Ignores actions and seeds."""
        like = self._like or Capabilities(actions="none", fps=10.0, frame_size=(64, 64))
        return Capabilities(
            actions="none",
            seedable=False,
            labels=like.labels,
            fps=like.fps,
            frame_size=like.frame_size,
        )

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        """Repeat `item.frame` in every row.

        Raises:
            ValueError: an item has no frame, or only some items have labels.
        """
        actions = stack_actions(items, horizon)
        frames = [item.frame for item in items if item.frame is not None]
        if len(frames) < len(items):
            raise ValueError("items: the frozen baseline needs item.frame, got None")
        labels = [item.labels for item in items if item.labels is not None]
        if len(labels) not in (0, len(items)):
            raise ValueError(
                f"items: expected labels in all or none, got {len(labels)} of {len(items)}"
            )
        repeat = (len(items), horizon + 1, -1, -1, -1)
        still = torch.stack(frames)[:, None].expand(repeat).contiguous()
        return Rollouts(
            frames=still,
            labels=(
                torch.stack(labels)[:, None].expand(repeat[:4]).contiguous() if labels else None
            ),
            actions=actions.to(still.device),
            model=self.name,
            **item_keys(items),
        )

    def predict_next(
        self, items: Sequence[Item], reference_frames: Tensor, horizon: int
    ) -> Rollouts:
        """Predict that nothing changes: the true frame before, without labels.

        The floor of one-step prediction (persistence).
        """
        actions = stack_actions(items, horizon)
        before = [reference_frames[:, :1], reference_frames[:, :horizon]]
        frames = torch.cat(before, 1)
        return Rollouts(
            frames=frames,
            actions=actions.to(frames.device),
            model=self.name,
            **item_keys(items),
        )


class ActionBlind:
    """The world under a no-op script, whatever was commanded: the floor of action response."""

    name = "action-blind"

    def __init__(self, world: WorldModel) -> None:
        """Take the commands away from `world`."""
        self.world = world

    @property
    def capabilities(self) -> Capabilities:
        """The world's, without actions."""
        return replace(self.world.capabilities, actions="none", action_names=())

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        """Roll out no-op scripts; the result keeps the commanded actions.

        Raises:
            ValueError: an item has no no-op.
        """
        return roll_out_edited(
            self.world,
            items,
            horizon,
            lambda item: replace(item, actions=noop_script(item)),
            name=self.name,
        )


class OtherSeed:
    """The world with its own randomness drawn anew: the ceiling of any model of it."""

    name = "other-seed"

    def __init__(self, world: WorldModel) -> None:
        """Draw the randomness of `world` from each item's seed."""
        self.world = world

    @property
    def capabilities(self) -> Capabilities:
        """The world's, seedable."""
        return replace(self.world.capabilities, seedable=True)

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        """Roll out with `noise_seed = item.seed + 1`."""
        return roll_out_edited(
            self.world,
            items,
            horizon,
            lambda item: replace(item, noise_seed=item.seed + 1),
            name=self.name,
        )


def noop_script(item: Item) -> torch.Tensor:
    """A script of `item.actions`' shape that commands nothing.

    Raises:
        ValueError: the item's action space has no no-op.
    """
    if item.noop is None:
        raise ValueError(f"items: {item.scenario_id!r} has no noop action, expected one")
    return torch.as_tensor(item.noop).to(item.actions).expand_as(item.actions).contiguous()


def roll_out_edited(
    world: WorldModel,
    items: Sequence[Item],
    horizon: int,
    edit: Callable[[Item], Item],
    *,
    name: str,
) -> Rollouts:
    """Roll out `world` on edited items, under the name, keys and actions of the items as given.

    A model that does something else than it was told was still told so.

    Args:
        world: who rolls out.
        items: what was commanded.
        horizon: number of steps.
        edit: turns an item into the one that `world` is given.
        name: model name of the result.
    """
    commanded = stack_actions(items, horizon)
    rollouts = world.rollout([edit(item) for item in items], horizon)
    return replace(
        rollouts,
        actions=commanded.to(rollouts.actions.device),
        model=name,
        **item_keys(items),
    )
