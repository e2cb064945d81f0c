"""How often one model is better than another, whatever by how much."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.stats._check import check_number, check_scenarios, reason_where
from wmscore.stats._sort import sort_last

__all__ = ["WinRate", "cliffs_delta", "win_rate"]


class WinRate(NamedTuple):
    """What `win_rate` returns, each ``[...]``.

    Attributes:
        rate: float64 in [0, 1], share of scenarios with a difference above 0, ties for a half; NaN
            where there is no pair.
        low: float64, lower end of its interval.
        high: float64, upper end.
        wins: int64, differences above 0.
        ties: int64, differences of 0.
        losses: int64, differences below 0.
        scenarios: int64, all of them.
        reason: uint8, TOO_FEW_SAMPLES where there is no pair.
    """

    rate: Tensor
    low: Tensor
    high: Tensor
    wins: Tensor
    ties: Tensor
    losses: Tensor
    scenarios: Tensor
    reason: Tensor


def win_rate(differences: Tensor, level: float = 0.95) -> WinRate:
    r"""Share of scenarios in which the difference is above 0, with Wilson's interval.

    .. math:: \frac{w + z^2 / 2S}{1 + z^2 / S} \pm \frac{z}{1 + z^2 / S}
        \sqrt{\frac{w (1 - w)}{S} + \frac{z^2}{4 S^2}}

    Ties are halves: their rate has less variance than the interval takes it to have.
    ``2 * rate - 1`` is Cliff's delta of the paired scenarios.

    Args:
        differences: ``[S, ...]``, floating point, one mean difference per scenario. NaN and
            infinite values are missing pairs: dropped in their column, and counted.
        level: of confidence, in (0, 1).

    Returns:
        A `WinRate` of ``[...]`` tensors.

    Raises:
        TypeError: differences are not a floating point tensor.
        ValueError: no scenario dim, or a level outside (0, 1).

    Source:
        Wilson, Probable Inference, the Law of Succession, and Statistical Inference, JASA 22
        (1927).

    Example:
        >>> import torch
        >>> found = win_rate(torch.tensor([1.2, 0.4, -0.3, 0.9, 0.6, 0.1, 0.8, -0.2]))
        >>> found.rate.item(), round(found.low.item(), 3), round(found.high.item(), 3)
        (0.75, 0.409, 0.929)
    """
    check_scenarios("differences", differences)
    check_number("level", level, 0.0, 1.0)
    there = differences.isfinite()
    number = there.sum(0)
    wins = (there & (differences > 0)).sum(0)
    ties = (there & (differences == 0)).sum(0)
    rate = (2 * wins + ties).to(torch.float64) / (2 * number)
    z = torch.special.ndtri(torch.tensor(0.5 + level / 2, dtype=torch.float64)).item()
    widening = z * z / number.to(torch.float64)
    centre = (rate + widening / 2) / (1 + widening)
    half = (rate * (1 - rate) * widening + widening.square() / 4).sqrt() / (1 + widening)
    return WinRate(
        rate,
        (centre - half).clamp(min=0.0),
        (centre + half).clamp(max=1.0),
        wins,
        ties,
        number - wins - ties,
        number,
        reason_where(number == 0),
    )


def cliffs_delta(candidate: Tensor, baseline: Tensor) -> Tensor:
    r"""Cliff's delta of two unpaired samples: :math:`P(b > a) - P(b < a)`.

    Args:
        candidate: ``[N, ...]``, floating point, b. NaN values are missing.
        baseline: ``[M, ...]``, floating point, a, with the same further dims.

    Returns:
        Float64 ``[...]`` in [-1, 1], above 0 where the candidate is larger more often; NaN where
        one of them has no value.

    Raises:
        TypeError: not floating point tensors.
        ValueError: no dim of samples, or further dims that differ.

    Source:
        Cliff, Dominance Statistics, Psychological Bulletin 114 (1993).

    Example:
        >>> import torch
        >>> cliffs_delta(torch.tensor([3.0, 4.0, 5.0]), torch.tensor([1.0, 2.0, 4.0])).item() * 9
        6.0
    """
    check_scenarios("candidate", candidate, "[N, ...]")
    check_scenarios("baseline", baseline, "[M, ...]")
    shape = candidate.shape[1:]
    if baseline.shape[1:] != shape:
        raise ValueError(
            f"baseline must have shape [M, ...] with ... = {tuple(shape)}, "
            f"got {tuple(baseline.shape)}"
        )
    b, a = (
        x.to(torch.float64).reshape(len(x), shape.numel()).T.contiguous()
        for x in (candidate, baseline)
    )
    there, others = ~b.isnan(), (~a.isnan()).sum(-1)
    # NaN has no place in a binary search; at the end, as infinite, the others' count cuts it off.
    ordered = sort_last(torch.where(a.isnan(), math.inf, a))
    below = torch.searchsorted(ordered, b)
    upto = torch.minimum(torch.searchsorted(ordered, b, right=True), others[:, None])
    net = torch.where(there, below + upto - others[:, None], 0).sum(-1)
    return (net.to(torch.float64) / (there.sum(-1) * others)).reshape(shape)
