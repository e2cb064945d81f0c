"""Counts of many scenarios drawn with replacement, from few random bits and exactly.

Independent Poisson counts with a given sum M are M draws with replacement. So each scenario gets a
Poisson count, with a mean a little below 1 that keeps the sum of S below S, and what lacks to S is
drawn one by one; should the sum be above S, as many are taken away at random. Either is exact
whatever the sum was. The counts of two scenarios are one look-up by 16 random bits; the few
patterns to which the table gives no counts take theirs from what the table, in steps of 2^-16,
leaves over.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["LEAST_SCENARIOS", "multinomial_blocks"]

LEAST_SCENARIOS = 2048
"""With fewer, drawing them one by one costs as little."""

_SHORT = 4.0  # standard deviations by which the mean of the sum is below S
_MOST = 48  # scenarios are drawn less often than this: beyond, the Poisson chance is below 1e-60
_PIECE = 1 << 20  # counts at a time


def multinomial_blocks(scenarios: int, draws: int, seed: int) -> Iterator[Tensor]:
    """Uint8 ``[r, S]`` on the CPU, R rows in all, whatever the size of the blocks."""
    mean = 1 - _SHORT / math.sqrt(scenarios)
    table, left, chance = _pairs(mean)
    first = torch.Generator().manual_seed(seed)
    # Streams of their own: how much of one is used must not move the others.
    seeds = torch.empty(3, dtype=torch.int64).random_(generator=first).tolist()
    rare, lacking, spare = (torch.Generator().manual_seed(s) for s in seeds)
    words = -(-scenarios // 8)
    step = max(1, min(draws, _PIECE // scenarios))
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        random = torch.empty(rows, words, dtype=torch.int64).random_(
            -(1 << 63), None, generator=first
        )
        index = random.view(torch.uint16).flatten()
        pairs = table.index_select(0, index.to(torch.int32))
        unknown = torch.from_numpy(np.flatnonzero(pairs.numpy() == _UNKNOWN))
        if len(unknown):
            place = torch.rand(len(unknown), dtype=torch.float64, generator=rare)
            pairs[unknown] = left[torch.searchsorted(chance, place, right=True)]
        padded = pairs.view(torch.uint8).reshape(rows, 8 * words)
        counts = padded[:, :scenarios]
        total = torch.from_numpy(counts.numpy().sum(1, dtype=np.uint32).astype(np.int64))
        _add(padded, scenarios, (scenarios - total).clamp(min=0), lacking)
        for row in (total > scenarios).nonzero().flatten().tolist():
            _take(counts[row], int(total[row]) - scenarios, spare)
        yield counts


_UNKNOWN = -1  # 255 twice, which no two scenarios have


def _add(counts: Tensor, scenarios: int, number: Tensor, generator: torch.Generator) -> None:
    """Draw so many scenarios more in each row."""
    drawn = torch.randint(scenarios, (int(number.sum()),), generator=generator)
    row = torch.repeat_interleave(torch.arange(len(number)), number)
    counts.view(-1).index_add_(
        0, drawn + row * counts.shape[1], torch.ones_like(drawn, dtype=torch.uint8)
    )


def _take(counts: Tensor, number: int, generator: torch.Generator) -> None:
    """Take away so many of what was drawn."""
    drawn = torch.repeat_interleave(torch.arange(len(counts)), counts.to(torch.int64))
    gone = drawn[torch.randperm(len(drawn), generator=generator)[:number]]
    counts -= torch.bincount(gone, minlength=len(counts)).to(torch.uint8)


@functools.cache
def _pairs(mean: float) -> tuple[Tensor, Tensor, Tensor]:
    """What 16 bits say of two counts, what else there is, and its cumulated share.

    Int16 ``[65536]``, the two counts as bytes, -1 for none; int16 ``[n]`` and float64 ``[n - 1]``.
    """
    number = np.arange(_MOST)
    single = np.exp(
        -mean + number * math.log(mean) - np.array([math.lgamma(n + 1) for n in number])
    )
    both = np.outer(single, single).ravel()
    both /= both.sum()
    code = (number[:, None] + 256 * number).astype(np.int16).ravel()
    times = np.floor(both * 65536)
    left = both - times / 65536
    table = np.full(65536, _UNKNOWN, np.int16)
    known: NDArray[np.int16] = np.repeat(code, times.astype(np.int64))
    table[: len(known)] = known
    chance = (left / left.sum()).cumsum()[:-1]
    return tuple(torch.from_numpy(part) for part in (table, code, chance))  # type: ignore[return-value]
