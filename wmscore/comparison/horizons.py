"""Usable horizons of one model as risk tables, and their mean."""

from __future__ import annotations

from typing import NamedTuple

import torch

from wmscore.scores import Scores
from wmscore.stats import RiskTable, cluster_restricted_mean, risk_table

__all__ = ["MeanHorizon", "horizon_tables", "mean_horizon"]


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
