"""How far rollouts stay usable, model beside model, and which axis ends them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from wmscore.comparison.horizons import horizon_tables, usable_curve
from wmscore.comparison.report import role_of
from wmscore.files import write_csv
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
    columns = [*head, *(f"ended_{axis}" for axis in axes)]

    def lines() -> Iterator[dict[str, Any]]:
        for scores in results:
            role = role_of(scores.model, roles)
            for cells in _steps(scores):
                yield dict(zip(columns, (scores.model, role, *cells), strict=True))

    write_csv(path, columns, lines())


def _steps(scores: Scores) -> Iterator[tuple[Any, ...]]:
    """Step, counts and shares of one model."""
    tables = horizon_tables(scores)
    counts = pool_tables(tables)
    ended = cumulative_incidence(pool_tables(table_shares(tables))).incidence
    curves = [hazard(counts).hazard, *usable_curve(tables), *ended]
    for t in range(scores.panel.contract.horizon):
        whole = (int(part[t]) for part in (counts.at_risk, counts.failures))
        shares = (_number(float(part[t])) for part in curves)
        yield t + 1, *whole, *shares


def _number(value: float) -> str:
    return "" if value != value else f"{value:.6g}"
