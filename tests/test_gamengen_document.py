"""docs/gamengen-protocol.md: what is shown runs, and is what it says."""

from __future__ import annotations

import shlex
from pathlib import Path

from tests.document_blocks import blocks, run_block
from wmscore.cli.app import read_command

DOCUMENT = Path(__file__).parents[1] / "docs" / "gamengen-protocol.md"


def test_its_code_runs() -> None:
    (block,) = blocks(DOCUMENT.read_text(encoding="utf-8"), "python")
    assert run_block(block, {}, "docs/gamengen-protocol.md") == 2


def test_its_command_is_one() -> None:
    (block,) = blocks(DOCUMENT.read_text(encoding="utf-8"), "sh")
    name, options = read_command(shlex.split(block)[1:])
    assert name == "protocol"
    assert [options[k] for k in ("name", "panel", "lpips")] == ["gamengen", "vizdoom", "alex"]
