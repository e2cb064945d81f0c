"""Bootstrap of means, with scenarios as what is drawn and seeds nested in them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.stats._check import check_count, check_scenarios
from wmscore.stats._sums import sum_scenarios
from wmscore.stats.resampling import resampled_sums

__all__ = ["BootstrapMeans", "cluster_bootstrap", "nested_bootstrap"]

_PIECE = 1 << 19  # scenario means held at a time by the nested bootstrap
_RANDOM = 1 << 31  # far above any S and K, so that a remainder is as good as uniform
_ROUNDING = 1e-13  # share of the mean square below which a variance is 0


class BootstrapMeans(NamedTuple):
    """What the bootstraps return: the mean, and that of R draws.

    Attributes:
        mean: float64 ``[...]``, over the scenarios that have a value; NaN where none has.
        error: float64 ``[...]``, standard error of the mean; NaN with fewer than two values.
        draws: float64 ``[R, ...]``, means; NaN where a draw has no value in a column.
        errors: float64 ``[R, ...]``, the standard error that each draw by itself shows.
        left_out: float64 ``[S, ...]``, the mean without each scenario (the jackknife); NaN where
            the scenario has no value.
        scenarios: int64 ``[...]``, those that have a value.
    """

    mean: Tensor
    error: Tensor
    draws: Tensor
    errors: Tensor
    left_out: Tensor
    scenarios: Tensor


def cluster_bootstrap(values: Tensor, *, draws: int = 10_000, seed: int = 0) -> BootstrapMeans:
    r"""Means of panels made of scenarios drawn with replacement.

    With :math:`c_{rs}` the number of times that draw r takes scenario s and :math:`o_s` whether it
    has a value, a column's mean is

    .. math:: m_r = \sum_s c_{rs} o_s v_s \Big/ \sum_s c_{rs} o_s

    one matrix product for all columns. `percentile_interval`, `bca_interval` and
    `bootstrap_t_interval` make intervals of it; `bootstrap_interval` does both.

    Args:
        values: ``[S, ...]``, floating point, one value per scenario: average its seeds first, or
            see `nested_bootstrap`. NaN and infinite values are missing.
        draws: R.
        seed: of the draws, which are the same for all columns, so that columns stay paired.

    Returns:
        A `BootstrapMeans`. What a column gets does not depend on the others, up to the rounding of
        a matrix product.

    Raises:
        TypeError: values are not a floating point tensor, or draws not an int.
        ValueError: no scenario dim, no scenario or no draws.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 6 and 8.

    Example:
        >>> import torch
        >>> found = cluster_bootstrap(torch.tensor([1.0, 2.0, 3.0, 6.0]), draws=2000)
        >>> found.mean.item(), abs(found.draws.mean().item() - 3) < 0.1
        (3.0, True)
    """
    check_scenarios("values", values)
    check_count("draws", draws)
    flat, there = _columns(values, values.shape[0])
    mean, error, left_out, count = _moments(flat, there)
    apart = torch.where(there, flat - mean, 0.0)
    # Squares of differences from the mean: those of the values themselves may lose all digits.
    full = bool(there.all())
    table = [apart, apart.square()] if full else [apart, apart.square(), there.to(torch.float64)]
    stacked = torch.cat(table, 1)
    drawn, errors = [], []
    for block in resampled_sums(stacked, draws, seed=seed):
        sums = block.reshape(len(block), len(table), -1).unbind(1)
        number = torch.full_like(sums[0], len(flat)) if full else sums[2]
        moved = sums[0] / number
        drawn.append(mean + moved)
        errors.append(_standard_error(sums[1] / number, moved, number))
    return _result(mean, error, torch.cat(drawn), torch.cat(errors), left_out, count, values, 1)


def nested_bootstrap(
    values: Tensor, *, fixed_scenarios: bool = False, draws: int = 10_000, seed: int = 0
) -> BootstrapMeans:
    """`cluster_bootstrap` that draws the seeds of each drawn scenario too.

    The mean is one over scenarios of the mean over seeds. Drawing both adds the noise of the seeds
    a second time, as the scenario means already have it: intervals are too wide with few seeds.
    With the scenarios fixed only the seeds are drawn, each scenario's from its own: what holds for
    new seeds on this panel and for no other scenario.

    Args:
        values: ``[S, K, ...]``, floating point, one value per scenario and seed. NaN and infinite
            values are missing; a scenario without any is missing.
        fixed_scenarios: whether each draw has every scenario once.
        draws: R.
        seed: of the draws, the same for all columns.

    Returns:
        A `BootstrapMeans`; with the scenarios fixed, its errors are those that the seeds within the
        scenarios show, and `left_out` is still without one scenario.

    Raises:
        TypeError: values are not a floating point tensor, or draws not an int.
        ValueError: no dims S and K, no scenario, no seed or no draws.

    Source:
        Davison and Hinkley, Bootstrap Methods and their Application (1997), section 3.8.

    Example:
        >>> import torch
        >>> cells = torch.tensor([[1.0, 1.0], [3.0, 3.0]])
        >>> nested_bootstrap(cells, fixed_scenarios=True, draws=5).draws.tolist()
        [2.0, 2.0, 2.0, 2.0, 2.0]
    """
    check_scenarios("values", values)
    if values.ndim < 2 or values.shape[1] == 0:
        raise ValueError(f"values must have shape [S, K, ...], got {tuple(values.shape)}")
    check_count("draws", draws)
    check_count("seed", seed, low=0)
    scenarios, seeds = values.shape[:2]
    cells, there = _columns(values, scenarios * seeds)
    columns = cells.shape[1]
    zeroed = torch.where(there, cells, 0.0).reshape(scenarios, seeds, columns)
    number = there.reshape(scenarios, seeds, columns).sum(1)
    each = zeroed.sum(1) / number  # [S, M]
    known = number > 0
    mean, error, left_out, count = _moments(each, known)
    offset = torch.where(known, each, 0.0)[:, None]
    apart = torch.where(there.reshape(zeroed.shape), zeroed - offset, 0.0)
    if fixed_scenarios:
        spread = apart.square().sum(1) / (number - 1) / number
        error = torch.where(known, spread, 0.0).sum(0).sqrt() / count
    table = [apart.flatten(0, 1), there.to(torch.float64)]
    if fixed_scenarios:
        table.append(table[0].square())
    stacked = torch.cat(table, 1)  # [S K, 2 M or 3 M]
    drawn, errors = [], []
    generator = torch.Generator().manual_seed(seed)
    step = max(1, min(draws, _PIECE // (scenarios * max(columns, seeds))))
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        places = _cells(rows, scenarios, seeds, fixed_scenarios, generator).to(values.device)
        bags = torch.nn.functional.embedding_bag(places.flatten(0, 1), stacked, mode="sum")
        sums = bags.reshape(rows, scenarios, len(table), columns).unbind(2)
        taken = places[:, :, 0] // seeds  # [r, S]
        filled = sums[1] > 0
        moved = sums[0] / sums[1]
        level = torch.where(filled, moved + offset[taken, 0] - mean, 0.0)
        counted = filled.sum(1)
        middle = level.sum(1) / counted
        drawn.append(mean + middle)
        if fixed_scenarios:
            within = _standard_error(sums[2] / sums[1], moved, sums[1]).square()
            errors.append(torch.where(filled, within, 0.0).sum(1).sqrt() / counted)
        else:
            errors.append(_standard_error(level.square().sum(1) / counted, middle, counted))
    return _result(mean, error, torch.cat(drawn), torch.cat(errors), left_out, count, values, 2)


def _columns(values: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """``[rows, M]`` in float64, and which are there."""
    if values.shape[0] == 0:
        raise ValueError(f"values must have a scenario, got shape {tuple(values.shape)}")
    flat = values.to(torch.float64).reshape(rows, values.numel() // rows)
    return flat, flat.isfinite()


def _moments(values: Tensor, there: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean, its standard error, means without each scenario, count."""
    count = there.sum(0)
    mean = sum_scenarios(torch.where(there, values, 0.0)) / count
    apart = torch.where(there, values - mean, 0.0)
    squares = sum_scenarios(apart.square())
    error = torch.where(count >= 2, (squares / (count - 1) / count).sqrt(), torch.nan)
    left_out = torch.where(there & (count >= 2), mean - apart / (count - 1), torch.nan)
    return mean, error, left_out, count


