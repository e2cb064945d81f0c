"""The shape of a drift in a few numbers per rollout."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.functional._check import check_per_curve
from wmscore.functional._curves import defined_steps
from wmscore.functional.drift import drift_slope, end_drift, segment_drift
from wmscore.functional.onset import drift_onset

__all__ = ["DriftShape", "area_beyond", "drift_shape"]

_QUARTERS = 4


class DriftShape(NamedTuple):
    """What `drift_shape` returns, each ``[...]`` float64, NaN where undefined.

    Attributes:
        slope: how much worse the curve gets per step (Theil-Sen); see `drift_slope`.
        onset: the step at which it leaves its level; NaN where it does not. See `drift_onset`.
        worst_segment: how much worse the worst eighth is than the first one; see `segment_drift`.
        end: how much worse the last eighth is than the first one. Less than `worst_segment` after a
            collapse that the rollout recovered from; see `end_drift`.
        early: the curve's mean in the first quarter of its steps, whichever direction is better.
        late: its mean in the last quarter.
        area: how far and how long it is on the wrong side of the threshold, in units of the curve
            times steps; NaN without a threshold. See `area_beyond`.
    """

    slope: Tensor
    onset: Tensor
    worst_segment: Tensor
    end: Tensor
    early: Tensor
    late: Tensor
    area: Tensor


def drift_shape(
    values: Tensor,
    *,
    higher_is_better: bool = False,
    threshold: float | Tensor | None = None,
    valid: Tensor | None = None,
) -> DriftShape:
    """Slope, onset, worst part and end of a curve, all positive where it gets worse; its level.

    Args:
        values: curves ``[..., T]``, floating point, steps 1..T; NaN where undefined.
        higher_is_better: whether the values are similarities or scores.
        threshold: on whose wrong side the area is, a number, or a tensor that broadcasts to
            ``[...]``.
        valid: bool, broadcasts to ``[..., T]``; other steps do not count. ``None`` means all.

    Returns:
        A `DriftShape` of ``[...]`` tensors.

    Raises:
        ValueError: no step, or a mask of another shape.
        TypeError: not tensors, or of the wrong dtype.

    Example:
        >>> import torch
        >>> score = torch.tensor([[1.0] * 8 + [0.5] * 8, [1.0] * 6 + [0.5] * 4 + [1.0] * 6])
        >>> found = drift_shape(score, higher_is_better=True)
        >>> found.onset.tolist()  # a jump at step 9; a dip is no onset
        [9.0, nan]
        >>> found.worst_segment.tolist(), found.end.tolist()  # but the worst segment sees it
        ([0.5, 0.5], [0.5, 0.0])
        >>> found.early.tolist(), found.late.tolist()
        ([1.0, 1.0], [0.5, 1.0])
    """
    slope = drift_slope(values, valid=valid).slope
    onset = drift_onset(values, higher_is_better=higher_is_better, valid=valid)
    segments = segment_drift(values, higher_is_better=higher_is_better, valid=valid)
    end = end_drift(values, higher_is_better=higher_is_better, valid=valid)
    worse = -slope if higher_is_better else slope
    quarters = segment_drift(values, _QUARTERS, valid=valid).means
    early, late = quarters[..., 0], quarters[..., -1]
    if threshold is None:
        area = torch.full_like(slope, torch.nan)
    else:
        area = area_beyond(values, threshold, higher_is_better=higher_is_better, valid=valid)
    found = (worse, onset.step, segments.drift, end.drift, early, late, area)
    return DriftShape(*(value + 0.0 for value in found))  # 0, not -0, for a person to read


def area_beyond(
    values: Tensor,
    threshold: float | Tensor,
    *,
    higher_is_better: bool = False,
    valid: Tensor | None = None,
) -> Tensor:
    r"""How far and how long a curve is on the wrong side of a threshold.

    .. math:: \sum_t \max(0, D_t - \tau)

    over the defined steps, :math:`\max(0, \tau - D_t)` where higher is better. A deep collapse of a
    few steps weighs as much as a slight one of many, wherever it lies; the usable horizon tells
    when, this tells how much. Undefined steps add nothing.

    Args:
        values: curves ``[..., T]``, floating point, steps 1..T; NaN where undefined.
        threshold: :math:`\tau`, a number, or a tensor that broadcasts to ``[...]``.
        higher_is_better: whether the values are similarities or scores.
        valid: bool, broadcasts to ``[..., T]``; other steps do not count. ``None`` means all.

    Returns:
        ``[...]`` float64, at least 0, in units of the curve times steps; NaN where no step is
        defined, or the threshold is NaN.

    Raises:
        ValueError: no step, or a shape that does not broadcast.
        TypeError: not tensors, or of the wrong dtype.

    Example:
        >>> score = torch.tensor([1.0, 0.25, 0.25, 1.0, 0.5])
        >>> area_beyond(score, 0.75, higher_is_better=True).item()
        1.25
    """
    values, defined = defined_steps("values", values, valid)
    check_per_curve("threshold", threshold, tuple(values.shape[:-1]))
    if not isinstance(threshold, Tensor):
        threshold = values.new_tensor(threshold)
    limit = threshold.to(values).unsqueeze(-1)
    beyond = limit - values if higher_is_better else values - limit
    area = beyond.clamp(min=0).masked_fill(~defined, 0.0).sum(-1)
    undefined = ~defined.any(-1) | limit.squeeze(-1).isnan()
    return area.masked_fill(undefined, torch.nan)
