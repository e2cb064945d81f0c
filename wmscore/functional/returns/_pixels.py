"""Comparisons of frames over some of their pixels, a bounded number of frames at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from wmscore.functional._chunks import piece_elements
from wmscore.ops import FrameErrors, frame_errors

__all__ = ["counted", "is_back", "masked_distance", "pieces", "registered_distance", "some_rows"]


def pieces(count: int, frames: Tensor) -> Iterator[slice]:
    """Runs of `count` comparisons of frames `[..., C, H, W]`, few enough to stay in a cache."""
    values = max(1, frames.shape[-3:].numel() * frames.element_size())
    size = max(1, 4 * piece_elements(frames.device) // values)
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def some_rows(wanted: Tensor) -> Tensor:
    """Where `[N]` bool holds, ascending; all of them where reading it would stall the device."""
    if wanted.device.type == "cpu":
        return wanted.nonzero()[:, 0]
    return torch.arange(len(wanted), device=wanted.device)


def is_back(first: Tensor, second: Tensor, levels: float) -> Tensor:
    """`[N, H, W]` bool: pixels of `[N, C, H, W]` of which no channel differs by more."""
    apart = torch.maximum(first, second) - torch.minimum(first, second)  # uint8 does not wrap
    # A little slack for floats, of which 4 / 255 is no exact difference.
    slack = levels * 1.0001
    return apart.amax(1) <= (math.floor(slack) if apart.dtype == torch.uint8 else slack)


def masked_distance(first: Tensor, second: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute difference over the pixels of a mask `[N, H, W]`, `[N]` float64.

    NaN where a value in the mask is, inf where the mask has no pixel. Exact sums for uint8.
    """
    pair = (_inside(frames, mask[:, None]) for frames in (first, second))
    sums = FrameErrors(*frame_errors(*pair).unbind(-1)).absolute_error.sum(-1).double()
    count = counted(mask) * first.shape[1]
    return (sums / count.clamp_min(1)).masked_fill(count == 0, torch.inf)


def counted(mask: Tensor) -> Tensor:
    """Pixels of masks `[N, H, W]` that hold, `[N]` int64."""
    return mask.flatten(1).count_nonzero(1)


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


def _inside(frames: Tensor, mask: Tensor) -> Tensor:
    """Frames with 0 outside of a mask."""
    if frames.dtype == torch.uint8:
        return frames * mask
    return torch.where(mask, frames, 0)  # a NaN outside would spoil a product
