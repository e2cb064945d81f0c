"""`curves.csv`: every score and raw measure at every step, model beside model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from wmscore.comparison.report import role_of
from wmscore.files import write_csv
from wmscore.plots.quartiles import quartiles
from wmscore.scores import Curve, Scores

__all__ = ["write_curve_table"]

_COLUMNS = (
    *("model", "role", "kind", "name", "unit", "higher_is_better"),
    *("step", "defined_rows", "lower_quartile", "median", "upper_quartile"),
)


def write_curve_table(path: Path, results: Sequence[Scores], roles: Mapping[str, str]) -> None:
    """Write `curves.csv`: quartiles over rows of every score and raw measure at every step."""

    def lines() -> Iterator[dict[str, Any]]:
        for scores in results:
            for kind, curves in (("score", scores.axes), ("measure", scores.measures)):
                for name, curve in curves.items():
                    better = "" if curve.higher_is_better is None else curve.higher_is_better
                    head = (scores.model, role_of(scores.model, roles), kind, name)
                    for cells in _steps(curve):
                        line = (*head, curve.unit, better, *cells)
                        yield dict(zip(_COLUMNS, line, strict=True))

    write_csv(path, _COLUMNS, lines())


def _steps(curve: Curve) -> Iterator[tuple[Any, ...]]:
    """Step, defined rows and quartiles, empty where no row is defined."""
    defined = (~curve.values.isnan()).sum(0).tolist()
    for step, (count, points) in enumerate(zip(defined, quartiles(curve.values).T, strict=True), 1):
        yield step, count, *(f"{value:.6g}" if count else "" for value in points.tolist())