def _standard_error(square: Tensor, mean: Tensor, count: Tensor) -> Tensor:
    """Of a mean, from the mean square and the mean of differences from some centre."""
    variance = square - mean.square()
    variance = torch.where(variance > _ROUNDING * square, variance, 0.0)
    return torch.where(count >= 2, (variance / (count - 1)).sqrt(), torch.nan)


def _cells(
    rows: int, scenarios: int, seeds: int, fixed: bool, generator: torch.Generator
) -> Tensor:
    """Cells ``[r, S, K]`` of that many draws: those of one scenario in each row."""
    # One call for both, so that the numbers of a draw do not depend on how many come at a time.
    size = (rows, scenarios, seeds + (not fixed))
    drawn = torch.randint(_RANDOM, size, generator=generator)
    if fixed:
        return torch.arange(scenarios)[:, None] * seeds + drawn % seeds
    return drawn[..., :1] % scenarios * seeds + drawn[..., 1:] % seeds


def _result(
    mean: Tensor,
    error: Tensor,
    drawn: Tensor,
    errors: Tensor,
    left_out: Tensor,
    count: Tensor,
    values: Tensor,
    dims: int,
) -> BootstrapMeans:
    shape = values.shape[dims:]
    return BootstrapMeans(
        mean.reshape(shape),
        error.reshape(shape),
        drawn.reshape(len(drawn), *shape),
        errors.reshape(len(errors), *shape),
        left_out.reshape(len(left_out), *shape),
        count.reshape(shape),
    )
