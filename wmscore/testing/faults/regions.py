"""Pixels of labelled objects: where they are, and what could be behind or around them."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["areas", "boxes", "fill_from", "mean_colours", "repaint"]


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


def repaint(frames: Tensor, mask: Tensor, box: Tensor, texture: Tensor, inside: Tensor) -> None:
    """Overwrite the pixels of `mask` by the texture, resampled to the box that they lie in.

    Args:
        frames: `[B, T, C, H, W]`, changed in place.
        mask: `[B, T, H, W]` bool.
        box: `[B, T, 4]` int64 (top, left, height, width), which holds all pixels of the mask.
        texture: `[B, C, h, w]`, one per row.
        inside: `[B, 4]` int64, the part of the texture that fills the box.
    """
    b, t, y, x = mask.nonzero(as_tuple=True)
    top, left, height, width = box[b, t].unbind(-1)
    from_top, from_left, from_height, from_width = inside[b].unbind(-1)
    from_y = from_top + (y - top) * from_height // height
    from_x = from_left + (x - left) * from_width // width
    frames[b, t, :, y, x] = texture[b, :, from_y, from_x].to(frames.dtype)


def mean_colours(frames: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean colour of every label over all steps, in whole levels of 0..255.

    Args:
        frames: `[B, T, C, H, W]` uint8, or floating point in [0, 1].
        labels: `[B, T, H, W]` integer.

    Returns:
        `[B, L, C]` int64, and which labels there are, `[B, L]` bool.
    """
    flat = labels.flatten(1).to(torch.int64)
    rows, count = len(flat), int(flat.max()) + 1
    place = (torch.arange(rows, device=labels.device)[:, None] * count + flat).flatten()
    size = torch.bincount(place, minlength=rows * count)
    means = []
    for channel in frames.unbind(2):
        level = channel.flatten().double()
        if frames.dtype != torch.uint8:
            # Whole numbers add up to the same in every order.
            level = (level * 255).nan_to_num(0.0).round()
        total = torch.bincount(place, weights=level, minlength=rows * count)
        means.append((total / size.clamp(min=1)).round().to(torch.int64))
    return torch.stack(means, 1).view(rows, count, -1), (size > 0).view(rows, count)
