"""Panels on which two models are alike, made of what was measured."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["check_cells", "flipped_worlds", "split_worlds"]

_HELD = 1 << 22  # values of worlds that are held at a time


def check_cells(name: str, cells: object, seeds: int = 1) -> Tensor:
    """Float64 ``[S, K]`` with NaN where nothing was measured.

    Raises:
        TypeError: not a floating point tensor.
        ValueError: another shape, or fewer seeds than are needed.
    """
    if not isinstance(cells, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(cells).__name__}")
    if not cells.is_floating_point():
        raise TypeError(f"{name} must be floating point, got {cells.dtype}")
    if cells.ndim != 2 or cells.shape[0] < 1 or cells.shape[1] < seeds:
        raise ValueError(
            f"{name} must have shape [S, K] with at least {seeds} seeds, got {tuple(cells.shape)}"
        )
    cells = cells.to(torch.float64)
    return torch.where(cells.isfinite(), cells, torch.nan)


def split_worlds(cells: Tensor, worlds: int, seed: int) -> Iterator[Tensor]:
    """Deal the seeds of each scenario out to two models of half as many.

    Args:
        cells: ``[S, K]`` float64, NaN where missing. Of an odd number of values one, drawn anew for
            each world, is left out.
        worlds: how many.
        seed: of the generator, which is the CPU's.

    Yields:
        ``[2, S, K // 2, chunk]``, NaN where a scenario has fewer values.
    """
    scenarios, seeds = cells.shape
    half = seeds // 2
    generator = torch.Generator().manual_seed(seed)
    there = ~cells.isnan()
    share = there.sum(1) // 2  # values of a half
    place = torch.arange(half, device=cells.device)
    for count in _chunks(worlds, scenarios * seeds):
        # World by world, so that the worlds do not depend on how many are held at a time.
        keys = torch.rand(count, scenarios, seeds, generator=generator).to(cells.device)
        order = keys.masked_fill(~there, 2.0).argsort(-1)
        dealt = cells.expand(count, -1, -1).gather(-1, order)
        first = dealt[..., :half]
        start = share[:, None] + place
        second = dealt.gather(-1, start.expand(count, -1, -1))
        pair = torch.stack([first, second]).masked_fill(place >= share[:, None], torch.nan)
        yield pair.permute(0, 2, 3, 1)


def flipped_worlds(baseline: Tensor, candidate: Tensor, worlds: int, seed: int) -> Iterator[Tensor]:
    """Exchange the two models in a random half of the scenarios, once they are alike on average.

    What is left of their difference is that each suits some scenarios better than the other does,
    which all seeds of a scenario share.

    Args:
        baseline: ``[S, K]`` float64, NaN where missing.
        candidate: likewise; a pair of which either is missing is left out.
        worlds: how many.
        seed: of the generator, which is the CPU's.

    Yields:
        ``[2, S, K, chunk]``.
    """
    gap = (candidate - baseline).nanmean(1).nanmean()
    pair = torch.stack([baseline, candidate - gap])  # [2, S, K]
    pair = pair.masked_fill(pair.isnan().any(0), torch.nan)
    generator = torch.Generator().manual_seed(seed)
    scenarios, seeds = baseline.shape
    for count in _chunks(worlds, 2 * scenarios * seeds):
        turned = torch.rand(count, scenarios, generator=generator) < 0.5
        turned = turned.T[:, None].to(pair.device)  # [S, 1, chunk]
        yield torch.where(turned, pair.flip(0)[..., None], pair[..., None])


def _chunks(worlds: int, size: int) -> Iterator[int]:
    step = max(1, _HELD // max(1, size))
    for start in range(0, worlds, step):
        yield min(step, worlds - start)
