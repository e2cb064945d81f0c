"""Are two samples of vectors from one distribution?"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.stats._check import TOO_FEW_SAMPLES, check_count, check_values

__all__ = ["EnergyTest", "energy_test"]

_ROUNDING = 1e-12  # share of the distance within which two are tied
_LEAST = 4  # samples on each side: 70 ways to deal out the labels, p >= .015


class EnergyTest(NamedTuple):
    """What `energy_test` returns.

    Attributes:
        distance: the energy distance, at least 0 up to rounding; NaN where a value is not finite.
        p_value: in (0, 1]; NaN where `distance` is, or with fewer than 4 samples on a side.
        reason: TOO_FEW_SAMPLES with too few, else 0 (also where values are not finite).
    """

    distance: float
    p_value: float
    reason: int


def energy_test(first: Tensor, second: Tensor, *, draws: int = 2000, seed: int = 0) -> EnergyTest:
    r"""Energy distance of two samples of vectors, and its permutation p-value.

    .. math:: E = 2 \, \overline{d(x, y)} - \overline{d(x, x')} - \overline{d(y, y')}

    with the Euclidean d, over all pairs. If both are from one distribution, labels are without
    meaning: p is (1 + #) / (1 + draws), # of random ways to deal them out with a distance at least
    as large. It keeps its level at any number of dimensions.

    Args:
        first: ``[n, ...]``, floating point.
        second: ``[m, ...]`` of the same shape but for m.
        draws: random ways to deal out the labels.
        seed: of them.

    Raises:
        TypeError: not floating point tensors, or draws not an int.
        ValueError: the shapes do not fit, or a side is empty.

    Source:
        Szekely and Rizzo, J. Stat. Plan. Inference 143 (2013), 1249; Phipson and Smyth (2010) for
        the 1 +.

    Example:
        >>> first = torch.arange(8.0)[:, None]
        >>> energy_test(first, first + 20).p_value < 0.01, energy_test(first, first).p_value
        (True, 1.0)
    """
    check_values("first", first)
    check_values("second", second)
    check_count("draws", draws)
    n, m = (len(x) if x.dim() else 0 for x in (first, second))
    if not (n and m) or first.shape[1:] != second.shape[1:]:
        raise ValueError(
            "first, second: expected [n, ...] and [m, ...], got "
            f"{list(first.shape)} and {list(second.shape)}"
        )
    values = torch.cat([first, second]).double().flatten(1)
    distances = torch.cdist(values, values, compute_mode="donot_use_mm_for_euclid_dist")
    label = (torch.arange(n + m) < n).to(distances)
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(draws, n + m, generator=generator).argsort(1).to(values.device)
    seen = float(_energy(label[None], distances, n, m))
    if not values.isfinite().all():
        return EnergyTest(torch.nan, torch.nan, 0)
    if min(n, m) < _LEAST:
        return EnergyTest(seen, torch.nan, TOO_FEW_SAMPLES)
    slack = _ROUNDING * float(distances.mean())
    beyond = int((_energy(label[order], distances, n, m) >= seen - slack).sum())
    return EnergyTest(seen, (1 + beyond) / (1 + draws), 0)


def _energy(mine: Tensor, distances: Tensor, n: int, m: int) -> Tensor:
    """Energy distances of labels `[D, n + m]`, 1 for the first sample."""
    theirs = 1 - mine
    near, far = mine @ distances, theirs @ distances
    across = (near * theirs).sum(1) / (n * m)
    return 2 * across - (near * mine).sum(1) / n**2 - (far * theirs).sum(1) / m**2
