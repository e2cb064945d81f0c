"""Responses laid out by scenario, and what each action does to them there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Responses", "by_scenario"]

_SMALLEST_SHARE = 0.05
_ROUNDING = 1e-12  # share of a dimension's magnitude below which its deviation is rounding


@dataclass(frozen=True, eq=False)
class Responses:
    """One video's responses. Deviations and effects that are rounding are 0.

    Attributes:
        values: ``[S, N, D]`` float64, around their mean; 0 for steps that do not count.
        effect: ``[S, A, D]``, mean response under an action minus that under no action; 0 where
            one is missing.
        both: ``[S, A]`` bool, neither is.
        mean_effect: ``[A, D]``, over these scenarios; NaN where there is none.
        unit: ``[D]``, standard deviation within an action and scenario, but at least 1/20 of that
            within a scenario.
    """

    values: Tensor
    effect: Tensor
    both: Tensor
    mean_effect: Tensor
    unit: Tensor


def by_scenario(
    member: Tensor, preds: Tensor, target: Tensor, groups: Tensor, noop: int
) -> tuple[Tensor, Responses, Responses]:
    """Lay out steps ``[B, T, ...]`` as ``[S, N, ...]``, N = most rows of a scenario times T.

    Args:
        member: ``[B, T, A]`` bool, the action of each step; none for a step that does not count.
        preds: ``[B, T, D]``, generated.
        target: ``[B, T, D]``, reference.
        groups: ``[B]`` int64.
        noop: the action that does nothing.

    Returns:
        ``member`` as ``[S, N, A]``, and the responses of both videos.
    """
    _, scenario, rows = torch.unique(groups, return_inverse=True, return_counts=True)
    order = scenario.argsort(stable=True)
    most = int(rows.max()) if len(rows) else 0
    begin = rows.cumsum(0) - rows
    place = begin[:, None] + torch.arange(most, device=groups.device)  # [S, R]
    there = torch.arange(most, device=groups.device) < rows[:, None]
    row = order[place.clamp(max=max(0, len(order) - 1))]

    def lay_out(steps: Tensor) -> Tensor:
        return steps[row].flatten(1, 2)

    member = lay_out(member) & there.repeat_interleave(member.shape[1], 1)[..., None]
    return (
        member,
        _responses(lay_out(preds.double()), member, noop),
        _responses(lay_out(target.double()), member, noop),
    )


def _responses(values: Tensor, member: Tensor, noop: int) -> Responses:
    kept = member.any(-1, keepdim=True)
    values = values.where(kept, 0.0)
    steps = kept.sum().clamp(min=1)
    rounding = _ROUNDING * values.abs().amax((0, 1)) if values.numel() else values.sum((0, 1))
    values = (values - values.sum((0, 1)) / steps).where(kept, 0.0)
    weight = member.double()
    count = weight.sum(1)  # [S, A]
    mean = (weight.mT @ values) / count.clamp(min=1)[..., None]
    shown = count > 0
    both = shown & shown[:, noop, None]

    def rounded(difference: Tensor) -> Tensor:
        return difference.masked_fill(difference.abs() <= rounding, 0.0)

    effect = rounded((mean - mean[:, noop, None]).where(both[..., None], 0.0))

    def deviation(around: Tensor, means: Tensor) -> Tensor:
        square = (values - around).where(kept, 0.0).square().sum((0, 1))
        found = (square / (steps - means.sum()).clamp(min=1)).sqrt()
        return found.where(found > rounding, 0.0)

    whole = values.sum(1, keepdim=True) / kept.sum(1, keepdim=True).clamp(min=1)
    return Responses(
        values=values,
        effect=effect,
        both=both,
        mean_effect=rounded(effect.sum(0) / both.sum(0)[:, None]),  # NaN for 0 / 0
        unit=torch.maximum(
            deviation(weight @ mean, shown), _SMALLEST_SHARE * deviation(whole, kept.any(1))
        ),
    )
