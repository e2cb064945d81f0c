"""docs/attribution.md and docs/reset-consistency.md: code runs, tables are the study's."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from attribution_study import tables

from tests.document_blocks import blocks, run_block

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("name", ["attribution", "reset-consistency"])
def test_code_runs_as_shown(name: str) -> None:
    text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    shown = sum(run_block(block, {}, name) for block in blocks(text, "python"))
    assert shown >= 1


def test_tables_are_those_of_the_study() -> None:
    text = (DOCS / "attribution.md").read_text(encoding="utf-8")
    study = json.loads((DOCS / "attribution-study.json").read_text(encoding="utf-8"))
    for name, table in tables(study).items():
        found = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- end -->", text, re.DOTALL)
        assert found is not None
        assert found.group(1) == table


def test_the_study_is_as_large_as_it_says_and_meets_its_targets() -> None:
    study = json.loads((DOCS / "attribution-study.json").read_text(encoding="utf-8"))
    full = [r for r in study["records"] if r["withheld"] == "nothing"]
    for stage in ("evaluation", "perception", "control", "representation", "dynamics", "planning"):
        some = [r for r in full if r["stage"] == stage]
        wrong = right = open_ = 0
        for record in some:
            right += record["causes"].get(stage, 0)
            open_ += record["causes"].get("undetermined", 0)
            wrong += sum(
                n
                for cause, n in record["causes"].items()
                if cause not in ("none", "undetermined", stage)
            )
        total = right + open_ + wrong
        assert (right + open_) / total >= 0.9, stage
        assert wrong / total <= 0.02, stage
        assert open_ / total <= 0.25, stage
