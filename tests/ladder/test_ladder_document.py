"""docs/stress-ladder.md: what is shown runs, and is what it says."""

from __future__ import annotations

import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

from tests.document_blocks import blocks, run_block
from wmscore.cli.app import read_command
from wmscore.ladder import Rung, StressorSummary

DOCUMENT = (Path(__file__).parents[2] / "docs" / "stress-ladder.md").read_text(encoding="utf-8")


def test_examples_say_what_they_show() -> None:
    names: dict[str, Any] = {"__name__": "document"}
    shown = sum(
        run_block(block, names, f"docs/stress-ladder.md, block {number}")
        for number, block in enumerate(blocks(DOCUMENT, "python"))
    )
    assert shown == 16


def test_every_field_is_explained() -> None:
    known = {"stressor", "severity", "unit", "index", "panel", "horizon"}
    names = {f.name for kind in (Rung, StressorSummary) for f in fields(kind)} - known
    assert [name for name in sorted(names) if f"`{name}`" not in DOCUMENT] == []


def test_commands_parse() -> None:
    (block,) = blocks(DOCUMENT, "sh")
    for line in block.splitlines():
        read_command(shlex.split(line, comments=True)[1:])
