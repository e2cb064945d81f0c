"""Figures as evidence has them: one layout, one legend, the same bytes for the same scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wmscore.extras import require
from wmscore.files import atomic_file

__all__ = ["make_figure", "save_figure"]


def make_figure(count: int, columns: int) -> tuple[Any, list[Any]]:
    """A figure of some plots in rows of so many columns."""
    matplotlib = require("matplotlib.figure", "harness")
    rows = -(-count // columns)
    columns = min(count, columns)
    size = 4 if rows == 1 else 3
    figure = matplotlib.Figure(figsize=(1.25 * size * columns, size * rows), layout="constrained")
    plots = list(figure.subplots(rows, columns, squeeze=False).flat)
    for plot in plots[count:]:
        plot.set_axis_off()
    return figure, plots[:count]


def save_figure(figure: Any, path: Path) -> None:
    """Write it as a PNG, the legend of its first plot below."""
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=7)
    with atomic_file(path) as draft:
        # No date or version inside: the same scores give the same bytes.
        figure.savefig(draft, format="png", dpi=100, metadata={"Software": None})
