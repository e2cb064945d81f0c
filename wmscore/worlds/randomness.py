"""Randomness per row, and third-party randomness that does not leak."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from wmscore.worlds.protocol import Item

__all__ = ["contained_randomness", "row_generators", "row_normal", "row_seed"]

_MASK = 2**64 - 1


def row_seed(seed: int, call: int = 0) -> int:
    """The seed of a row's `call`-th call of its model, 0..2^63-1.

    SplitMix64 of (seed, call): rows with other seeds, and other calls of one row, draw unrelated
    noise. Branches and scenarios with the same seed draw the same, so that they differ only by what
    was commanded.

    Example:
        >>> row_seed(7) == row_seed(7, 0) != row_seed(7, 1)
        True
    """
    state = (seed & _MASK) ^ (call * 0xD1342543DE82EF95 & _MASK)
    for _ in range(2):
        state = (state + 0x9E3779B97F4A7C15) & _MASK
        mixed = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB & _MASK
        state = mixed ^ (mixed >> 31)
    return state >> 1


def row_generators(
    items: Sequence[Item], call: int = 0, *, device: torch.device | str = "cpu"
) -> list[torch.Generator]:
    """One generator per row on `device`, seeded by `row_seed(item.seed, call)`.

    With one each, a row's noise does not depend on the rows beside it.
    """
    return [torch.Generator(device).manual_seed(row_seed(item.seed, call)) for item in items]


def row_normal(
    shape: Sequence[int],
    generators: Sequence[torch.Generator],
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Standard normal noise `[B, *shape]`, each row from its own generator, on their device."""
    return torch.stack(
        [torch.randn(*shape, generator=g, device=g.device, dtype=dtype) for g in generators]
    )


@contextlib.contextmanager
def contained_randomness(seed: int) -> Iterator[None]:
    """Seed the global generators of torch (all devices), NumPy and Python, and restore them after.

    For third-party code that draws from them. The noise is then that of the whole call: rows that
    are drawn together are not independent of the batch.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002
