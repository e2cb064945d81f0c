"""How far rollouts stay usable, model beside model, and which axis ends them."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from wmscore.comparison.horizons import horizon_tables, usable_curve
from wmscore.files import atomic_file
from wmscore.scores import Scores
from wmscore.stats import cumulative_incidence, hazard, pool_tables, table_shares

__all__ = ["write_survival_table"]


def write_survival_table(path: Path, results: Sequence[Scores], roles: Mapping[str, str]) -> None:
    """Write `survival.csv`: of each model at each step, what `survival.png` shows.

    `reached`: rollouts usable up to the step before and seen at it; `failed`: those of them that
    fail here; `hazard`: their share; `usable`, `usable_low`, `usable_high`: share usable up to and
    with this step, and its 95 % band over scenarios; `ended_AXIS`: share ended by the axis here or
    before. Shares count each scenario alike, so that usable and ended sum to 1.
    """
    axes = [spec.axis for spec in results[0].panel.axes]
    head = "model,role,step,reached,failed,hazard,usable,usable_low,usable_high".split(",")
    with atomic_file(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*head, *(f"ended_{axis}" for axis in axes)])
        for scores in results:
            role = roles.get(scores.model, "model")
            tables = horizon_tables(scores)
            counts = pool_tables(tables)
            ended = cumulative_incidence(pool_tables(table_shares(tables))).incidence
            columns = [hazard(counts).hazard, *usable_curve(tables), *ended]
            for t in range(scores.panel.contract.horizon):
                whole = (int(part[t]) for part in (counts.at_risk, counts.failures))
                shares = (_number(float(part[t])) for part in columns)
                writer.writerow((scores.model, role, t + 1, *whole, *shares))


def _number(value: float) -> str:
    return "" if value != value else f"{value:.6g}"
