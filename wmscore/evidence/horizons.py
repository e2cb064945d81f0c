"""Usable horizons of scores as risk tables, and their mean."""

from __future__ import annotations

import torch

from wmscore.scores import Scores
from wmscore.stats import RiskTable, cluster_restricted_mean, risk_table

__all__ = ["horizon_tables", "mean_horizon_cell"]


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


def mean_horizon_cell(scores: Scores) -> str:
    """Mean horizon [95 % interval over scenarios], each scenario counting alike.

    Where all rollouts were cut short, the mean over the steps that were seen, and how many.
    """
    tables = horizon_tables(scores)
    found, note = cluster_restricted_mean(tables), ""
    seen = int(found.observed)
    if seen == 0:
        return "undefined"
    if seen < scores.panel.contract.horizon:
        found, note = cluster_restricted_mean(tables, seen), f" of {seen}"
    mean, low, high = (float(part) for part in (found.mean, found.low, found.high))
    interval = "" if low != low else f"\n[{low:.1f}, {high:.1f}]"
    return f"{mean:.1f}{note}{interval}"
