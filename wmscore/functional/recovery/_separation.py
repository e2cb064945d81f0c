"""How far the moves under an action lie from those under no action, against their own spread."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["MOST_STEPS", "separation"]

MOST_STEPS = 256
"""Steps of each scenario that are compared with each other."""

_PIECE = 1 << 23  # float64 values of one temporary: 64 MiB
_LEVELS = 2.0**40  # distances closer than their largest / this are ties


def separation(values: Tensor, member: Tensor, noop: int) -> Tensor:
    """P(distance between the two actions > distance within either), ties counting half.

    Args:
        values: ``[S, N, D]`` float64, steps of each scenario, in units in which a distance makes
            sense.
        member: ``[S, N, A]`` bool, the action of each step; none for a step that does not count.
        noop: the action to tell the others from.

    Returns:
        ``[A]`` float64 in [0, 1], mean over scenarios with at least one distance of either kind;
        NaN where there is none. 0.5 for the no-op itself.
    """
    scenarios, steps, actions = member.shape
    if steps > MOST_STEPS:
        values, member = _evenly(values, member)
        steps = MOST_STEPS
    first, second = torch.triu_indices(steps, steps, 1, device=values.device)
    size = max(1, _PIECE // max(1, len(first) * actions))
    total = values.new_zeros(actions)
    count = values.new_zeros(actions)
    for start in range(0, scenarios, size):
        part = slice(start, start + size)
        share = _of_pairs(values[part], member[part], noop, first, second)
        total = total + share.nansum(0)
        count = count + (~share.isnan()).sum(0)
    return total / count  # NaN for 0 / 0


def _of_pairs(values: Tensor, member: Tensor, noop: int, first: Tensor, second: Tensor) -> Tensor:
    """``[S, A]`` of all pairs of steps of each scenario."""
    distance = torch.cdist(values, values, compute_mode="donot_use_mm_for_euclid_dist")
    distance = distance[:, first, second]  # [S, P]
    top = distance.amax(-1, keepdim=True) if len(first) else distance
    distance = (distance / top.where(top > 0, 1.0) * _LEVELS).round()
    distance, order = distance.sort(-1)
    left, right = member[:, first], member[:, second]  # [S, P, A]
    within = left & right
    within = within | within[..., noop, None]  # of the action's own steps, or of the no-op's
    between = (left & right[..., noop, None]) | (right & left[..., noop, None])

    def sorted_pairs(pairs: Tensor) -> Tensor:
        return pairs.gather(1, order[..., None].expand_as(pairs)).double()

    within_sorted, between_sorted = sorted_pairs(within), sorted_pairs(between)
    below = torch.nn.functional.pad(within_sorted.cumsum(1), (0, 0, 1, 0))  # [S, P + 1, A]

    def up_to(right_side: bool) -> Tensor:
        place = torch.searchsorted(distance, distance, right=right_side)
        return below.gather(1, place[..., None].expand_as(between_sorted))

    wins = (between_sorted * (up_to(False) + up_to(True))).sum(1) / 2
    return wins / (within_sorted.sum(1) * between_sorted.sum(1))


def _evenly(values: Tensor, member: Tensor) -> tuple[Tensor, Tensor]:
    """Evenly spaced ones of the steps that count."""
    kept = member.any(-1)
    order = (~kept).to(torch.uint8).argsort(dim=1, stable=True)  # those that count come first
    count = kept.sum(1, keepdim=True)
    rank = torch.arange(MOST_STEPS, device=values.device)
    spread = torch.where(count > MOST_STEPS, rank * count // MOST_STEPS, rank)
    index = order.gather(1, spread)[..., None]
    return (
        values.gather(1, index.expand(-1, -1, values.shape[-1])),
        member.gather(1, index.expand(-1, -1, member.shape[-1])),
    )
