"""The shape of a drift in a few numbers per rollout."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from wmscore.functional.drift import drift_slope, end_drift, segment_drift
from wmscore.functional.onset import drift_onset

__all__ = ["DriftShape", "drift_shape"]


class DriftShape(NamedTuple):
    """What `drift_shape` returns, each ``[...]`` float64, NaN where undefined.

    Attributes:
        slope: how much worse the curve gets per step (Theil-Sen); see `drift_slope`.
        onset: the step at which it leaves its level; NaN where it does not. See `drift_onset`.
        worst_segment: how much worse the worst eighth is than the first one; see `segment_drift`.
        end: how much worse the last eighth is than the first one. Less than `worst_segment` after a
            collapse that the rollout recovered from; see `end_drift`.
    """

    slope: Tensor
    onset: Tensor
    worst_segment: Tensor
    end: Tensor


def drift_shape(
    values: Tensor, *, higher_is_better: bool = False, valid: Tensor | None = None
) -> DriftShape:
    """Slope, onset, worst part and end of a curve, all positive where it gets worse.

    Args:
        values: curves ``[..., T]``, floating point, steps 1..T; NaN where undefined.
        higher_is_better: whether the values are similarities or scores.
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
    """
    slope = drift_slope(values, valid=valid).slope
    onset = drift_onset(values, higher_is_better=higher_is_better, valid=valid)
    segments = segment_drift(values, higher_is_better=higher_is_better, valid=valid)
    end = end_drift(values, higher_is_better=higher_is_better, valid=valid)
    worse = -slope if higher_is_better else slope
    found = (worse, onset.step, segments.drift, end.drift)
    return DriftShape(*(value + 0.0 for value in found))  # 0, not -0, for a person to read
