"""How far the moves under an action lie from those under no action, against their own spread."""

from __future__ import annotations

import torch
from torch import Tensor

from wmscore.functional._chunks import piece_elements

__all__ = ["MOST_STEPS", "separation"]

MOST_STEPS = 256
"""Steps of each scenario that are compared with each other."""

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
    size = max(1, 8 * piece_elements(values.device) // max(1, len(first) * actions))
    shares = [values.new_empty(0, actions)]
    for start in range(0, scenarios, size):
        part = slice(start, start + size)
        shares.append(_of_pairs(values[part], member[part], noop, first, second).double())
    return torch.cat(shares).nanmean(0)  # NaN of nothing


def _of_pairs(values: Tensor, member: Tensor, noop: int, first: Tensor, second: Tensor) -> Tensor:
    """``[S, A]`` of all pairs of steps of each scenario, from whole numbers alone."""
    distance = torch.cdist(values, values, compute_mode="donot_use_mm_for_euclid_dist")
    distance = distance[:, first, second]  # [S, P]
    top = distance.amax(-1, keepdim=True) if len(first) else distance
    distance = (distance / top.where(top > 0, 1.0) * _LEVELS).round()
    distance, order = distance.sort(-1)
    actions = member.shape[-1]
    # The action of each step, or A for a step that does not count.
    action = member.to(torch.int64).argmax(-1).where(member.any(-1), actions)
    left, right = action[:, first].gather(1, order), action[:, second].gather(1, order)
    within = left.where(left == right, actions)  # the action that both steps of a pair have
    between = right.where(left == noop, left.where(right == noop, actions))
    between = between.where(left != right, actions)  # the other action of a pair with the no-op

    # How many of the nearest pairs are within each action, [S, P + 1, A + 1].
    nearest = torch.zeros(
        len(values), len(first) + 1, actions + 1, dtype=torch.int32, device=values.device
    )
    nearest[:, 1:].scatter_(2, within[..., None], 1)
    nearest = nearest.cumsum(1, dtype=torch.int32)
    row = torch.arange(len(values), device=values.device)[:, None]
    # Closer pairs, and those at least as close: their sum counts ties half.
    closer = torch.searchsorted(distance, distance)
    as_close = torch.searchsorted(distance, distance, right=True)
    wins = torch.zeros_like(between)
    for place in (closer, as_close):
        for kind in (between, torch.full_like(between, noop)):
            wins += nearest[row, place, kind]
    counts = wins.new_zeros(2, len(values), actions + 1)
    won, pairs = counts.scatter_add(
        2, between.expand(2, -1, -1), torch.stack([wins, torch.ones_like(wins)])
    )[..., :-1]
    inside = nearest[:, -1, :-1].long()
    share: Tensor = won / (2 * pairs * (inside + inside[:, noop, None]))  # NaN for 0 / 0
    share[:, noop] = torch.where(inside[:, noop] > 0, 0.5, torch.nan)
    return share


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
