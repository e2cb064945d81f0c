"""Hand-made label maps: squares that move, exchange their ids, go and come back."""

from __future__ import annotations

import torch
from torch import Tensor

STEPS, SIDE = 8, 40


def rollout(*boxes: tuple[int, int, int], steps: int = STEPS, size: int = 6) -> Tensor:
    """Labels ``[1, T, H, W]`` with squares (id, top, left) that move one pixel down per step."""
    labels = torch.zeros(1, steps, SIDE, SIDE, dtype=torch.int64)
    for t in range(steps):
        for name, top, left in boxes:
            labels[0, t, top + t : top + t + size, left : left + size] = name
    return labels


def two_objects() -> Tensor:
    return rollout((3, 4, 4), (9, 4, 24))


def swapped(labels: Tensor, first: int, second: int, start: int, stop: int = STEPS) -> Tensor:
    """Ids exchanged at the steps start..stop (1-based, inclusive)."""
    out = labels.clone()
    part = labels[:, start - 1 : stop]
    out[:, start - 1 : stop] = torch.where(
        part == first, second, torch.where(part == second, first, part)
    )
    return out


def erased(labels: Tensor, name: int, start: int, stop: int = STEPS) -> Tensor:
    out = labels.clone()
    out[:, start - 1 : stop][out[:, start - 1 : stop] == name] = 0
    return out
