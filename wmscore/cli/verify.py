"""`wmscore verify`: whether an evidence folder is what was written."""

from __future__ import annotations

from typing import Annotated

import typer

from wmscore.cli.answers import Answer
from wmscore.cli.complete import complete_files
from wmscore.cli.options import JsonFlag
from wmscore.cli.reading import import_from_here

__all__ = ["verify"]


def verify(
    evidence: Annotated[
        str,
        typer.Argument(
            metavar="EVIDENCE",
            help="evidence folder",
            autocompletion=complete_files,
            show_default=False,
        ),
    ],
    world: Annotated[
        bool,
        typer.Option(
            "--world",
            help="also render the true world again, and compare it with the references of traces",
        ),
    ] = False,
    as_json: JsonFlag = False,
) -> Answer:
    """Check an evidence folder: hashes, and every number recomputed from scores and traces.

    Exit codes: 0 sound; 1 something is wrong, each said with its file; 2 it is no evidence folder.
    """
    from pathlib import Path

    from wmscore.evidence.verification import verify_evidence
    from wmscore.manifest import Panel
    from wmscore.worlds.load import load_world

    folder = Path(evidence)
    if not folder.is_dir():
        raise ValueError(f"EVIDENCE: expected an evidence folder, got {evidence}")
    true = None
    if world:
        import_from_here()
        true = load_world(Panel.load(folder / "manifest.json"))
    found = verify_evidence(folder, world=true)

    def show() -> None:
        for line in found.checked:
            print(line)
        for line in found.unchecked:
            print(f"Not checked: {line}")
        for line in found.problems:
            print(f"Problem: {line}")
        print("Sound." if found.sound else f"Not sound: {len(found.problems)} problems.")

    return Answer({"evidence": evidence, **found.to_json()}, show, 0 if found.sound else 1)
