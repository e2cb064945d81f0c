"""Bands of curves over steps: at each step, and of all steps at once."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.stats._check import check_count, check_number, check_scenarios, reason_where
from wmscore.stats.bootstrap import cluster_bootstrap
from wmscore.stats.bootstrap_intervals import quantile_of_draws
from wmscore.stats.resampling import resample_counts

__all__ = ["CurveBand", "mean_band", "quantile_band"]

_ROUNDING = 1e-24  # share of a squared mean below which a variance is rounding
_PIECE = 1 << 21  # weights of scenarios at steps of draws held at a time


class CurveBand(NamedTuple):
    """What `mean_band` and `quantile_band` return, each ``[T, ...]``.

    Attributes:
        curve: float64, over the scenarios that have a value at the step; NaN where none has.
        low: float64, lower end at each step by itself.
        high: float64, upper end.
        band_low: float64, lower end for all steps at once: the whole true curve lies in the band
            with the given confidence, so that any step may be picked from it.
        band_high: float64, upper end.
        scenarios: int64, those that have a value at the step.
        reason: uint8, TOO_FEW_SAMPLES where the ends are NaN.
    """

    curve: Tensor
    low: Tensor
    high: Tensor
    band_low: Tensor
    band_high: Tensor
    scenarios: Tensor
    reason: Tensor


def mean_band(
    curves: Tensor, level: float = 0.95, *, draws: int = 10_000, seed: int = 0
) -> CurveBand:
    r"""Mean curve over scenarios with studentised bootstrap bands.

    .. math:: \bar v_t \pm c \, \hat\sigma_t, \qquad
        t_{rt} = |\bar v_{rt} - \bar v_t| / \hat\sigma_{rt}

    with c the quantile over draws r of :math:`t_{rt}` at each step, and of
    :math:`\max_t t_{rt}` for all steps at once. Whole curves are drawn, so that their dependence
    over steps is kept: the more alike steps are, the less it costs to look at all of them.

    Args:
        curves: ``[S, T, ...]``, floating point, one curve per scenario: average its seeds first.
            NaN and infinite values are missing.
        level: of confidence, in (0, 1).
        draws: R.
        seed: of the draws.

    Returns:
        A `CurveBand`. There is no band where so many draws are of one scenario that it would be
        infinite, as with fewer than four scenarios at 95 %.

    Raises:
        TypeError: curves are not a floating point tensor, or draws not an int.
        ValueError: no dims S and T, no scenario, no draws, or a level outside (0, 1).

    Source:
        Montiel Olea and Plagborg-Moller, Simultaneous Confidence Bands, J. Appl. Econometrics 34
        (2019), section 4 (sup-t bands), here of studentised draws.

    Example:
        >>> import torch
        >>> curves = torch.randn(20, 16, generator=torch.Generator().manual_seed(0)).cumsum(1)
        >>> found = mean_band(curves, draws=1000)
        >>> (found.band_high >= found.high).all().item()
        True
    """
    flat = _columns(curves, level)
    parts = []
    for column in flat.unbind(2):  # one curve's draws at a time bound the memory
        found = cluster_bootstrap(column, draws=draws, seed=seed)
        # A draw in which a step has no spread of its own, for want of values, says nothing there.
        size = _size(found.draws, found.mean, found.errors)
        ends = _ends(found.mean, size, found.error, level)
        parts.append((found.mean, *ends, found.scenarios))
    return _band(parts, curves)


def quantile_band(
    curves: Tensor,
    quantile: float = 0.5,
    level: float = 0.95,
    *,
    draws: int = 10_000,
    seed: int = 0,
) -> CurveBand:
    r"""Quantile over scenarios at each step, the median by default, with bootstrap bands.

    As `mean_band`, with the standard deviation over the draws in the place of both standard errors,
    as a quantile of one draw does not show its own.

    Args:
        curves: ``[S, T, ...]``, floating point, one curve per scenario. NaN and infinite values are
            missing.
        quantile: in (0, 1), linear between values as `numpy.quantile`.
        level: of confidence, in (0, 1).
        draws: R.
        seed: of the draws, which are those of `mean_band`.

    Returns:
        A `CurveBand`. The draws of a quantile take few values, so that bands are rough: 92 to 96 %
        of whole curves lie in those of 95 % for the median of 15 to 100 scenarios, fewer for far
        quantiles.

    Raises:
        TypeError: curves are not a floating point tensor, or draws not an int.
        ValueError: no dims S and T, no scenario, no draws, or a quantile or level outside (0, 1).

    Source:
        Montiel Olea and Plagborg-Moller (2019), section 4.

    Example:
        >>> import torch
        >>> curves = torch.arange(9.0)[:, None] + torch.zeros(9, 4)
        >>> quantile_band(curves, draws=500).curve.tolist()
        [4.0, 4.0, 4.0, 4.0]
    """
    flat = _columns(curves, level)
    check_number("quantile", quantile, 0.0, 1.0)
    check_count("draws", draws)
    check_count("seed", seed, low=0)
    parts = []
    for column in flat.unbind(2):
        there = column.isfinite()
        number = there.sum(0)
        ordered, order = torch.where(there, column, torch.nan).sort(stable=True, dim=0)
        once = torch.ones(1, len(column), dtype=torch.float64, device=column.device)
        curve = _weighted_quantile(once, ordered, order, quantile)[0]
        drawn = torch.cat(
            [
                _weighted_quantile(counts, ordered, order, quantile)
                for counts in resample_counts(len(column), draws, seed=seed, device=column.device)
            ]
        )
        spread = torch.where(number >= 2, _deviation(drawn), torch.nan)
        ends = _ends(curve, _size(drawn, curve, spread), spread, level)
        parts.append((curve, *ends, number))
    return _band(parts, curves)


def _columns(curves: Tensor, level: float) -> Tensor:
    """``[S, T, M]`` in float64."""
    check_scenarios("curves", curves, "[S, T, ...]")
    if curves.ndim < 2 or 0 in curves.shape[:2]:
        raise ValueError(f"curves must have shape [S, T, ...], got {tuple(curves.shape)}")
    check_number("level", level, 0.0, 1.0)
    return curves.to(torch.float64).reshape(*curves.shape[:2], curves.shape[2:].numel())


def _band(parts: list[tuple[Tensor, ...]], curves: Tensor) -> CurveBand:
    """The columns side by side; ends that are not finite are no ends."""
    shape = curves.shape[1:]
    if not parts:
        empty = torch.zeros(shape, dtype=torch.float64, device=curves.device)
        whole = empty.to(torch.int64)
        return CurveBand(empty, empty, empty, empty, empty, whole, whole.to(torch.uint8))
    curve, low, high, band_low, band_high, number = (
        torch.stack(piece, -1).reshape(shape) for piece in zip(*parts, strict=True)
    )
    finite = torch.stack([low, high, band_low, band_high]).isfinite().all(0)
    low, high, band_low, band_high = (
        torch.where(finite, end, torch.nan) for end in (low, high, band_low, band_high)
    )
    return CurveBand(curve, low, high, band_low, band_high, number, reason_where(~finite))


def _weighted_quantile(counts: Tensor, ordered: Tensor, order: Tensor, quantile: float) -> Tensor:
    """Quantiles ``[r, T]`` of sorted ``[S, T]`` values of scenarios that count ``[r, S]`` times."""
    there = ~ordered.isnan()
    step = max(1, _PIECE // ordered.numel())
    parts = []
    for part in torch.split(counts, step):
        weights = part[:, order.flatten()].reshape(len(part), *order.shape)
        upto = torch.where(there, weights, 0.0).cumsum(1)
        last = upto[:, -1] - 1  # [r, T]
        place = quantile * last.clamp(min=0.0)
        floor = place.floor()
        before, after = (
            ordered.gather(0, (upto <= k[:, None]).sum(1).clamp(max=len(ordered) - 1))
            for k in (floor, place.ceil())
        )
        value = before + (place - floor) * (after - before)
        parts.append(torch.where(last < 0, torch.nan, value))
    return torch.cat(parts)


def _deviation(drawn: Tensor) -> Tensor:
    """Standard deviation ``[T]`` of ``[R, T]`` draws that are there."""
    known = ~drawn.isnan()
    number = known.sum(0)
    mean = torch.where(known, drawn, 0.0).sum(0) / number
    squares = torch.where(known, drawn - mean, 0.0).square().sum(0)
    # Draws of equal values differ by the rounding of their mean.
    squares = torch.where(squares > _ROUNDING * number * mean.square(), squares, 0.0)
    return (squares / (number - 1)).sqrt()


def _size(drawn: Tensor, curve: Tensor, errors: Tensor) -> Tensor:
    """How many standard errors draws ``[R, T]`` are from the curve; NaN for an unknown error."""
    apart = (drawn - curve).abs()
    size = torch.where(apart == 0, apart, apart / errors)
    return torch.where(errors.isnan(), torch.nan, size)


def _ends(curve: Tensor, size: Tensor, error: Tensor, level: float) -> list[Tensor]:
    """Ends of each step and of all steps, ``[T]``, from the sizes of ``[R, T]`` draws."""
    still = error == 0  # all scenarios are the same at the step: no draw moves it
    size = torch.where(still, torch.nan, size)
    most = torch.where(size.isnan(), -math.inf, size).amax(1)
    most = torch.where(most == -math.inf, torch.nan, most)
    share = torch.full_like(error, level)
    each = quantile_of_draws(size, share[None])[0]
    whole = quantile_of_draws(most, share[:1])
    ends = []
    for factor in (each, whole):
        half = torch.where(still, 0.0, factor * error)
        ends += [curve - half, curve + half]
    return ends
