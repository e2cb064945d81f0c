"""Frames of counterfactual scripts for tests."""

from __future__ import annotations

import torch
from torch import Tensor


def random_scripts(
    groups: int = 3, scripts: int = 4, steps: int = 5, side: int = 8, seed: int = 0
) -> Tensor:
    """Independent uint8 frames `[G, K, T, 3, side, side]`."""
    generator = torch.Generator().manual_seed(seed)
    shape = (groups, scripts, steps, 3, side, side)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def shuffled(frames: Tensor, seed: int = 0) -> Tensor:
    """The scripts of every group dealt out at random, each way as likely."""
    generator = torch.Generator().manual_seed(seed)
    groups, scripts = frames.shape[:2]
    order = torch.rand(groups, scripts, generator=generator).argsort(1)
    return frames[torch.arange(groups)[:, None], order]
