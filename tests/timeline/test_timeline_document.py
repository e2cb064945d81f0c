"""docs/timeline.md: what is shown runs, and is what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import wmscore.timeline
from tests.document_blocks import blocks, run_block

DOCUMENT = (Path(__file__).parents[2] / "docs" / "timeline.md").read_text(encoding="utf-8")
# Not converters, and told of elsewhere.
OTHERS = {"align", "unalign", "gather_losses", "minecraft_space", "motion_space", "vector_space"}


def test_examples_say_what_they_show(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    shown = sum(
        run_block(block, names, f"docs/timeline.md, block {number}")
        for number, block in enumerate(blocks(DOCUMENT, "python"))
    )
    assert shown == 15
    assert capsys.readouterr().out == "".join(blocks(DOCUMENT, "text"))


def test_every_converter_is_in_the_table() -> None:
    rows = re.findall(r"^\| ([^|]+) \| ([^|]*) \| ([^|]*) \| ([^|]+) \|$", DOCUMENT, re.MULTILINE)
    told = {name for row in rows for name in re.findall(r"`(\w+)", row[1] + row[2])}
    exported = {
        name
        for name in wmscore.timeline.__all__
        if name.startswith(("To", "read_", "write_", "Motion", "Keys", "vpt_"))
        or name in ("ByTable", "ByName", "NearestAction", "SameVector", "Resample")
    } - OTHERS
    assert exported - told == set()


def test_columns_of_the_table_are_told_apart() -> None:
    """Each row of formats names a loss, or says that there is none."""
    section = DOCUMENT.split("## What each format loses")[1].split("\n\nA `Loss`")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == 17
    for row in rows:
        *_, loss = row.strip("| ").split(" | ")
        assert re.search(r"nothing|dropped|rounded|clipped|merged|approximate", loss), row
