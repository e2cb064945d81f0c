"""`wmscore report`: the page of an evidence folder, made anew."""

from __future__ import annotations

from typing import Annotated

import typer

from wmscore.cli.answers import Answer
from wmscore.cli.complete import complete_files
from wmscore.cli.options import JsonFlag

__all__ = ["report"]


def report(
    evidence: Annotated[
        str,
        typer.Argument(
            metavar="EVIDENCE",
            help="evidence folder",
            autocompletion=complete_files,
            show_default=False,
        ),
    ],
    as_json: JsonFlag = False,
) -> Answer:
    """Write report.html of an evidence folder anew, from its files alone."""
    from wmscore.evidence.report import write_report

    path = write_report(evidence)
    return Answer(
        {"report": str(path), "bytes": path.stat().st_size}, lambda: print(f"Report: {path}")
    )
