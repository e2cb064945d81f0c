"""The mean usable horizon in a table."""

from __future__ import annotations

from wmscore.comparison.horizons import mean_horizon
from wmscore.scores import Scores

__all__ = ["mean_horizon_cell"]


def mean_horizon_cell(scores: Scores) -> str:
    """Mean horizon [95 % interval over scenarios], each scenario counting alike.

    Where all rollouts were cut short, the mean over the steps that were seen, and how many.
    """
    mean, low, high, seen = mean_horizon(scores)
    if seen == 0:
        return "undefined"
    note = f" of {seen}" if seen < scores.panel.contract.horizon else ""
    interval = "" if low != low else f"\n[{low:.1f}, {high:.1f}]"
    return f"{mean:.1f}{note}{interval}"
