"""The shape of a drift over all scenarios, with what they let one say about others."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.functional._check import check_count, check_curve, check_mask
from wmscore.functional.onset import drift_onset
from wmscore.functional.shape import drift_shape
from wmscore.stats import MeanInterval, mean_interval, resample_counts

__all__ = ["PooledOnset", "PooledShape", "pooled_shape"]

_SWEEPS = 50  # of the fit of levels and steps, where something is missing


class PooledOnset(NamedTuple):
    """At which step the pooled curves set in to drift, each ``[...]`` and float64.

    Attributes:
        step: the first raised step of the pooled curve, 1-based; NaN where there is no drift.
        low: lower end of its percentile interval over scenarios drawn with replacement; NaN where
            there is no drift in any draw, or fewer than two scenarios.
        high: its upper end.
        change: how much worse the new level is than the old one, in units of the curve.
        share: of the draws in which there is a drift at all: near 1 where the scenarios agree.
        reason: uint8, a `Reason` for `step`: NO_DRIFT, TOO_FEW_STEPS or NON_FINITE.
    """

    step: Tensor
    low: Tensor
    high: Tensor
    change: Tensor
    share: Tensor
    reason: Tensor


class PooledShape(NamedTuple):
    """What `pooled_shape` returns, over scenarios of ``[S, K, ..., T]`` curves.

    Attributes:
        curve: ``[..., T]``, mean over scenarios at each step, with Student's interval.
        pooled: ``[..., T]`` float64, the curve whose onset is told: the mean over scenarios, freed
            from which scenarios have the step.
        onset: where the pooled curve leaves its level.
        slope: ``[...]``, mean over scenarios of the slope of their mean curve, with Student's
            interval; likewise all others. Positive where the curve gets worse.
        worst_segment: how much worse the worst eighth is than the first one.
        end: how much worse the last eighth is than the first one.
        early: mean in the first quarter of the steps.
        late: mean in the last quarter.
        area: beyond the threshold.
    """

    curve: MeanInterval
    pooled: Tensor
    onset: PooledOnset
    slope: MeanInterval
    worst_segment: MeanInterval
    end: MeanInterval
    early: MeanInterval
    late: MeanInterval
    area: MeanInterval


def pooled_shape(
    values: Tensor,
    *,
    higher_is_better: bool = False,
    threshold: float | Tensor | None = None,
    valid: Tensor | None = None,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> PooledShape:
    r"""Shape of the drift of a panel: seeds are averaged, scenarios are the unit.

    Slope, levels and area are told scenario by scenario (`drift_shape` of the mean curve over its
    seeds) and averaged, with Student's interval. The onset is that of the pooled curve, in which
    noise is least, and its interval is the percentile one over panels of scenarios drawn with
    replacement. It is honest about how much scenarios differ, and too narrow for a handful of them.

    A scenario that lacks steps would bend the plain mean where it leaves. The pooled curve is
    therefore the :math:`m_t` of the least squares fit :math:`x_{st} = a_s + m_t`,
    :math:`\sum_s a_s = 0`, which is the mean where nothing is missing.

    Args:
        values: ``[S, K, ..., T]``, floating point, steps 1..T; NaN where undefined.
        higher_is_better: whether the values are similarities or scores.
        threshold: on whose wrong side the area is, a number, or a tensor that broadcasts to
            ``[...]``.
        valid: bool, broadcasts to the values; other steps do not count. ``None`` means all.
        level: of confidence of all intervals.
        draws: of scenarios with replacement.
        seed: of the draws.

    Returns:
        A `PooledShape`.

    Raises:
        ValueError: no dims S, K and T, or an option out of range.
        TypeError: not tensors, or of the wrong dtype.

    Source:
        Bootstrap of a change point: Hušková and Kirch, Bootstrapping confidence intervals for the
        change-point of time series, J. Time Series Analysis 29 (2008); scenarios are drawn here
        instead of errors.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> score = torch.cat([torch.ones(10), torch.full((10,), 0.5)])
        >>> noise = 0.1 * torch.randn(8, 2, 20, generator=generator)
        >>> found = pooled_shape(score + noise, higher_is_better=True)
        >>> found.onset.step.item(), found.onset.low.item(), found.onset.high.item()
        (11.0, 11.0, 11.0)
    """
    check_curve("values", values)
    if values.ndim < 3:
        raise ValueError(f"values must have shape [S, K, ..., T], got {tuple(values.shape)}")
    check_count("draws", draws)
    defined = ~values.isnan()
    if valid is not None:
        check_mask("valid", valid, tuple(values.shape), values.device, like="the values")
        defined = defined & valid
    seeds = values.double().masked_fill(~defined, torch.nan)
    scenarios = seeds.nanmean(1)  # [S, ..., T]
    shapes = drift_shape(scenarios, higher_is_better=higher_is_better, threshold=threshold)
    found = {name: mean_interval(part, level) for name, part in shapes._asdict().items()}
    inner = scenarios.shape[1:-1]
    columns = scenarios.flatten(1, -2) if inner else scenarios[:, None]  # [S, M, T]
    pooled, parts = [], []
    for column in columns.unbind(1):
        curve, onset = _onset(column, higher_is_better, level, draws, seed)
        pooled.append(curve)
        parts.append(onset)
    onsets = PooledOnset(*(torch.stack(p).reshape(inner) for p in zip(*parts, strict=True)))
    return PooledShape(
        curve=mean_interval(scenarios, level),
        pooled=torch.stack(pooled).reshape(scenarios.shape[1:]),
        onset=onsets,
        slope=found["slope"],
        worst_segment=found["worst_segment"],
        end=found["end"],
        early=found["early"],
        late=found["late"],
        area=found["area"],
    )


def _onset(
    curves: Tensor, higher_is_better: bool, level: float, draws: int, seed: int
) -> tuple[Tensor, PooledOnset]:
    """Of curves `[S, T]`, one per scenario: the pooled one, and its onset."""
    there = curves.isfinite()
    own = curves.new_ones(1, len(curves))
    curve = _pooled(curves, there, own)
    found = drift_onset(curve, higher_is_better=higher_is_better)
    steps = [
        drift_onset(_pooled(curves, there, counts), higher_is_better=higher_is_better).step
        for counts in resample_counts(len(curves), draws, seed=seed, device=curves.device)
    ]
    drawn = torch.cat(steps)
    share = drawn.isfinite().double().mean()
    ordered = drawn.sort().values  # NaN last
    number = drawn.isfinite().sum()
    ends = [
        ordered[
            ((number - 1) * tail).floor().long() if low else ((number - 1) * tail).ceil().long()
        ]
        for low, tail in ((True, (1 - level) / 2), (False, (1 + level) / 2))
    ]
    few = there.any(1).sum() < 2
    low, high = (end.masked_fill(few | (number == 0), torch.nan) for end in ends)
    onset = PooledOnset(
        step=found.step[0],
        low=low,
        high=high,
        change=found.change[0],
        share=share.masked_fill(few, torch.nan),
        reason=found.reason[0],
    )
    return curve[0], onset


def _pooled(curves: Tensor, there: Tensor, weights: Tensor) -> Tensor:
    """Step effects `[r, T]` of curves `[S, T]` with weights `[r, S]` of the scenarios.

    Alternating least squares: steps given the levels of the scenarios, levels given the steps.
    """
    known, mask = torch.where(there, curves, 0.0), there.double()
    sums, number = weights @ known, weights @ mask
    own = mask.sum(1)  # [S]
    total = (weights * (own > 0)).sum(1, keepdim=True)
    level = torch.zeros_like(weights)
    steps = sums / number
    for _ in range(0 if bool(there.all()) else _SWEEPS):
        drawn = torch.where(number > 0, steps, 0.0)
        here = (number > 0).double()  # [r, T]: steps that the draw has at all
        overlap = here @ mask.T  # [r, S]
        level = torch.where(overlap > 0, (here @ known.T - drawn @ mask.T) / overlap, 0.0)
        level = level - (weights * level).sum(1, keepdim=True) / total
        level = torch.where(own > 0, level, 0.0)
        steps = (sums - (weights * level) @ mask) / number
    return steps  # 0 / 0 is NaN
