"""Intervals from bootstrap draws: percentiles, BCa, bootstrap-t."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.stats._check import (
    check_choice,
    check_number,
    check_scenarios,
    check_values,
    reason_where,
)
from wmscore.stats._sort import sort_last
from wmscore.stats.bootstrap import cluster_bootstrap
from wmscore.stats.intervals import MeanInterval

__all__ = [
    "Interval",
    "bca_interval",
    "bootstrap_interval",
    "bootstrap_t_interval",
    "percentile_interval",
    "quantile_of_draws",
]

_METHODS = ("t", "bca", "percentile")
_TIED = 1e-12  # share of their size by which two draws may differ and still be the same
_PIECE = 1 << 24  # draws times columns that `bootstrap_interval` holds at a time


class Interval(NamedTuple):
    """Two ends, each float64 ``[...]``; both NaN where the draws allow no interval."""

    low: Tensor
    high: Tensor


def percentile_interval(draws: Tensor, level: float = 0.95) -> Interval:
    """Quantiles of the draws.

    With few scenarios it is too narrow: of a mean of S values as if the variance were (S - 1) / S
    of what it is and the quantile normal, so that 95 % become 89 % at S = 8. For means
    `bootstrap_t_interval` and `mean_interval` do better.

    Args:
        draws: ``[R, ...]``, floating point; NaN draws are left out.
        level: of confidence, in (0, 1).

    Returns:
        An `Interval` of ``[...]``, linear between draws as `numpy.quantile`.

    Raises:
        TypeError: not a floating point tensor.
        ValueError: no dim of draws, or a level outside (0, 1).

    Example:
        >>> import torch
        >>> found = percentile_interval(torch.arange(101.0), level=0.9)
        >>> round(found.low.item(), 9), round(found.high.item(), 9)
        (5.0, 95.0)
    """
    _check_draws(draws)
    tail = _tail(level)
    low = torch.full(draws.shape[1:], tail, dtype=torch.float64, device=draws.device)
    return Interval(*quantile_of_draws(draws, torch.stack([low, 1 - low])))


def bca_interval(
    draws: Tensor, estimate: Tensor, left_out: Tensor, level: float = 0.95
) -> Interval:
    r"""Percentiles corrected for bias and for a spread that changes with the estimate (BCa).

    With the normal quantile :math:`z_0` of the share of draws below the estimate (half of those
    that equal it) and the acceleration a from the estimates without one scenario,

    .. math:: \alpha' = \Phi\Bigl(z_0 + \frac{z_0 + z_\alpha}{1 - a (z_0 + z_\alpha)}\Bigr), \qquad
        a = \frac{\sum_i u_i^3}{6 \bigl(\sum_i u_i^2\bigr)^{3/2}}, \quad
        u_i = \bar\theta_{(\cdot)} - \theta_{(i)}

    Args:
        draws: ``[R, ...]``, floating point; NaN draws are left out.
        estimate: ``[...]``, what all scenarios give.
        left_out: ``[S, ...]``, the estimate without each scenario; NaN where it has no value.
        level: of confidence, in (0, 1).

    Returns:
        An `Interval` of ``[...]``; NaN where all draws are on one side of the estimate, or where
        fewer than two scenarios have a value.

    Raises:
        TypeError: not floating point tensors.
        ValueError: shapes that do not fit, or a level outside (0, 1).

    Source:
        Efron, Better Bootstrap Confidence Intervals, JASA 82 (1987); Efron and Tibshirani (1993),
        section 14.3; equal to `scipy.stats.bootstrap` for the same draws.

    Example:
        >>> import torch
        >>> from wmscore.stats import cluster_bootstrap
        >>> values = torch.tensor([0.1, 0.2, 0.2, 0.4, 0.5, 0.9, 1.5, 2.8])
        >>> found = cluster_bootstrap(values)
        >>> plain = percentile_interval(found.draws)
        >>> ends = bca_interval(found.draws, found.mean, found.left_out)
        >>> (ends.low > plain.low).item(), (ends.high > plain.high).item()  # skewed to the right
        (True, True)
    """
    _check_draws(draws)
    for name, value, shape in (
        ("estimate", estimate, draws.shape[1:]),
        ("left_out", left_out, (left_out.shape[:1] if left_out.ndim else ()) + draws.shape[1:]),
    ):
        check_values(name, value)
        if value.shape != shape:
            raise ValueError(f"{name} must have shape {tuple(shape)}, got {tuple(value.shape)}")
    tail = _tail(level)
    draws, estimate = draws.to(torch.float64), estimate.to(torch.float64)
    left_out = left_out.to(torch.float64)
    drawn = ~draws.isnan()
    apart = draws - estimate
    tied = apart.abs() <= _TIED * torch.maximum(draws.abs(), estimate.abs())
    below = 2 * ((apart < 0) & ~tied).sum(0) + tied.sum(0)
    bias = torch.special.ndtri(below.to(torch.float64) / (2 * drawn.sum(0)))
    known = left_out.isfinite()
    enough = known.sum(0) >= 2
    centre = torch.where(known, left_out, 0.0).sum(0) / known.sum(0)
    moved = torch.where(known, centre - left_out, 0.0)
    cubes, squares = moved.pow(3).sum(0), moved.square().sum(0)
    acceleration = torch.where(squares > 0, cubes / (6 * squares.pow(1.5)), 0.0)
    normal = torch.special.ndtri(torch.tensor(tail, dtype=torch.float64)).item()
    ends = []
    for z in (normal, -normal):
        shifted = bias + z
        share = torch.special.ndtr(bias + shifted / (1 - acceleration * shifted))
        ends.append(torch.where(enough, share, torch.nan))
    return Interval(*quantile_of_draws(draws, torch.stack(ends)))


def bootstrap_t_interval(
    draws: Tensor, errors: Tensor, estimate: Tensor, error: Tensor, level: float = 0.95
) -> Interval:
    r"""Interval by quantiles of the studentised draws (bootstrap-t).

    .. math:: \hat\theta - t_{1 - \alpha} \hat\sigma, \; \hat\theta - t_{\alpha} \hat\sigma, \qquad
        t_r = (\theta_r - \hat\theta) / \sigma_r

    Draws of one scenario only have no spread: their t is infinite. Where there are so many of them
    that an end would be infinite, as with fewer than five scenarios, there is no interval.

    Args:
        draws: ``[R, ...]``, floating point; draws whose own error is NaN are left out.
        errors: ``[R, ...]``, the standard error that each draw shows.
        estimate: ``[...]``.
        error: ``[...]``, standard error of the estimate.
        level: of confidence, in (0, 1).

    Returns:
        An `Interval` of ``[...]``.

    Raises:
        TypeError: not floating point tensors.
        ValueError: shapes that do not fit, or a level outside (0, 1).

    Source:
        Efron and Tibshirani (1993), section 12.5.

    Example:
        >>> import torch
        >>> from wmscore.stats import cluster_bootstrap
        >>> found = cluster_bootstrap(torch.tensor([1.2, 0.4, -0.3, 0.9, 0.6, 0.1, 0.8, -0.2]))
        >>> ends = bootstrap_t_interval(found.draws, found.errors, found.mean, found.error)
        >>> round(ends.low.item(), 1), round(ends.high.item(), 1)
        (-0.1, 0.9)
    """
    _check_draws(draws)
    for name, value, shape in (
        ("errors", errors, draws.shape),
        ("estimate", estimate, draws.shape[1:]),
        ("error", error, draws.shape[1:]),
    ):
        check_values(name, value)
        if value.shape != shape:
            raise ValueError(f"{name} must have shape {tuple(shape)}, got {tuple(value.shape)}")
    tail = _tail(level)
    estimate, error = estimate.to(torch.float64), error.to(torch.float64)
    apart = draws.to(torch.float64) - estimate
    studentised = torch.where(apart == 0, apart, apart / errors.to(torch.float64))
    studentised = torch.where(errors.isnan(), torch.nan, studentised)
    shares = torch.full(draws.shape[1:], tail, dtype=torch.float64, device=draws.device)
    lower, upper = quantile_of_draws(studentised, torch.stack([shares, 1 - shares]))
    low, high = estimate - upper * error, estimate - lower * error
    finite = low.isfinite() & high.isfinite()
    return Interval(*(torch.where(finite, end, torch.nan) for end in (low, high)))


def bootstrap_interval(
    values: Tensor,
    level: float = 0.95,
    *,
    method: str = "t",
    draws: int = 10_000,
    seed: int = 0,
) -> MeanInterval:
    """Mean over scenarios with a bootstrap interval, scenarios being what is drawn.

    Args:
        values: ``[S, ...]``, floating point, one value per scenario. NaN and infinite values are
            missing: dropped in their column, and counted.
        level: of confidence, in (0, 1).
        method: "t" (`bootstrap_t_interval`), "bca" (`bca_interval`) or "percentile"
            (`percentile_interval`).
        draws: R.
        seed: of the draws, which are the same for all columns.

    Returns:
        A `MeanInterval` of ``[...]`` tensors; TOO_FEW_SAMPLES where the draws allow no interval.

    Raises:
        TypeError: values are not a floating point tensor, or draws not an int.
        ValueError: no scenario, a level outside (0, 1) or another method.

    Example:
        >>> import torch
        >>> values = torch.tensor([1.2, 0.4, -0.3, 0.9, 0.6, 0.1, 0.8, -0.2])
        >>> found = bootstrap_interval(values, method="percentile")
        >>> round(found.low.item(), 1), round(found.high.item(), 1)
        (0.1, 0.8)
    """
    check_number("level", level, 0.0, 1.0)
    check_choice("method", method, _METHODS)
    check_scenarios("values", values)
    shape = values.shape[1:]
    width = max(1, _PIECE // max(1, draws if isinstance(draws, int) else 1))
    columns = values.reshape(len(values), shape.numel())
    parts = []
    for part in torch.split(columns, width, dim=1):
        found = cluster_bootstrap(part, draws=draws, seed=seed)
        if method == "t":
            ends = bootstrap_t_interval(found.draws, found.errors, found.mean, found.error, level)
        elif method == "bca":
            ends = bca_interval(found.draws, found.mean, found.left_out, level)
        else:
            ends = percentile_interval(found.draws, level)
        few = (found.scenarios < 2) | ends.low.isnan() | ends.high.isnan()
        low, high = (torch.where(few, torch.nan, end) for end in ends)
        parts.append(MeanInterval(found.mean, low, high, found.scenarios, reason_where(few)))
    return MeanInterval(*(torch.cat(piece).reshape(shape) for piece in zip(*parts, strict=True)))


def quantile_of_draws(draws: Tensor, shares: Tensor) -> Tensor:
    """Quantiles over dim 0, as `numpy.quantile`, with shares of its own for each column.

    Args:
        draws: ``[R, ...]``, floating point; NaN draws are left out, infinite ones are not.
        shares: ``[Q, ...]``, floating point, in [0, 1]; NaN gives NaN.

    Returns:
        Float64 ``[Q, ...]``.

    Raises:
        TypeError: not floating point tensors.
        ValueError: no dim of draws, or shapes that do not fit.

    Example:
        >>> import torch
        >>> draws = torch.tensor([[0.0, 0.0], [1.0, 10.0], [2.0, 20.0]])
        >>> quantile_of_draws(draws, torch.tensor([[0.5, 0.75]])).tolist()
        [[1.0, 15.0]]
    """
    _check_draws(draws)
    check_values("shares", shares)
    if shares.ndim != draws.ndim or shares.shape[1:] != draws.shape[1:]:
        raise ValueError(
            f"shares must have shape [Q, ...] with ... = {tuple(draws.shape[1:])}, "
            f"got {tuple(shares.shape)}"
        )
    ordered = sort_last(draws.to(torch.float64).movedim(0, -1).contiguous())
    shares = shares.to(torch.float64).movedim(0, -1)
    last = (~ordered.isnan()).sum(-1, keepdim=True) - 1
    place = shares.clamp(0, 1).nan_to_num() * last.clamp(min=0)
    floor = place.floor()
    before = ordered.gather(-1, floor.to(torch.int64))
    after = ordered.gather(-1, place.ceil().to(torch.int64))
    between = torch.where(before == after, before, before + (place - floor) * (after - before))
    between = torch.where(before == -math.inf, before, between)
    return torch.where((last < 0) | shares.isnan(), torch.nan, between).movedim(-1, 0)


def _check_draws(draws: Tensor) -> None:
    check_values("draws", draws)
    if draws.ndim < 1 or draws.shape[0] == 0:
        raise ValueError(f"draws must have shape [R, ...], got {tuple(draws.shape)}")


def _tail(level: float) -> float:
    check_number("level", level, 0.0, 1.0)
    return (1 - level) / 2
