"""`curves.csv`: every score and raw measure at every step, model beside model."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from wmscore.files import atomic_file
from wmscore.plots.quartiles import quartiles
from wmscore.scores import Curve, Scores

__all__ = ["write_curve_table"]


def write_curve_table(path: Path, results: Sequence[Scores], roles: Mapping[str, str]) -> None:
    """Write `curves.csv`: quartiles over rows of every score and raw measure at every step."""
    with atomic_file(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            (
                "model,role,kind,name,unit,higher_is_better,step,defined_rows,"
                "lower_quartile,median,upper_quartile"
            ).split(",")
        )
        for scores in results:
            for kind, curves in (("score", scores.axes), ("measure", scores.measures)):
                for name, curve in curves.items():
                    better = "" if curve.higher_is_better is None else curve.higher_is_better
                    head = (scores.model, roles.get(scores.model, "model"), kind, name)
                    for line in _steps(curve):
                        writer.writerow((*head, curve.unit, better, *line))


def _steps(curve: Curve) -> Iterator[tuple[Any, ...]]:
    """Step, defined rows and quartiles, empty where no row is defined."""
    defined = (~curve.values.isnan()).sum(0).tolist()
    for step, (count, points) in enumerate(zip(defined, quartiles(curve.values).T, strict=True), 1):
        yield step, count, *(f"{value:.6g}" if count else "" for value in points.tolist())
