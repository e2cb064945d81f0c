"""Horizons that the survival tests share: the worked example, and random ones with ties."""

from __future__ import annotations

import torch
from torch import Tensor

HORIZON = 32
BASELINE = [4, 7, 7, 9, 12, 16, 20, 32, 32, 32]
CANDIDATE = [6, 10, 14, 14, 18, 25, 32, 32, 32, 32]
COMPETING = ([4, 7, 8, 9, 12, 16, 20, 32, 32, 32], [1, 2, 2, 3, 1, 2, 3, 0, 0, 0])


def random_horizons(
    count: int, *, horizon: int = 20, early: float = 0.3, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Times and causes 0..3 `[count]`: ties, censoring before and at T, failures at T too.

    The last one is censored at T, so that the curve is known to its end and never 0.
    """
    generator = torch.Generator().manual_seed(seed)
    rate = torch.rand(count, generator=generator)
    times = (-(rate.log()) * 0.7 * horizon).long().clamp(max=horizon)
    cause = torch.randint(1, 4, (count,), generator=generator)
    cut = torch.rand(count, generator=generator) < early
    at_end = (times == horizon) & (torch.rand(count, generator=generator) < 0.7)
    cause = torch.where(cut | at_end, 0, cause)
    times[-1], cause[-1] = horizon, 0
    return times, cause
