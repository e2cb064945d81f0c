"""Figures as plots have them: one layout, one legend below, the same bytes for the same data."""

from __future__ import annotations

import functools
import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wmscore.extras import require
from wmscore.files import atomic_file
from wmscore.manifest import Panel

__all__ = ["add_legend", "add_note", "make_figure", "rows_of", "save_plot", "tidy"]

_DPI = 110
# No date, version or random name inside: the same data give the same bytes.
_SVG = {"svg.hashsalt": "wmscore", "svg.fonttype": "path"}
_METADATA: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
}


def make_figure(
    count: int, columns: int, *, size: tuple[float, float] | None = None
) -> tuple[Any, list[Any]]:
    """A figure of some plots in rows of so many columns.

    Args:
        count: plots.
        columns: of them in a row.
        size: width and height of one plot in inches; by default smaller where there are rows.

    Returns:
        The figure, which notebooks show as it is, and its plots.
    """
    rows = -(-count // columns)
    columns = min(count, columns)
    wide, high = size or ((5.0, 3.6) if rows == 1 else (3.9, 2.9))
    figure = _figure_class()(figsize=(wide * columns, high * rows), dpi=_DPI, layout="constrained")
    plots = list(figure.subplots(rows, columns, squeeze=False).flat)
    for plot in plots[count:]:
        plot.set_axis_off()
    for plot in plots[:count]:
        tidy(plot)
    return figure, plots[:count]


@functools.cache
def _figure_class() -> Any:
    """A figure that notebooks show without pyplot, which would keep every one in memory."""
    matplotlib = require("matplotlib.figure", "harness")

    def _repr_png_(self: Any) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=_DPI, metadata=_METADATA["png"])
        return buffer.getvalue()

    return type("Figure", (matplotlib.Figure,), {"_repr_png_": _repr_png_})


def tidy(plot: Any) -> None:
    """Take away what says nothing: upper and right border; a light grid behind the data."""
    plot.spines[["top", "right"]].set_visible(False)
    plot.grid(color="0.92", linewidth=0.8)
    plot.set_axisbelow(True)
    plot.tick_params(labelsize=8.5)
    plot.title.set_fontsize(10.5)


def add_note(figure: Any, text: str) -> None:
    """One line above the figure: what is drawn, over how many rows."""
    longest = int(figure.get_figwidth() * 15)
    figure.suptitle(textwrap.fill(text, longest), fontsize=9, color="0.35")


def rows_of(panel: Panel) -> str:
    """The size of a panel in words."""
    scenarios, seeds = len(panel.scenarios), len(panel.seeds)
    seeded = f"{seeds} seed" + ("s" if seeds > 1 else "")
    return f"{scenarios * seeds} rows ({scenarios} scenarios x {seeded})"


def add_legend(figure: Any, plots: Sequence[Any], *, columns: int | None = None) -> None:
    """One legend below the figure of everything that its plots name, each name once."""
    named: dict[str, Any] = {}
    for plot in plots:
        for handle, name in zip(*plot.get_legend_handles_labels(), strict=True):
            named.setdefault(name, handle)
    if not named:
        return
    longest = max(len(name) for name in named)
    fitting = int(figure.get_figwidth() / (0.62 + 0.078 * longest))
    figure.legend(
        list(named.values()),
        list(named),
        loc="outside lower center",
        ncols=columns or max(1, min(len(named), fitting)),
        frameon=False,
        fontsize=9,
    )


def save_plot(figure: Any, *paths: str | Path) -> None:
    """Write a figure as PNG or SVG, by the path's ending; the same bytes for the same data.

    Saving a figure twice may move its parts by less than a pixel: matplotlib lays out anew.

    Args:
        figure: of one of the functions of this package, or any of matplotlib's.
        paths: where to, each ending in `.png` or `.svg`. Each is written whole or not at all.

    Raises:
        ValueError: another ending.

    Example:
        >>> save_plot(survival_plot(results), "survival.svg")              # doctest: +SKIP
    """
    kinds = [Path(path).suffix.lower().removeprefix(".") for path in paths]
    for path, kind in zip(paths, kinds, strict=True):
        if kind not in _METADATA:
            raise ValueError(
                f"path: expected a name ending in .png or .svg, got {Path(path).name!r}"
            )
    matplotlib = require("matplotlib", "harness")
    engine = figure.get_layout_engine()
    with matplotlib.rc_context(_SVG):
        # Laid out once, so that all files show the same and none takes the time again.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        try:
            for path, kind in zip(paths, kinds, strict=True):
                with atomic_file(path) as draft:
                    figure.savefig(draft, format=kind, dpi=_DPI, metadata=_METADATA[kind])
        finally:
            figure.set_layout_engine(engine)
