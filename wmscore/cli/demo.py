"""`wmscore demo`: the packaged panel, from replay to evidence."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from wmscore.cli.answers import Answer
from wmscore.cli.complete import complete_files
from wmscore.cli.options import BatchSize, Device, JsonFlag
from wmscore.cli.output import console, print_results, progress_bar
from wmscore.cli.reading import check_device
from wmscore.cli.results import results_document

__all__ = ["demo"]


def demo(
    panel: Annotated[
        Literal["vizdoom", "sprites"] | None,
        typer.Option("--panel", help="default: what is installed"),
    ] = None,
    out: Annotated[
        str,
        typer.Option(
            "--out", metavar="FOLDER", help="evidence folder", autocompletion=complete_files
        ),
    ] = "evidence",
    device: Device = "cpu",
    batch_size: BatchSize = 8,
    as_json: JsonFlag = False,
) -> Answer:
    """Replay a packaged panel and write its evidence folder."""
    from wmscore.demo import ROLES, demo_panel, run_demo
    from wmscore.manifest import Panel

    check_device(device)
    progress = progress_bar()
    start = time.perf_counter()
    with progress:
        tasks: dict[str, Any] = {}

        def report(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=total)
            progress.update(tasks[name], completed=done, total=total)

        results, traces = run_demo(
            out,
            panel=Panel.packaged(panel) if panel else demo_panel(),
            device=device,
            batch_size=batch_size,
            report=report,
        )
    seconds = time.perf_counter() - start

    def show() -> None:
        screen = console()
        print_results(screen, results, ROLES)
        screen.print(f"{seconds:.0f} s. Evidence: {out}")
        for trace in traces:
            screen.print(f"  traces/{trace.name}.png: {trace.why}", highlight=False)
        screen.print(f"  postmortem: {Path(out) / 'postmortem.md'}")

    document = results_document(results, ROLES)
    return Answer({"evidence": out, "seconds": round(seconds, 1), **document}, show)
