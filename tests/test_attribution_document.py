"""docs/attribution.md and docs/reset-consistency.md run; the tables of attribution are measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from attribution_study import ADAPTER, EVALUATION, MIXTURES, PLANNING
from attribution_tables import of_faults, of_stages, tables
from document_tables import with_table

from tests.document_blocks import blocks, run_block
from wmscore.attribution import STAGES
from wmscore.testing.staged import STAGE_FAULTS

DOCS = Path(__file__).parents[1] / "docs"
VALIDITY = (DOCS / "attribution-validity.md").read_text("utf-8")
STUDY, BOXES = (
    json.loads((DOCS / f"attribution-{name}.json").read_text("utf-8"))
    for name in ("study", "blackbox")
)
RECORDS: list[dict[str, Any]] = STUDY["records"]


@pytest.mark.parametrize(("name", "values"), [("attribution", 7), ("reset-consistency", 1)])
def test_code_runs_as_shown(name: str, values: int, capsys: pytest.CaptureFixture[str]) -> None:
    text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    shown = sum(run_block(block, {}, name) for block in blocks(text, "python"))
    assert shown >= values
    if name == "attribution":
        (printed,) = blocks(text, "text")
        assert capsys.readouterr().out == printed


@pytest.mark.parametrize("name", list(tables(STUDY, BOXES)))
def test_tables_are_those_of_the_studies(name: str) -> None:
    assert with_table(VALIDITY, name, tables(STUDY, BOXES)[name]) == VALIDITY


def test_every_fault_was_tried_often_enough() -> None:
    found = of_faults(RECORDS)
    assert set(found) == {*STAGE_FAULTS, *EVALUATION, *ADAPTER, *PLANNING}
    for kind, counts in found.items():
        assert counts.rollouts >= 500, kind
    assert {r["fault"] for r in RECORDS if "right" in r} == set(MIXTURES)


def test_sound_rollouts_have_no_cause() -> None:
    """Conformal, alpha 1 %: that share of them may fail, and is then given one."""
    (sound,) = [r for r in RECORDS if r["fault"] == "none" and r["withheld"] == "nothing"]
    assert sound["rollouts"] >= 500
    assert sound["causes"]["none"] >= 0.97 * sound["rollouts"]
    assert sound["causes"]["none"] == sound["rollouts"] - sound["failed"]


@pytest.mark.parametrize("stage", STAGES)
def test_targets_are_met_for_every_stage(stage: str) -> None:
    counts = of_stages(RECORDS)[stage]
    assert counts.right + counts.undetermined >= 0.9 * counts.failed
    assert counts.wrong <= 0.02 * counts.failed
    assert counts.undetermined <= 0.25 * counts.failed


@pytest.mark.parametrize(
    ("withheld", "silent"),
    [
        ("reconstruction", ("perception", "representation", "dynamics")),
        ("latents", ("representation", "dynamics")),
        ("true world", ("perception", "control", "representation", "dynamics")),
        ("all but rollouts", ("perception", "control", "representation", "dynamics")),
    ],
)
def test_what_is_withheld_makes_it_silent_and_not_wrong(
    withheld: str, silent: tuple[str, ...]
) -> None:
    for stage, counts in of_stages(RECORDS, withheld).items():
        if stage in silent:
            assert counts.undetermined == counts.failed, stage
        # Its regret is withheld too, or it is the one mistake that is told of below.
        elif (stage, withheld) not in (
            ("planning", "all but rollouts"),
            ("evaluation", "reconstruction"),
        ):
            assert counts.wrong <= 0.02 * counts.failed, stage


def test_a_late_recording_without_a_reconstruction_is_the_mistake_that_is_left() -> None:
    found = of_faults(RECORDS, "reconstruction")
    wrong = {f: t.wrong for f, t in found.items() if t.wrong > 0.02 * t.failed}
    assert wrong == {"adapter-late": 214}
    assert "214 of 540" in VALIDITY
    assert of_faults(RECORDS)["adapter-late"].wrong == 0


def test_black_boxes_are_named_at_most_what_can_be_seen() -> None:
    for record in BOXES["records"]:
        if record["named"]:
            assert set(record["causes"]) <= {record["named"], "none", "undetermined"}, record
        assert set(record["without_true_world"]) <= {"none", "undetermined", "evaluation"}
