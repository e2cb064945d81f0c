"""Thresholds between what a baseline reaches and what a perfect model would."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.functional._check import check_number, check_tensor
from wmscore.functional.reasons import Reason

__all__ = ["RelativeThreshold", "relative_threshold"]


class RelativeThreshold(NamedTuple):
    """What `relative_threshold` returns, each of the shape that floor and ceiling broadcast to.

    Attributes:
        threshold: in the unit of the scores; NaN where undefined.
        reason: uint8, `Reason` of a NaN, 0 where defined.
    """

    threshold: Tensor
    reason: Tensor


def relative_threshold(
    floor: Tensor, ceiling: Tensor, share: float | Tensor = 0.5
) -> RelativeThreshold:
    r"""A threshold that asks for a share of what there is to gain.

    .. math:: \tau = \text{floor} + \text{share} \cdot (\text{ceiling} - \text{floor})

    Args:
        floor: score of a baseline, such as a frozen frame: of each axis ``[A]``, each scenario
            ``[A, S]`` or each step ``[A, S, T]``; floating point.
        ceiling: score of an oracle, such as the simulator with another seed; broadcasts with
            ``floor``.
        share: 0 = as good as the baseline is enough, 1 = as good as the oracle; a number in 0..1,
            or a tensor that broadcasts with both.

    Returns:
        A `RelativeThreshold`, in the same unit as the scores. Where the ceiling is not above the
        floor there is nothing to gain: NaN with ``NO_HEADROOM``; where one of them is NaN, NaN with
        ``MISSING``. `usable_horizon` takes an axis for undefined where its threshold is NaN.

    Raises:
        TypeError: not tensors of floating point.
        ValueError: a number outside 0..1, or shapes that do not broadcast.

    Source:
        Skill against a reference forecast; Murphy, Monthly Weather Review 116, 1988.

    Example:
        >>> import torch
        >>> found = relative_threshold(torch.tensor([0.2, 0.9]), torch.tensor([1.0, 0.9]), 0.25)
        >>> found.threshold.tolist(), found.reason.tolist()
        ([0.4000000059604645, nan], [0, 19])
    """
    given = {"floor": floor, "ceiling": ceiling}
    if isinstance(share, Tensor):
        given["share"] = share
    else:
        check_number("share", share, low=0.0, high=1.0)
    for name, value in given.items():
        check_tensor(name, value)
        if not value.is_floating_point():
            raise TypeError(f"{name} must be floating point, got {value.dtype}")
    try:
        torch.broadcast_shapes(*(value.shape for value in given.values()))  # type: ignore[no-untyped-call]
    except RuntimeError:
        shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in given.items())
        raise ValueError(f"shapes must broadcast, got {shapes}") from None
    threshold = floor + share * (ceiling - floor)
    reason = torch.zeros_like(threshold, dtype=torch.uint8)
    reason = reason.masked_fill(~(ceiling > floor), int(Reason.NO_HEADROOM))
    reason = reason.masked_fill(
        threshold.isnan() | floor.isnan() | ceiling.isnan(), int(Reason.MISSING)
    )
    return RelativeThreshold(threshold.masked_fill(reason != 0, torch.nan), reason)
