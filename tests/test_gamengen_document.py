"""docs/gamengen-protocol.md: what is shown runs, and is what it says."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from tests.document_blocks import blocks, run_block
from wmscore.cli import build_parser

DOCUMENT = Path(__file__).parents[1] / "docs" / "gamengen-protocol.md"


def test_its_code_runs() -> None:
    (block,) = blocks(DOCUMENT.read_text(encoding="utf-8"), "python")
    assert run_block(block, {}, "docs/gamengen-protocol.md") == 2


def test_its_command_is_one() -> None:
    (block,) = blocks(DOCUMENT.read_text(encoding="utf-8"), "sh")
    args = build_parser().parse_args(shlex.split(block)[1:])
    assert isinstance(args, argparse.Namespace)
    assert (args.protocol, args.panel, args.lpips) == ("gamengen", "vizdoom", "alex")
