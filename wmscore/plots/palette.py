"""The colour of each object, the same in every picture."""

from __future__ import annotations

import colorsys

import torch
from torch import Tensor

__all__ = ["palette"]


def palette(count: int) -> Tensor:
    """Colours of the labels 0 .. count - 1, `[count, 3]` uint8: one hue per label, black = 0."""
    colours = torch.zeros(count, 3, dtype=torch.uint8)
    for i in range(1, count):
        # Golden-ratio hues keep neighbouring labels apart.
        rgb = colorsys.hsv_to_rgb((i * 0.618034) % 1.0, 0.55 + 0.4 * (i % 2), 1.0)
        colours[i] = torch.tensor([round(255 * v) for v in rgb], dtype=torch.uint8)
    return colours
