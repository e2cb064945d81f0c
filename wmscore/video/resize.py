"""Frames at another size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["resize_frames"]

_PART = 16  # frames at once: floats take four times the room


def resize_frames(frames: Tensor, size: tuple[int, int], mode: str = "bilinear") -> Tensor:
    """`[T, C, H, W]` uint8 or floating point at another (height, width), in the same dtype.

    Bicubic interpolation overshoots at edges; the overshoot is cut off, as every image library
    does. NaN stays NaN.

    Args:
        frames: the frames.
        size: (height, width).
        mode: "bicubic", "bilinear" (both against aliasing) or "nearest".
    """
    if tuple(frames.shape[-2:]) == size:
        return frames
    if mode == "nearest":
        return F.interpolate(frames, size=size, mode="nearest-exact")
    out = frames.new_empty((*frames.shape[:2], *size))
    for i in range(0, len(frames), _PART):
        part = frames[i : i + _PART]
        floats = part if part.is_floating_point() else part.float()
        found = F.interpolate(floats, size=size, mode=mode, align_corners=False, antialias=True)
        if frames.dtype == torch.uint8:
            out[i : i + _PART] = found.round_().clamp_(0, 255).to(torch.uint8)
            continue
        # What was out of range stays so: the scorer must see it.
        low, high = floats.amin((-2, -1), keepdim=True), floats.amax((-2, -1), keepdim=True)
        out[i : i + _PART] = found.clamp(low, high)
    return out
