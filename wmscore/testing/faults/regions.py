"""Pixels of labelled objects: where they are, and what could be behind or around them."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["areas", "boxes", "fill_from"]


def areas(labels: Tensor) -> Tensor:
    """Visible pixels of every label: `[B, T, H, W]` integers to `[B, T, L]` int64."""
    flat = labels.flatten(2).to(torch.int64)
    rows, steps, _ = flat.shape
    count = int(flat.max()) + 1
    place = torch.arange(rows * steps, device=labels.device).view(rows, steps, 1)
    return torch.bincount((place * count + flat).flatten(), minlength=rows * steps * count).view(
        rows, steps, count
    )


def boxes(mask: Tensor) -> Tensor:
    """Bounding boxes: `[..., H, W]` bool to `[..., 4]` int64, (top, left, height, width).

    An empty mask has height and width 0.
    """
    sides = []
    for dim in (-1, -2):
        line = mask.any(dim)
        first = line.to(torch.uint8).argmax(-1)
        last = line.shape[-1] - 1 - line.flip(-1).to(torch.uint8).argmax(-1)
        sides.append((first, torch.where(line.any(-1), last - first + 1, 0)))
    (top, height), (left, width) = sides
    return torch.stack([top, left, height, width], dim=-1)


def fill_from(frames: Tensor, target: Tensor, source: Tensor) -> Tensor:
    """Overwrite `target` pixels with the nearest `source` pixel of their row.

    A row without source pixels borrows the nearest row that has some; a frame without any is
    filled with black.

    Args:
        frames: `[N, C, H, W]`.
        target: `[N, H, W]` bool.
        source: `[N, H, W]` bool.

    Returns:
        A copy of `frames` with the targets overwritten.
    """
    column = _nearest(source)
    row = _nearest(source.any(-1))
    n, y, x = target.nonzero(as_tuple=True)
    from_y = row[n, y]
    from_x = column[n, from_y, x]
    filled = frames.clone()
    found = (from_y >= 0) & (from_x >= 0)
    filled[n, :, y, x] = frames[n, :, from_y, from_x] * found[:, None].to(frames.dtype)
    return filled


def _nearest(source: Tensor) -> Tensor:
    """Index of the nearest true place along the last dimension, the left one on ties, or -1."""
    size = source.shape[-1]
    place = torch.arange(size, device=source.device, dtype=torch.int32).expand(source.shape)
    before = torch.where(source, place, -1).cummax(-1).values
    after = torch.where(source, place, 2 * size).flip(-1).cummin(-1).values.flip(-1)
    use_before = (before >= 0) & ((place - before <= after - place) | (after == 2 * size))
    nearest = torch.where(use_before, before, torch.where(after == 2 * size, -1, after))
    return nearest.to(torch.int64)
