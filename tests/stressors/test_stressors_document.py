"""docs/stressors.md: what is shown runs and is what it says; the table is of what there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.document_blocks import blocks, run_block
from tools.document_tables import rows_of
from wmscore.stressors import all_stressors

DOCUMENT = (Path(__file__).parents[2] / "docs" / "stressors.md").read_text(encoding="utf-8")


def test_examples_say_what_they_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "document"}
    shown = sum(
        run_block(block, names, f"docs/stressors.md, block {number}")
        for number, block in enumerate(blocks(DOCUMENT, "python"))
    )
    assert shown == 13


def test_the_table_has_each_stressor_with_its_unit_and_ladder() -> None:
    rows = rows_of(DOCUMENT, "stressors")
    assert list(rows) == [stressor.name for stressor in all_stressors()]
    for stressor in all_stressors():
        unit, ladder = rows[stressor.name][-2:]
        assert unit == stressor.unit
        assert ladder == ", ".join(f"{severity:g}" for severity in stressor.severities)
        assert list(stressor.severities) == sorted(stressor.severities)
        assert len(stressor.severities) <= 5
