"""docs/horizon.md: what is shown runs, and is what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import wmscore
from tests.document_blocks import blocks, run_block

DOCUMENT = (Path(__file__).parents[1] / "docs" / "horizon.md").read_text(encoding="utf-8")


def test_examples_say_what_they_show(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    shown = sum(
        run_block(block, names, f"docs/horizon.md, block {number}")
        for number, block in enumerate(blocks(DOCUMENT, "python"))
    )
    assert shown >= 24
    (printed,) = blocks(DOCUMENT, "text")
    assert capsys.readouterr().out == printed


def test_functions_exist() -> None:
    names = re.findall(r"^\| [^|]+ \| `([\w.]+)` \|", DOCUMENT, re.MULTILINE)
    assert len(names) == 10
    for name in names:
        found: Any = wmscore
        for part in name.split("."):
            found = getattr(found, part)
        assert callable(found)
