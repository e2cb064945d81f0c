"""Walk over frames in pieces, so that temporaries stay bounded whatever the number of frames."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from wmscore.ops import has_kernel

__all__ = [
    "TABLE_ROWS",
    "call_frames",
    "frame_chunks",
    "is_one_run",
    "join_pieces",
    "label_pieces",
    "piece_elements",
]

TABLE_ROWS = 128
"""Rows of label maps whose table of all possible ids is worked on at a time."""


def piece_elements(device: torch.device) -> int:
    """Elements of one input that are worked on at a time.

    With about 128 bytes of temporaries each, a piece stays in a CPU's cache (page faults and misses
    cost up to four times there); on a device it is large enough to hide the launches.
    """
    return 1 << 17 if device.type == "cpu" else 1 << 19


def call_frames(op: str, *frames: Tensor) -> int:
    """Frames for one call of an op: all of them where its compiled kernel reads them in place."""
    device = frames[0].device
    values = frames[0].shape[-3:].numel()
    if not has_kernel(op, device):
        return max(1, piece_elements(device) // values)
    if all(is_one_run(tensor) for tensor in frames):
        return max(1, frames[0].shape[:-3].numel())
    # Gathered first: few enough bytes to stay in a CPU's cache, enough to hide a launch.
    piece = 1 << 22 if device.type == "cpu" else 1 << 26
    return max(1, piece // (values * frames[0].element_size()))


def frame_chunks(*frames: Tensor, size: int) -> Iterator[tuple[Tensor, ...]]:
    """Yield aligned pieces ``[n, C, H, W]``, n <= size, of frames that share a shape.

    Frames whose leading dims are one run in memory are split as views; others (say
    ``frames[:, 1:]``) are gathered piece by piece, because flattening would copy them whole.

    Args:
        *frames: tensors ``[..., C, H, W]`` of one shape.
        size: largest number of frames in a piece.
    """
    leading = frames[0].shape[:-3]
    count = leading.numel()
    size = max(1, size)
    for start in range(0, count, size):
        stop = min(start + size, count)
        yield tuple(_frames_between(tensor, leading, start, stop) for tensor in frames)


def join_pieces(pieces: list[Tensor], frames: Tensor) -> Tensor:
    """Float64 values of pieces, one for each frame, as `[...]` like the frames `[..., C, H, W]`."""
    if not pieces:
        return torch.empty(frames.shape[:-3], dtype=torch.float64, device=frames.device)
    return torch.cat(pieces).to(torch.float64).reshape(frames.shape[:-3])


def _frames_between(frames: Tensor, leading: torch.Size, start: int, stop: int) -> Tensor:
    if is_one_run(frames):
        return frames.reshape(-1, *frames.shape[-3:])[start:stop]
    # Slices, not an index tensor: that would wait for the device at every piece.
    *outer, length = leading
    pieces = []
    for row in range(start // length, (stop - 1) // length + 1):
        line = frames[_place(row, outer)]
        pieces.append(line[max(0, start - row * length) : stop - row * length])
    return torch.cat(pieces)


def _place(row: int, sizes: list[int]) -> tuple[int, ...]:
    """Coordinates of a flat position, last dim fastest."""
    place = []
    for size in reversed(sizes):
        row, index = divmod(row, size)
        place.append(index)
    return tuple(reversed(place))


def is_one_run(frames: Tensor) -> bool:
    """Whether the leading dims of ``[..., C, H, W]`` flatten to one as a view."""
    sizes, strides = frames.shape[:-3], frames.stride()[:-3]
    dims = [(size, stride) for size, stride in zip(sizes, strides, strict=True) if size != 1]
    return all(outer[1] == inner[0] * inner[1] for outer, inner in pairwise(dims))


def label_pieces(labels: Tensor, frame_cost: int) -> Iterator[tuple[slice, slice]]:
    """Blocks of whole rows, or of steps of one row where a row is large."""
    rows, steps = labels.shape[:2]
    frames = max(1, piece_elements(labels.device) // frame_cost)
    row_size, step_size = max(1, min(frames // steps, TABLE_ROWS)), min(frames, steps)
    for row in range(0, rows, row_size):
        for step in range(0, steps, step_size):
            yield slice(row, row + row_size), slice(step, step + step_size)
