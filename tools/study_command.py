"""The command line of a study: run it or read what it found; tables to a document, a figure."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from document_tables import with_table

__all__ = ["run_study"]


def run_study(
    parser: argparse.ArgumentParser,
    study: Callable[[argparse.Namespace], Any],
    tables: Callable[[Any], dict[str, str]],
    write_figure: Callable[[Path, Any], None],
) -> None:
    """Add the options that studies share, and do what they ask.

    Args:
        parser: with the study's own options.
        study: what it finds, as plain data.
        tables: of what it found, by the name that they have in the document.
        write_figure: to a file.
    """
    parser.add_argument("--json", type=Path, help="write what was found")
    parser.add_argument("--tables", type=Path, help="read that instead of running")
    parser.add_argument("--write", type=Path, help="document whose tables to replace")
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.tables:
        found = json.loads(options.tables.read_text(encoding="utf-8"))
    else:
        found = study(options)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    made = tables(found)
    if options.write:
        text = options.write.read_text(encoding="utf-8")
        for name, table in made.items():
            text = with_table(text, name, table)
        options.write.write_text(text, encoding="utf-8")
    else:
        print("\n\n".join(f"{name}\n{table}" for name, table in made.items()))
    if options.figure:
        write_figure(options.figure, found)
