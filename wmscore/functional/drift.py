"""What a per-step curve says about drift: how fast it rises, and in which part it is worst."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.functional._check import check_count
from wmscore.functional._curves import curve_reason, defined_steps, median, median_slope
from wmscore.functional.reasons import Reason

__all__ = [
    "DRIFT_SEGMENTS",
    "DriftSlope",
    "EndDrift",
    "SegmentDrift",
    "drift_slope",
    "end_drift",
    "segment_drift",
]

DRIFT_SEGMENTS = 8
"""Parts into which a rollout is cut by default."""


class DriftSlope(NamedTuple):
    """What `drift_slope` returns, each ``[...]``.

    Attributes:
        slope: float64, change of the curve per step.
        intercept: float64, the line's value at step 0.
        reason: uint8, a `Reason`: TOO_FEW_STEPS, or NON_FINITE where a value is infinite.
    """

    slope: Tensor
    intercept: Tensor
    reason: Tensor


class SegmentDrift(NamedTuple):
    """What `segment_drift` returns.

    Attributes:
        drift: ``[...]`` float64, how much worse the worst later segment is than the first, in
            units of the curve; negative where all later ones are better.
        worst: ``[...]`` int64, that segment, 1..G - 1 (the first is 0); -1 where undefined.
        means: ``[..., G]`` float64, the curve's mean in each segment, NaN without a defined step.
        reason: ``[...]`` uint8, a `Reason` for `drift`: TOO_FEW_STEPS, or NON_FINITE where a value
            is infinite.
    """

    drift: Tensor
    worst: Tensor
    means: Tensor
    reason: Tensor


class EndDrift(NamedTuple):
    """What `end_drift` returns, each ``[...]``.

    Attributes:
        drift: float64, how much worse the last segment is than the first, in units of the curve.
        reason: uint8, a `Reason`: TOO_FEW_STEPS, or NON_FINITE where a value is infinite.
    """

    drift: Tensor
    reason: Tensor


def drift_slope(values: Tensor, *, valid: Tensor | None = None) -> DriftSlope:
    r"""Line through each curve that up to 29 % of wild steps cannot turn.

    .. math:: b = \operatorname{median}_{s < t} \frac{D_t - D_s}{t - s}, \quad
        a = \operatorname{median}_t D_t - b \operatorname{median}_t t

    over the defined steps, with the mean of the two middle values where their number is even. The
    same as ``scipy.stats.theilslopes(D, t)`` on the defined steps.

    Sorts T (T - 1) / 2 slopes a curve, some curves at a time.

    Args:
        values: curves ``[..., T]``, floating point, steps 1..T; NaN where undefined. A positive
            slope means that the values grow: worse for distances, better for similarities.
        valid: bool, broadcasts to ``[..., T]``; other steps do not count. ``None`` means all.

    Returns:
        `DriftSlope` of ``[...]`` tensors; NaN below two defined steps.

    Raises:
        ValueError: no step, or a mask of another shape.
        TypeError: not tensors, or of the wrong dtype.

    Source:
        Sen, "Estimates of the regression coefficient based on Kendall's tau", JASA 1968.

    Example:
        >>> slope, intercept, reason = drift_slope(torch.tensor([0.5, 0.75, 9.0, 1.25, 1.5]))
        >>> slope.item(), intercept.item()
        (0.25, 0.5)
    """
    values, defined = defined_steps("values", values, valid)
    steps = values.shape[-1]
    reason = curve_reason(values, defined, defined.sum(-1) >= 2)
    step = torch.arange(1, steps + 1, dtype=torch.float64, device=values.device)
    slope = median_slope(values, defined, step)
    middle_value, middle_step = (
        median(x.masked_fill(~defined, torch.nan)) for x in (values, step.expand_as(values))
    )
    intercept = middle_value - slope * middle_step
    undefined = reason != Reason.DEFINED
    return DriftSlope(
        slope.masked_fill(undefined, torch.nan), intercept.masked_fill(undefined, torch.nan), reason
    )


def segment_drift(
    values: Tensor,
    segments: int = DRIFT_SEGMENTS,
    *,
    higher_is_better: bool = False,
    valid: Tensor | None = None,
) -> SegmentDrift:
    r"""How much worse the worst part of a rollout is than its beginning.

    .. math:: \max_{g \ge 1} \bar D_g - \bar D_0

    with the mean :math:`\bar D_g` of the defined steps of segment g. The T steps are cut into G
    segments whose lengths differ by one at most: segment g has the steps
    :math:`\lfloor gT/G \rfloor + 1 \ldots \lfloor (g+1)T/G \rfloor`. A collapse in the middle that
    a comparison of the end with the start misses (`end_drift`) is seen, and weighs the same
    wherever it is.

    A segment without a defined step is left out. The maximum of several noisy means is above their
    mean: a flat curve of T = 64 steps with independent noise of standard deviation s has a segment
    drift of 0.48 s on average, so compare with the same number of a baseline or a ceiling.

    Args:
        values: curves ``[..., T]``, floating point; NaN where undefined.
        segments: G, 2 or more.
        higher_is_better: whether the values are similarities, which fall as a rollout gets worse.
        valid: bool, broadcasts to ``[..., T]``; other steps do not count. ``None`` means all.

    Returns:
        `SegmentDrift`; undefined for the reason TOO_FEW_STEPS where the first segment or all later
        ones have no defined step, and for all curves where T is less than G.

    Raises:
        ValueError: no step, fewer than 2 segments, or a mask of another shape.
        TypeError: not tensors, or of the wrong dtype.

    Source:
        The idea is that of WorldRoamBench (arXiv:2606.31672); this formula is ours.

    Example:
        >>> found = segment_drift(torch.tensor([0.1, 0.1, 0.7, 0.9, 0.1, 0.1]), segments=3)
        >>> round(found.drift.item(), 3), found.worst.item()
        (0.7, 1)
    """
    means, values, defined = _segment_means(values, segments, valid)
    worse = -means if higher_is_better else means
    rise = worse[..., 1:] - worse[..., :1]
    drift, place = rise.masked_fill(rise.isnan(), -torch.inf).max(-1)
    reason = curve_reason(values, defined, ~rise.isnan().all(-1))
    undefined = reason != Reason.DEFINED
    return SegmentDrift(
        drift.masked_fill(undefined, torch.nan),
        (place + 1).masked_fill(undefined, -1),
        means,
        reason,
    )


def end_drift(
    values: Tensor,
    segments: int = DRIFT_SEGMENTS,
    *,
    higher_is_better: bool = False,
    valid: Tensor | None = None,
) -> EndDrift:
    r"""How much worse the end of a rollout is than its beginning: :math:`\bar D_{G-1} - \bar D_0`.

    Blind to a collapse from which the rollout recovers: see `segment_drift`, whose arguments these
    are.

    Returns:
        `EndDrift`; undefined for the reason TOO_FEW_STEPS where the first or the last segment has
        no defined step, and for all curves where T is less than G.

    Raises:
        ValueError: as `segment_drift`.
        TypeError: as `segment_drift`.

    Source:
        With image quality as the curve and 5 s as the segment this is the quality drift of Rolling
        Forcing (arXiv:2509.25161).

    Example:
        >>> end_drift(torch.tensor([0.25, 0.25, 0.75, 1.0, 0.25, 0.5]), segments=3).drift.item()
        0.125
    """
    means, values, defined = _segment_means(values, segments, valid)
    drift = means[..., -1] - means[..., 0]
    if higher_is_better:
        drift = -drift
    reason = curve_reason(values, defined, ~drift.isnan())
    return EndDrift(drift.masked_fill(reason != Reason.DEFINED, torch.nan), reason)


def _segment_means(
    values: Tensor, segments: int, valid: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Means `[..., G]`, all NaN where T < G, and what `defined_steps` says."""
    values, defined = defined_steps("values", values, valid)
    check_count("segments", segments)
    if segments < 2:
        raise ValueError(f"segments must be at least 2, got {segments}")
    steps = values.shape[-1]
    if steps < segments:
        nothing = values.new_full((*values.shape[:-1], segments), torch.nan)
        return nothing, values, defined
    cuts = [segment * steps // segments for segment in range(segments + 1)]
    known = values.masked_fill(~defined, 0.0)
    means = [
        known[..., low:high].sum(-1) / defined[..., low:high].sum(-1)  # 0 / 0 is NaN
        for low, high in pairwise(cuts)
    ]
    return torch.stack(means, -1), values, defined
