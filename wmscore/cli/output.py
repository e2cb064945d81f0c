"""What commands print: tables, and progress with the time that is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wmscore.extras import require

__all__ = [
    "RANKING",
    "STRESS",
    "console",
    "print_panel",
    "print_results",
    "print_sentences",
    "print_table",
    "progress_bar",
]

RANKING = (
    "Ranking by mean usable horizon (first: of the judged models, in what share of bootstrap draws)"
)
"""Title of the table."""

STRESS = "Stress: what is left of the usable horizon (* = less beyond chance)"
"""Title of the table of a ladder."""

_WORDS = ("ended by", "actions")  # columns of words
_FILE_WIDTH = 130  # of tables that go to a file or a pipe


def print_results(console: Any, results: Any, roles: dict[str, str]) -> None:
    """The matched tables of a comparison, and the ranking."""
    from wmscore.comparison import rank, ranking_table
    from wmscore.comparison.report import rolled_out
    from wmscore.evidence import (
        action_table,
        horizon_table,
        summary_table,
        unjudged,
        unmatched_rows,
    )

    panel = results[0].panel
    print_panel(console, panel.name, panel.fingerprint)
    print_table(
        console,
        "Matched metrics (axes: median [quartiles] over rows of the mean score)",
        *summary_table(results, roles),
    )
    print_sentences(console, unmatched_rows(results))
    print_table(
        console,
        "Response to actions (agreement: mean over scenarios)",
        *action_table(results, roles),
    )
    print_sentences(console, unjudged(panel))
    print_table(
        console, "Usable horizon, median over seeds (>= : never failed)", *horizon_table(results)
    )
    if len(rolled := rolled_out(results)) > 1:
        ranking = rank(rolled, roles=roles)
        print_table(console, RANKING, *ranking_table(ranking))
        print_sentences(console, ranking.verdict())


def print_panel(console: Any, name: str, fingerprint: str) -> None:
    """Which panel it is."""
    console.print(f"Panel {name}, fingerprint {fingerprint[:12]}", highlight=False, markup=False)


def print_sentences(console: Any, lines: Sequence[str]) -> None:
    """A verdict, one sentence a line."""
    for line in lines:
        console.print(line, highlight=False, markup=False)


def print_table(
    console: Any, title: str, head: Sequence[str], body: Sequence[Sequence[str]]
) -> None:
    """Nothing where there are no lines. The first column is to the left; the last where words."""
    if not body:
        return
    table, box = require("rich.table", "harness"), require("rich.box", "harness")
    escape = require("rich.markup", "harness").escape
    grid = table.Table(
        title=escape(title),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for i, name in enumerate(head):
        words = i == 0 or (i == len(head) - 1 and name in _WORDS)
        grid.add_column(escape(name), justify="left" if words else "right", no_wrap=i == 0)
    for line in body:
        grid.add_row(*map(escape, line))
    console.print(grid)


def console() -> Any:
    """Where to print; of a fixed width where that is no terminal."""
    screen = require("rich.console", "harness").Console()
    screen.on_broken_pipe = _reader_gone
    if not screen.is_terminal:
        screen.width = _FILE_WIDTH
    return screen


def _reader_gone() -> None:
    """Leave it to the command line what becomes of that; rich would end the process with 1."""
    raise BrokenPipeError


def progress_bar() -> Any:
    """Bars with counts and the time that is left."""
    rich = require("rich.progress", "harness")
    return rich.Progress(
        rich.TextColumn("{task.description:>18}"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TimeElapsedColumn(),
        rich.TimeRemainingColumn(),
    )
