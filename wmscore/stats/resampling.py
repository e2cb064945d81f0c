"""Bootstrap draws as counts: how often each draw takes each scenario."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from wmscore.stats._check import check_count

__all__ = ["resample_counts"]

_PIECE = 1 << 20  # draws times scenarios held at a time: 8 MiB of counts


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
    return _blocks(scenarios, draws, seed, torch.device(device))


def _blocks(scenarios: int, draws: int, seed: int, device: torch.device) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    step = max(1, min(draws, _PIECE // scenarios))
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        drawn = torch.randint(scenarios, (rows, scenarios), generator=generator, dtype=torch.int32)
        # In 32 bits: a piece has fewer places, unless it is of one row.
        row = torch.arange(rows, device=device, dtype=torch.int32)[:, None] * scenarios
        flat = (drawn.to(device) + row).flatten()
        counts = torch.bincount(flat, minlength=rows * scenarios)
        yield counts.reshape(rows, scenarios).to(torch.float64)
