"""Survival curves and restricted means of panels made of scenarios drawn with replacement."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.stats._sums import sum_steps
from wmscore.stats.cluster import Weighting, check_weighting
from wmscore.stats.kaplan_meier import survival_curve
from wmscore.stats.resampling import resample_counts
from wmscore.stats.restricted_mean import check_until
from wmscore.stats.risk import RiskTable, check_table, pool_tables, table_shares

__all__ = ["SurvivalDraws", "survival_draws"]


class SurvivalDraws(NamedTuple):
    """What `survival_draws` returns: curves and means of the panel, and of R draws of it.

    Attributes:
        survival: float64 ``[..., T + 1]``, of the panel.
        mean: float64 ``[...]``, its restricted mean in steps.
        survival_draws: float64 ``[R, ..., T + 1]``; NaN where a draw's curve is unknown.
        mean_draws: float64 ``[R, ...]``.
        survival_left_out: float64 ``[S, ..., T + 1]``, without each scenario (the jackknife).
        mean_left_out: float64 ``[S, ...]``.
    """

    survival: Tensor
    mean: Tensor
    survival_draws: Tensor
    mean_draws: Tensor
    survival_left_out: Tensor
    mean_left_out: Tensor


def survival_draws(
    table: RiskTable,
    until: int | None = None,
    *,
    draws: int = 10_000,
    seed: int = 0,
    weighting: Weighting = "scenarios",
    dim: int = 0,
) -> SurvivalDraws:
    """Bootstrap of survival curves with scenarios as what is drawn.

    A draw's risk table is a sum of the scenarios' tables, each as often as it was drawn, so that
    10,000 resampled panels are one matrix product, whatever the number of rollouts. Of what comes
    out `percentile_interval` and `bca_interval` make intervals; with few scenarios those of
    `cluster_survival` and `cluster_restricted_mean`, which need no draws, cover better.

    Args:
        table: of `risk_table` with a dim of scenarios.
        until: of the mean, as for `restricted_mean`.
        draws: R.
        seed: of the draws, the same as those of `cluster_bootstrap`.
        weighting: as for `cluster_survival`.
        dim: the batch dim of the scenarios; negative ones count from the last batch dim.

    Returns:
        A `SurvivalDraws` without that dim.

    Raises:
        TypeError: not a `RiskTable`, or numbers that are not ints.
        ValueError: no such dim, `until` outside 1..T, no draws, another weighting.

    Source:
        Field and Welsh, J. R. Stat. Soc. B 69 (2007), for the bootstrap of clusters.

    Example:
        >>> import torch
        >>> from wmscore.stats import bca_interval, risk_table
        >>> times = torch.tensor([[2, 3], [5, 6], [8, 8], [2, 2], [8, 7], [4, 4]])
        >>> found = survival_draws(risk_table(times, times < 8, horizon=8), draws=2000)
        >>> ends = bca_interval(found.mean_draws, found.mean, found.mean_left_out)
        >>> round(found.mean.item(), 2), bool(ends.low < found.mean < ends.high)
        (4.92, True)
    """
    check_table(table)
    until = check_until(table, until)
    check_weighting(weighting)
    if weighting == "scenarios":
        table = table_shares(table)
    # Causes do not matter here, and would cost as much as all the rest.
    table = table._replace(by_cause=table.failures[..., None, :])

    def curves(weights: Tensor | None) -> Tensor:
        return survival_curve(pool_tables(table, weights, dim))

    def means(survival: Tensor) -> Tensor:
        return sum_steps(survival[..., :until])

    whole = curves(None)
    scenarios = table.missing.shape[dim]
    device = table.at_risk.device
    drawn = [curves(part) for part in resample_counts(scenarios, draws, seed=seed, device=device)]
    resampled = torch.cat(drawn)
    others = 1 - torch.eye(scenarios, dtype=torch.float64, device=device)
    left_out = curves(others)
    return SurvivalDraws(
        whole, means(whole), resampled, means(resampled), left_out, means(left_out)
    )
