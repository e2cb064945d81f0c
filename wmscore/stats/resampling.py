"""Bootstrap draws as counts: how often each draw takes each scenario."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from wmscore.stats._check import check_count
from wmscore.stats._multinomial import LEAST_SCENARIOS, multinomial_blocks

__all__ = ["resample_counts", "resampled_sums"]

_PIECE = 1 << 18  # draws times scenarios held at a time: 2 MiB of counts
_ROWS = 64  # draws that a large table is read for
_TILE = 1 << 18  # counts in float64 at a time: 2 MiB, which stay in a cache


def resample_counts(
    scenarios: int,
    draws: int = 10_000,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Iterator[Tensor]:
    """Scenarios drawn with replacement, block by block: any weighted sum is then one product.

    A statistic that is linear in the weights of the scenarios, or made of such ones, needs no
    gather: ``torch.cat([counts @ table for counts in resample_counts(S)])`` of a table ``[S, ...]``
    has one row per draw, and memory for one block of counts at a time.

    Args:
        scenarios: S, at least 1.
        draws: R, at least 1.
        seed: of the draws, which are the same on every device and whatever the size of blocks.
        device: of the counts.

    Yields:
        ``[r, S]`` float64 whole numbers, each row with the sum S; R rows in all.

    Raises:
        TypeError: not ints.
        ValueError: no scenario, no draw or a negative seed.

    Example:
        >>> import torch
        >>> counts = torch.cat(list(resample_counts(4, draws=3)))
        >>> counts.shape, counts.sum(1).tolist()
        (torch.Size([3, 4]), [4.0, 4.0, 4.0])
    """
    check_count("scenarios", scenarios)
    check_count("draws", draws)
    check_count("seed", seed, low=0)
    return (counts.to(torch.float64) for counts in _blocks(scenarios, draws, seed, device))


def resampled_sums(table: Tensor, draws: int, *, seed: int = 0) -> Iterator[Tensor]:
    """``counts @ table`` for the blocks of `resample_counts`, where S may be large.

    Args:
        table: float64 ``[S, M]``, S at least 1.
        draws: as for `resample_counts`.
        seed: as for `resample_counts`.

    Yields:
        ``[r, M]`` float64, R rows in all.

    Example:
        >>> import torch
        >>> [sums.tolist() for sums in resampled_sums(torch.ones(4, 1).double(), draws=3)]
        [[[4.0], [4.0], [4.0]]]
    """
    if len(table) < LEAST_SCENARIOS:
        for counts in _blocks(len(table), draws, seed, table.device):
            yield counts.to(torch.float64) @ table
        return
    lines = table.T.contiguous()
    held: list[Tensor] = []
    left = draws
    for counts in _blocks(len(table), draws, seed, table.device):
        held.append(counts)
        left -= len(counts)
        if left and sum(map(len, held)) < _ROWS:  # else a large table is read for a few rows
            continue
        rows = torch.cat(held) if len(held) > 1 else held[0]
        held = []
        tile = max(1, _TILE // len(rows)) if table.device.type == "cpu" else len(table)
        sums = torch.zeros(len(lines), len(rows), dtype=torch.float64, device=table.device)
        for line, part in zip(torch.split(lines, tile, 1), torch.split(rows, tile, 1), strict=True):
            sums.addmm_(line, part.to(torch.float64).T)
        yield sums.T


def _blocks(scenarios: int, draws: int, seed: int, device: torch.device | str) -> Iterator[Tensor]:
    """Counts of a whole dtype."""
    if scenarios >= LEAST_SCENARIOS:
        yield from (counts.to(device) for counts in multinomial_blocks(scenarios, draws, seed))
        return
    generator = torch.Generator().manual_seed(seed)
    step = max(1, min(draws, _PIECE // scenarios))
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        drawn = torch.randint(scenarios, (rows, scenarios), generator=generator, dtype=torch.int32)
        # In 32 bits: a piece has fewer places, unless it is of one row.
        row = torch.arange(rows, device=device, dtype=torch.int32)[:, None] * scenarios
        flat = (drawn.to(device) + row).flatten()
        counts = torch.bincount(flat, minlength=rows * scenarios)
        yield counts.reshape(rows, scenarios)
