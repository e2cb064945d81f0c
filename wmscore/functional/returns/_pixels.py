"""Comparisons of frames over some of their pixels, a bounded number of frames at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from wmscore.functional._chunks import piece_elements

__all__ = ["is_back", "masked_distance", "pieces", "registered_distance", "some_rows"]


def pieces(count: int, frames: Tensor) -> Iterator[slice]:
    """Runs of `count` comparisons of frames `[..., C, H, W]`, few enough to stay in a cache."""
    size = max(1, piece_elements(frames.device) // max(1, frames.shape[-3:].numel()))
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def some_rows(wanted: Tensor) -> Tensor:
    """Where `[N]` bool holds, ascending; all of them where reading it would stall the device."""
    if wanted.device.type == "cpu":
        return wanted.nonzero()[:, 0]
    return torch.arange(len(wanted), device=wanted.device)


def is_back(first: Tensor, second: Tensor, levels: float) -> Tensor:
    """`[N, H, W]` bool: pixels of `[N, C, H, W]` of which no channel differs by more."""
    # A little slack for floats, of which 4 / 255 is no exact difference.
    return (_wide(first) - _wide(second)).abs_().le(levels * 1.0001).all(1)


def masked_distance(first: Tensor, second: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute difference over the pixels of a mask `[N, H, W]`, `[N]` float64.

    NaN where a value in the mask is, inf where the mask has no pixel. Exact sums for uint8.
    """
    error = (_wide(first) - _wide(second)).abs_()
    if first.dtype == torch.uint8:
        total = error.mul_(mask[:, None]).flatten(1).sum(1, dtype=torch.int64).double()
    else:
        # A NaN outside of the mask is none: `where`, not a product.
        total = torch.where(mask[:, None], error, 0.0).flatten(1).sum(1)
    count = mask.flatten(1).sum(1) * first.shape[1]
    return (total / count.clamp_min(1)).masked_fill(count == 0, torch.inf)


def registered_distance(frame: Tensor, earlier: Tensor, mask: Tensor, radius: int) -> Tensor:
    """The least masked distance over displacements of `frame`, all over the same inner pixels."""
    height, width = frame.shape[-2:]
    inner = (..., slice(radius, height - radius), slice(radius, width - radius))
    fixed, where = earlier[inner], mask[inner]
    best = torch.full((len(frame),), torch.inf, dtype=torch.float64, device=frame.device)
    for dy in range(2 * radius + 1):
        for dx in range(2 * radius + 1):
            part = (..., slice(dy, height - 2 * radius + dy), slice(dx, width - 2 * radius + dx))
            best = torch.minimum(best, masked_distance(frame[part], fixed, where))
    return best


def _wide(frames: Tensor) -> Tensor:
    return frames.to(torch.int16 if frames.dtype == torch.uint8 else torch.float64)
