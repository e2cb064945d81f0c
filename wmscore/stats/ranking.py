"""How sure a ranking of several models is: shares of bootstrap draws."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.stats._check import check_count, check_scenarios, reason_where
from wmscore.stats._sums import sum_scenarios
from wmscore.stats.resampling import resample_counts

__all__ = ["RankShares", "rank_shares"]

_TIED = 1e-12  # share of their size by which two means may differ and still be the same
_PIECE = 1 << 21  # pairs of models times draws held at a time


class RankShares(NamedTuple):
    """What `rank_shares` returns of M models.

    Attributes:
        mean: float64 ``[M]``, over the scenarios that all models have.
        first: float64 ``[M]``, share of draws in which a model is first; draws in which several
            are, are split among them. Sums to 1.
        share: float64 ``[M, M]``, share of draws in which model m has rank r, 0 the best. Rows
            and columns sum to 1.
        expected_rank: float64 ``[M]``, from 1.
        better: float64 ``[M, M]``, share of draws in which model m is better than n, ties for a
            half. ``better + better.T`` is 1; the diagonal is a half.
        scenarios: int64, those that all models have.
        reason: uint8; TOO_FEW_SAMPLES with fewer than two of them, where all shares are NaN.
    """

    mean: Tensor
    first: Tensor
    share: Tensor
    expected_rank: Tensor
    better: Tensor
    scenarios: Tensor
    reason: Tensor


def rank_shares(scores: Tensor, *, draws: int = 10_000, seed: int = 0) -> RankShares:
    """Ranks of M models over panels made of scenarios drawn with replacement.

    All models are scored on the same drawn scenarios, so that what makes a scenario hard for all of
    them does not blur their order. The shares say how stable the ranking is over scenarios like
    these; they are no p-values.

    Args:
        scores: ``[S, M]``, floating point, one value per scenario and model, higher is better:
            average seeds first. A scenario in which any model is NaN or infinite is left out for
            all of them.
        draws: R.
        seed: of the draws.

    Returns:
        A `RankShares`.

    Raises:
        TypeError: scores are not a floating point tensor, or draws not an int.
        ValueError: not two dims, no model or no draws.

    Source:
        Agarwal et al., Deep Reinforcement Learning at the Edge of the Statistical Precipice,
        NeurIPS 2021, section 4.3 (bootstrapped rank comparisons).

    Example:
        >>> import torch
        >>> scenario = torch.arange(8.0)[:, None]
        >>> found = rank_shares(scenario + torch.tensor([0.0, 2.0, 1.0]))
        >>> found.first.tolist(), found.expected_rank.tolist()
        ([0.0, 1.0, 0.0], [3.0, 1.0, 2.0])
    """
    check_scenarios("scores", scores)
    if scores.ndim != 2 or scores.shape[1] == 0:
        raise ValueError(f"scores must have shape [S, M], got {tuple(scores.shape)}")
    check_count("draws", draws)
    check_count("seed", seed, low=0)
    values = scores.to(torch.float64)
    values = values[values.isfinite().all(1)]
    number, models = values.shape
    scenarios = torch.tensor(number, device=values.device)
    mean = sum_scenarios(values) / scenarios
    share = torch.zeros(models, models, dtype=torch.float64, device=values.device)
    better = torch.zeros_like(share)
    places = torch.arange(models, device=values.device)
    step = max(1, _PIECE // models**2)
    blocks = resample_counts(number, draws, seed=seed, device=values.device) if number else ()
    for counts in blocks:
        for means in torch.split(counts @ values / number, step):  # [r, M]
            ahead, tied = _compare(means)
            better += ahead.sum(0) + 0.5 * tied.sum(0, dtype=torch.float64)
            best, ties = ahead.sum(1), tied.sum(1)  # models ahead; tied ones, itself included
            inside = (places >= best[..., None]) & (places < (best + ties)[..., None])
            share += torch.where(inside, 1.0 / ties.to(torch.float64)[..., None], 0.0).sum(0)
    share, better = share / draws, better / draws
    few = scenarios < 2
    share, better = (torch.where(few, torch.nan, part) for part in (share, better))
    expected = share @ (places + 1).to(torch.float64)
    return RankShares(mean, share[:, 0], share, expected, better, scenarios, reason_where(few))


def _compare(means: Tensor) -> tuple[Tensor, Tensor]:
    """Which of ``[r, M]`` means are above (dim 1) which others (dim 2), and which equal them."""
    row, column = means[:, :, None], means[:, None, :]
    tied = (row - column).abs() <= _TIED * torch.maximum(row.abs(), column.abs())
    return (row > column) & ~tied, tied
