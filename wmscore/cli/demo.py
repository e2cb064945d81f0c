"""`wmscore demo`: the packaged panel, from replay to evidence."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from wmscore.cli.answers import Answer
from wmscore.cli.complete import complete_files
from wmscore.cli.options import BatchSize, Device, JsonFlag
from wmscore.cli.output import STRESS, console, print_results, print_sentences, print_table
from wmscore.cli.progress import Ticker
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
    from wmscore.comparison.report import rolled_out
    from wmscore.demo import ROLES, demo_panel, run_demo
    from wmscore.evidence.stress import stress_table
    from wmscore.manifest import Panel

    check_device(device)
    start = time.perf_counter()
    with Ticker(evidence="parts") as ticker:
        results, traces, ladder = run_demo(
            out,
            panel=Panel.packaged(panel) if panel else demo_panel(),
            device=device,
            batch_size=batch_size,
            report=ticker.report,
        )
    seconds = time.perf_counter() - start

    def show() -> None:
        screen = console()
        print_results(screen, rolled_out(results), ROLES)  # companions are in the report
        if ladder is not None:
            print_table(screen, STRESS, *stress_table(ladder))
            print_sentences(screen, ladder.sentences())
        screen.print(f"{seconds:.0f} s. Evidence: {out}")
        for trace in traces:
            screen.print(f"  traces/{trace.name}.png: {trace.why}", highlight=False)
        screen.print(f"Open {Path(out) / 'report.html'}", highlight=False, soft_wrap=True)

    document = {
        "evidence": out,
        "report": str(Path(out) / "report.html"),
        "seconds": round(seconds, 1),
        **results_document(results, ROLES),
        "ladder": None if ladder is None else ladder.to_json(),
    }
    return Answer(document, show)
