"""docs/recorded.md: what is shown runs, and is what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import wmscore.episodes
import wmscore.timeline
from tests.document_blocks import blocks, run_block

DOCUMENT = (Path(__file__).parents[1] / "docs" / "recorded.md").read_text(encoding="utf-8")

pytest.importorskip("av")


def test_examples_say_what_they_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    shown = sum(
        run_block(block, names, f"docs/recorded.md, block {number}")
        for number, block in enumerate(blocks(DOCUMENT, "python"))
    )
    assert shown == 15


def test_readers_and_alignments_exist() -> None:
    readers = re.findall(r"^\| [^|]+ \| `(\w+)` \|", DOCUMENT, re.MULTILINE)
    assert len(readers) == 6
    for name in readers:
        assert callable(getattr(wmscore.episodes, name))
    named = re.findall(r"^\| `\"(\w+)\"` \|", DOCUMENT, re.MULTILINE)
    assert named == list(wmscore.timeline.Alignment.__args__)  # type: ignore[attr-defined]
