"""Objects of the given frame in models that know pixels only."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wmscore.worlds.protocol import Item

__all__ = ["erased", "given_labels", "shown_by_change"]

VISIBLE = 1 / 255  # a change that rounding shows


def given_labels(items: Sequence[Item]) -> Tensor | None:
    """Labels `[B, H, W]` of the given frames, or None where the items have none.

    Raises:
        ValueError: only some items have labels.
    """
    labels = [item.labels for item in items if item.labels is not None]
    if not labels:
        return None
    if len(labels) < len(items):
        raise ValueError(
            f"items: expected labels in all or none, got {len(labels)} of {len(items)}"
        )
    return torch.stack(labels).cpu()


def erased(frame: Tensor, labels: Tensor, ids: Tensor) -> Tensor:
    """The frame without each object: filled with the mean colour of what is around it.

    Args:
        frame: `[3, H, W]` uint8.
        labels: `[H, W]`.
        ids: `[K]`, of objects that are there.

    Returns:
        `[K, 3, H, W]` uint8.
    """
    without = frame.expand(len(ids), -1, -1, -1).clone()
    for k, name in enumerate(ids.tolist()):
        here = labels == name
        y, x = here.nonzero().T
        around = torch.zeros_like(here)
        top, left = max(0, int(y.min()) - 2), max(0, int(x.min()) - 2)
        around[top : int(y.max()) + 3, left : int(x.max()) + 3] = True
        around &= ~here
        pixels = frame[:, around]
        if pixels.shape[1]:  # else it fills the picture, and nothing is known of what is behind
            without[k, :, here] = pixels.double().mean(1).round().to(torch.uint8)[:, None]
    return without


def shown_by_change(change: Tensor, ids: Tensor) -> Tensor:
    """Labels of what a picture would lose: an object is where it would look otherwise without it.

    A pixel belongs to the object whose absence changes it most, if that can be seen at all and is
    at least half of what the absence changes anywhere.

    Args:
        change: `[K, H, W]`, mean absolute change over channels, in [0, 1], per object.
        ids: `[K]`.

    Returns:
        `[H, W]`, of the type of `ids`; 0 where no object is.
    """
    if not len(ids):
        return torch.zeros(change.shape[1:], dtype=ids.dtype)
    least = (change.amax((1, 2), keepdim=True) / 2).clamp_min(VISIBLE)
    strength, which = change.masked_fill(change < least, 0).max(0)
    return ids[which].masked_fill(strength == 0, 0)
