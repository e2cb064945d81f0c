"""What each object has looked like so far: the exemplars that what is shown is compared with."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["exemplars"]


def exemplars(itself: Tensor, core: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Last, first and largest view of each object up to each step.

    Args:
        itself: ``[B, T, N, D]`` descriptors of the objects in the reference.
        core: ``[B, T, N]`` int64, over how many pixels.
        seen: ``[B, T, N]`` bool, enough to remember.

    Returns:
        ``[B, T, N, 3, D]`` descriptors, and ``[B, T, N]`` bool, whether there are any.
    """
    steps = itself.shape[1]
    step = torch.arange(steps, device=itself.device)[None, :, None].expand(seen.shape)
    last = step.where(seen, -1).cummax(1).values
    first = step.where(seen, steps).cummin(1).values
    # Of equal areas the first: an object that stands still keeps its exemplar.
    rank = (core * steps + (steps - 1 - step)).where(seen, -1)
    largest = steps - 1 - rank.cummax(1).values.clamp(min=0) % steps
    known = last >= 0
    views = []
    for index in (last, first, largest):
        index = index.where(known, 0)[..., None].expand(itself.shape)
        views.append(itself.gather(1, index))
    return torch.stack(views, 3), known
