"""What is handed to a model and what it hands back: memory of its own on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from wmscore.rollouts import Rollouts
from wmscore.worlds.protocol import Item

__all__ = ["handed", "own"]

_TENSORS = ("frames", "labels", "latents", "valid", "actions", "scenario", "seed", "branch")


def handed(items: Sequence[Item]) -> list[Item]:
    """The same items with tensors that a model may write to without harm to what is asked."""
    copies: dict[int, Tensor] = {}  # the branches of a row share theirs

    def copied(value: Tensor | None) -> Tensor | None:
        if value is not None and id(value) not in copies:
            copies[id(value)] = value.clone()
        return None if value is None else copies[id(value)]

    return [
        replace(
            item,
            actions=item.actions.clone(),
            frame=copied(item.frame),
            labels=copied(item.labels),
        )
        for item in items
    ]


def own(rollouts: Rollouts) -> Rollouts:
    """An answer in host memory of its own: the next call may use the model's buffers again."""
    alone = rollouts.without_reference()
    changed: dict[str, Any] = {
        name: value.detach().to("cpu", copy=True)
        for name in _TENSORS
        if (value := getattr(alone, name)) is not None
    }
    changed["info"] = {k: v.detach().to("cpu", copy=True) for k, v in alone.info.items()}
    return replace(alone, **changed)
