"""Interquartile mean over scenarios, and its bootstrap by weights instead of samples."""

from __future__ import annotations

import torch
from torch import Tensor

from wmscore.stats._check import (
    check_choice,
    check_count,
    check_number,
    check_scenarios,
    reason_where,
)
from wmscore.stats.bootstrap_intervals import bca_interval, percentile_interval
from wmscore.stats.intervals import MeanInterval
from wmscore.stats.resampling import resample_counts

__all__ = ["interquartile_interval", "interquartile_mean"]

_PIECE = 1 << 17  # weights of cells, columns times draws, held at a time: 1 MiB


def interquartile_mean(values: Tensor) -> Tensor:
    r"""Mean of the middle half of the values.

    Of n values the :math:`\lfloor n / 4 \rfloor` lowest and as many highest are left out. It takes
    less harm from a few broken rollouts than the mean, and wastes less than the median.

    Args:
        values: ``[N, ...]``, floating point, say one per scenario. NaN and infinite values are
            missing.

    Returns:
        Float64 ``[...]``; NaN where there is no value.

    Raises:
        TypeError: not a floating point tensor.
        ValueError: no dim N.

    Source:
        Agarwal et al., Deep Reinforcement Learning at the Edge of the Statistical Precipice,
        NeurIPS 2021. Equal to ``scipy.stats.trim_mean(values, 0.25)``.

    Example:
        >>> import torch
        >>> interquartile_mean(torch.tensor([0.0, 4.0, 5.0, 6.0, 7.0, 100.0])).item()
        5.5
    """
    check_scenarios("values", values, "[N, ...]")
    shape = values.shape[1:]
    ordered, _ = _ordered(values.to(torch.float64).reshape(len(values), shape.numel()))
    weights = (~ordered.isnan()).to(torch.float64)
    return _trimmed(weights[None], ordered)[0].reshape(shape)


def interquartile_interval(
    values: Tensor,
    level: float = 0.95,
    *,
    seeds: bool = False,
    method: str = "percentile",
    draws: int = 10_000,
    seed: int = 0,
) -> MeanInterval:
    """`interquartile_mean` with a bootstrap interval, scenarios being what is drawn.

    A draw changes the weights of the sorted values only, so that no draw is sorted anew.

    Args:
        values: ``[S, ...]``, floating point, one value per scenario; with `seeds`, ``[S, K, ...]``,
            whose S K values are pooled: their middle half is not that of the scenario means. NaN
            and infinite values are missing.
        level: of confidence, in (0, 1).
        seeds: whether dim 1 is that of seeds, which a drawn scenario brings along, all of them.
        method: "percentile", or "bca", which corrects it for bias and skew.
        draws: R.
        seed: of the draws, which are the same for all columns, and as those of `cluster_bootstrap`.

    Returns:
        A `MeanInterval` of ``[...]`` tensors, `mean` being the interquartile mean and `scenarios`
        those that have a value.

    Raises:
        TypeError: values are not a floating point tensor, or draws not an int.
        ValueError: no scenario, no seed, a level outside (0, 1), or another method.

    Example:
        >>> import torch
        >>> found = interquartile_interval(torch.tensor([0.0, 4, 5, 6, 7, 100, 5, 6]))
        >>> found.mean.item(), found.high.item() < 40
        (5.5, True)
    """
    check_scenarios("values", values)
    check_number("level", level, 0.0, 1.0)
    check_choice("method", method, ("percentile", "bca"))
    check_count("draws", draws)
    check_count("seed", seed, low=0)
    dims = 2 if seeds else 1
    if values.ndim < dims or 0 in values.shape[:dims]:
        layout = "[S, K, ...]" if seeds else "[S, ...]"
        raise ValueError(f"values must have shape {layout}, got {tuple(values.shape)}")
    shape, scenarios = values.shape[dims:], values.shape[0]
    cells = values.to(torch.float64).reshape(-1, shape.numel())
    each = len(cells) // scenarios
    known = cells.isfinite().reshape(scenarios, each, -1).any(1)  # [S, M]
    ordered, order = _ordered(cells)
    owner = order // each  # the scenario of each sorted cell, [M, N]
    drawn = torch.cat(
        [
            _weighted(counts, ordered, owner)
            for counts in resample_counts(scenarios, draws, seed=seed, device=values.device)
        ]
    )
    mean = _weighted(torch.ones_like(drawn[:1, :1]).expand(1, scenarios), ordered, owner)[0]
    if method == "bca":
        without = 1 - torch.eye(scenarios, dtype=torch.float64, device=values.device)
        left_out = torch.where(known, _weighted(without, ordered, owner), torch.nan)
        ends = bca_interval(drawn, mean, left_out, level)
    else:
        ends = percentile_interval(drawn, level)
    number = known.sum(0)
    few = (number < 2) | ends.low.isnan() | ends.high.isnan()
    low, high = (torch.where(few, torch.nan, end) for end in ends)
    parts = (mean, low, high, number, reason_where(few))
    return MeanInterval(*(part.reshape(shape) for part in parts))


def _ordered(cells: Tensor) -> tuple[Tensor, Tensor]:
    """Columns ``[M, N]`` in order, missing ones last as NaN; and where each came from."""
    return torch.where(cells.isfinite(), cells, torch.nan).T.contiguous().sort(stable=True, dim=1)


def _weighted(counts: Tensor, ordered: Tensor, owner: Tensor) -> Tensor:
    """Interquartile means ``[r, M]`` of scenarios that count so often, ``[r, S]``."""
    there = ~ordered.isnan()
    full = bool(there.all())
    step = max(1, _PIECE // max(1, ordered.numel()))
    parts = []
    for part in torch.split(counts, step):
        weights = part.index_select(1, owner.flatten()).reshape(len(part), *owner.shape)
        parts.append(_trimmed(weights if full else weights.mul_(there), ordered))
    return torch.cat(parts)


def _trimmed(weights: Tensor, ordered: Tensor) -> Tensor:
    """Means ``[r, M]`` of sorted ``[M, N]`` values that are there ``[r, M, N]`` times."""
    if ordered.shape[1] == 0:
        return torch.full(weights.shape[:2], torch.nan, dtype=torch.float64, device=weights.device)
    upto = weights.cumsum(2)
    total = upto[..., -1:].clone()
    cut = (total / 4).floor()
    # What is left of the first i values; its steps are what is left of each.
    left = torch.minimum(upto, total - cut, out=upto).sub_(cut).clamp_(min=0.0)
    kept = torch.diff(left, dim=2, prepend=torch.zeros_like(total))
    sums = (kept.mul_(ordered.nan_to_num())).sum(2)
    return sums / (total - 2 * cut)[..., 0]
