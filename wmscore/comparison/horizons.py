"""Usable horizons of one model as risk tables, and their mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.scores import Scores
from wmscore.stats import (
    RiskTable,
    cluster_restricted_mean,
    cluster_survival,
    cumulative_incidence,
    pool_tables,
    risk_table,
    table_shares,
)

__all__ = [
    "MeanHorizon",
    "ended_shares",
    "horizon_tables",
    "mean_horizon",
    "ranked",
    "usable_curve",
]


class MeanHorizon(NamedTuple):
    """Mean usable horizon over scenarios, in steps. See `mean_horizon`.

    Attributes:
        mean: each scenario counting alike; NaN where no rollout was seen.
        low: lower end of its interval over scenarios; NaN with fewer than two.
        high: upper end.
        steps: the mean is over so many steps, fewer than the panel's where all were cut short.
    """

    mean: float
    low: float
    high: float
    steps: int


def horizon_tables(scores: Scores) -> RiskTable:
    """One risk table per scenario, `[S]`, of its seeds' usable horizons.

    Causes are the panel's axes in order, 1..A. Rows without a horizon are missing.
    """
    panel, horizon = scores.panel, scores.horizon
    shape = (len(panel.scenarios), len(panel.seeds))
    steps = torch.where(horizon.defined, horizon.steps, -1)
    return risk_table(
        steps.reshape(shape),
        (horizon.axis + 1).reshape(shape),
        panel.contract.horizon,
        causes=len(panel.axes),
        ties="censored",
    )


def mean_horizon(scores: Scores, level: float = 0.95) -> MeanHorizon:
    """Restricted mean of a model's horizons, on all rows that it has."""
    tables, last = horizon_tables(scores), scores.panel.contract.horizon
    found = cluster_restricted_mean(tables, level=level)
    seen = int(found.observed)
    if 0 < seen < last:
        found = cluster_restricted_mean(tables, seen, level=level)
    mean, low, high = (float(part) for part in (found.mean, found.low, found.high))
    return MeanHorizon(mean, low, high, seen)


def usable_curve(tables: RiskTable) -> Tensor:
    """Share of rollouts usable up to and with step 1..T, and its 95 % band, `[3, T]`."""
    curve = cluster_survival(tables)
    # A rollout is usable at step t where its horizon is beyond t - 1.
    return torch.stack([curve.survival, curve.low, curve.high])[:, :-1]


def ended_shares(scores: Scores) -> Tensor:
    """Share ended by each axis, and of what was not seen to fail, `[A + 1]`; 0 where undefined."""
    pooled = pool_tables(table_shares(horizon_tables(scores)))
    # Shares only grow: where the curves end early, the last that is known.
    ended = cumulative_incidence(pooled).incidence[:, :-1].nan_to_num(0.0).amax(-1)
    left = (pooled.at_risk[0] > 0).double() - ended.sum()
    return torch.cat([ended, left[None]])


def ranked(results: Sequence[Scores]) -> list[Scores]:
    """Models by mean usable horizon, longest first; ties by mean score over all axes.

    The horizon is restricted to the panel's, so with one common horizon its mean is the
    restricted mean survival time. A row without a horizon counts as 0 here, so that no model
    rises by what it does not show.
    """

    def key(scores: Scores) -> tuple[float, float]:
        steps = scores.horizon.steps.double().clamp_min(0)
        values = torch.stack(
            [curve.values.nan_to_num(0.0).mean() for curve in scores.axes.values()]
        )
        return (-float(steps.mean()), -float(values.mean()))

    return sorted(results, key=key)
