"""Frames at another size."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["resize_frames"]


def resize_frames(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """`[T, 3, H, W]` uint8 frames at another size, bilinear with antialiasing, a few at a time."""
    out = frames.new_empty((*frames.shape[:2], *size))
    for i in range(0, len(frames), 16):
        part = frames[i : i + 16].float()
        part = torch.nn.functional.interpolate(part, size, mode="bilinear", antialias=True)
        out[i : i + 16] = part.round_().clamp_(0, 255).to(torch.uint8)
    return out
