"""What commands print: tables, and progress with the time that is left."""

from __future__ import annotations

from typing import Any

from wmscore.extras import require

__all__ = ["console", "print_results", "progress_bar"]

_FILE_WIDTH = 130  # of tables that go to a file or a pipe


def print_results(console: Any, results: Any, roles: dict[str, str]) -> None:
    """The matched tables of a comparison."""
    from wmscore.evidence import action_table, horizon_table, summary_table

    table, box = require("rich.table", "harness"), require("rich.box", "harness")
    escape = require("rich.markup", "harness").escape
    panel = results[0].panel
    console.print(f"Panel {panel.name}, fingerprint {panel.fingerprint[:12]}", highlight=False)
    parts = [
        (
            "Matched metrics (axes: median [quartiles] over rows of the mean score)",
            summary_table(results, roles),
        ),
        ("Response to actions (agreement: mean over scenarios)", action_table(results, roles)),
        ("Usable horizon, median over seeds (>= : never failed)", horizon_table(results)),
    ]
    for title, (head, body) in parts:
        if not body:
            continue
        grid = table.Table(
            title=escape(title),
            title_justify="left",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            collapse_padding=True,
        )
        for i, name in enumerate(head):
            side = "left" if i in (0, len(head) - 1) else "right"
            grid.add_column(name, justify=side, no_wrap=i == 0)
        for line in body:
            grid.add_row(*map(escape, line))
        console.print(grid)


def console() -> Any:
    """Where to print; of a fixed width where that is no terminal."""
    screen = require("rich.console", "harness").Console()
    if not screen.is_terminal:
        screen.width = _FILE_WIDTH
    return screen


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
