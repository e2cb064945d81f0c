"""A distance between its anchors: what a frozen picture and what the true world itself score."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.functional._check import check_along, check_curve, check_mask, check_per_curve
from wmscore.functional.reasons import Reason

__all__ = ["Skill", "skill"]


class Skill(NamedTuple):
    """What `skill` returns, each ``[..., T]``.

    Attributes:
        skill: float64, 1 = as close to the reference as the ceiling, 0 = as the floor; negative
            where the floor is better, above 1 where the model beats the ceiling.
        score: float64 in [0, 1], the skill with what is outside cut off.
        headroom: float64, how much better the ceiling is than the floor, in units of the distance.
        reason: uint8, a `Reason` for skill and score: NO_FRAME, NON_FINITE where one of the three
            is NaN or infinite, or NO_HEADROOM.
    """

    skill: Tensor
    score: Tensor
    headroom: Tensor
    reason: Tensor


def skill(
    distance: Tensor,
    floor: Tensor,
    ceiling: Tensor,
    min_headroom: float | Tensor,
    *,
    higher_is_better: bool = False,
    valid: Tensor | None = None,
) -> Skill:
    r"""How much of what can be gained over a frozen picture a model gains, per step.

    .. math:: s_t = \frac{D^{floor}_t - D_t}{D^{floor}_t - D^{ceiling}_t}

    A raw distance says little: it depends on the scene, its texture and its motion. The floor is
    that of the last given frame shown for ever (persistence), the ceiling that of the true world
    run once more with its chance drawn anew. Both belong to the same panel row and step, and the
    skill means the same for all measures and scenes. Where the world stands still the floor is as
    good as the ceiling, and a quotient of two nothings would be noise: that is NO_HEADROOM, not 0.

    Args:
        distance: of the model to the reference, curves ``[..., T]``, floating point.
        floor: of the frozen baseline, broadcasts to ``[..., T]``.
        ceiling: of the oracle, broadcasts to ``[..., T]``; 0 in a world without chance.
        min_headroom: least floor - ceiling for which the skill is defined, in units of the
            distance; a number or a tensor that broadcasts to ``[..., T]``: the difference that is
            worth telling, 0.01 to 0.05 of a measure in [0, 1].
        higher_is_better: whether all three are similarities.
        valid: bool, broadcasts to ``[..., T]``; other steps are undefined. ``None`` means all.

    Returns:
        `Skill` of ``[..., T]`` tensors. A headroom of 0 or less is never enough.

    Raises:
        ValueError: no step, or a shape that does not broadcast.
        TypeError: not tensors, or of the wrong dtype.

    Source:
        Skill scores of weather forecasts: Murphy, "Skill scores based on the mean square error",
        Monthly Weather Review 1988.

    Example:
        >>> distance, floor, ceiling = torch.tensor([[0.25, 0.5, 0.75], [0.5] * 3, [0.0] * 3])
        >>> found = skill(distance, floor, ceiling, min_headroom=0.1)
        >>> found.skill.tolist(), found.score.tolist()
        ([0.5, 0.0, -0.5], [0.5, 0.0, 0.0])
    """
    check_curve("distance", distance)
    shape = tuple(distance.shape)
    check_along("floor", floor, distance)
    check_along("ceiling", ceiling, distance)
    check_per_curve("min_headroom", min_headroom, shape)
    mine, floor, ceiling = (x.double().expand(shape) for x in (distance, floor, ceiling))
    gain, headroom = floor - mine, floor - ceiling
    if higher_is_better:
        gain, headroom = -gain, -headroom
    reason = torch.zeros(shape, dtype=torch.uint8, device=distance.device)
    reason = reason.masked_fill(~(headroom >= min_headroom) | (headroom <= 0), Reason.NO_HEADROOM)
    finite = mine.isfinite() & floor.isfinite() & ceiling.isfinite()
    reason = reason.masked_fill(~finite, Reason.NON_FINITE)
    if valid is not None:
        check_mask("valid", valid, shape, distance.device, like="distance")
        reason = reason.masked_fill(~valid, Reason.NO_FRAME)
    value = (gain / headroom).masked_fill(reason != Reason.DEFINED, torch.nan)
    return Skill(value, value.clamp(0, 1), headroom, reason)
