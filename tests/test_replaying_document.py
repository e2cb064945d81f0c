"""docs/replaying.md: what is shown runs, and is what it says."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.document_blocks import blocks, run_block
from wmscore.cli.app import read_command

DOCUMENT = (Path(__file__).parents[1] / "docs" / "replaying.md").read_text(encoding="utf-8")


def test_examples_say_what_they_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "document"}
    shown = sum(
        run_block(block, names, f"docs/replaying.md, block {number}")
        for number, block in enumerate(blocks(DOCUMENT, "python"))
    )
    assert shown == 9


def test_commands_parse() -> None:
    (block,) = blocks(DOCUMENT, "sh")
    for line in block.splitlines():
        read_command(shlex.split(line, comments=True)[1:])
