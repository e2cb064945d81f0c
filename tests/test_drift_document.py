"""docs/drift.md holds what the drift summaries say about known drifts and about noise."""

import re
from pathlib import Path

import pytest

from tools.drift_suite import HEADS, LENGTHS, false_alarms, rows_of, suite
from wmscore import functional

DOCUMENT = (Path(__file__).parents[1] / "docs" / "drift.md").read_text(encoding="utf-8")


def numbers(cells: list[str]) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", " ".join(cells))]


def test_false_alarms_are_measured() -> None:
    """Curves are drawn from a seed: within what another generator's curves would differ by."""
    shown = rows_of(DOCUMENT, "false-alarms")
    assert list(shown) == [str(steps) for steps in LENGTHS]
    measured = false_alarms(LENGTHS[:3])  # longer ones take a while
    for steps, cells in measured.items():
        assert numbers(cells) == pytest.approx(numbers(shown[steps]), abs=1.0)
    given = [numbers(cells)[1::2] for cells in shown.values()]
    estimated = [numbers(cells)[::2] for cells in shown.values()]
    assert max(row[0] for row in estimated) <= 1.0
    assert max(max(row) for row in given) <= 2.0
    assert max(max(row) for row in estimated) <= 13


def test_the_suite_is_measured() -> None:
    shown, measured = rows_of(DOCUMENT, "suite"), suite()
    assert shown.keys() == measured.keys()
    for name, cells in measured.items():
        assert len(shown[name]) == len(cells) == len(HEADS["suite"]) - 1
        assert numbers(cells) == pytest.approx(numbers(shown[name]), abs=0.015), name


def test_the_suite_says_what_the_text_says() -> None:
    rows = {name.partition(":")[0]: cells for name, cells in rows_of(DOCUMENT, "suite").items()}
    heads = HEADS["suite"][1:]
    table = {name: dict(zip(heads, cells, strict=True)) for name, cells in rows.items()}
    collapse, phase = table["collapse"], table["phase"]
    assert abs(float(collapse["end drift"])) < 0.01 < float(collapse["segment drift"]) - 0.5
    assert abs(float(collapse["slope per 100 steps"])) < 0.01
    assert (collapse["drifts"], collapse["onset to end"]) == ("0 of 4", "-")
    assert collapse["worst of 8"] in ("4", "5")
    assert float(phase["mean within 3 steps"]) < 0.01 < float(phase["mean distance"]) - 0.2
    assert float(table["frozen"]["mean score"]) == 0
    assert table["step"]["onset to end"] == "33 to 33"
    assert table["late dip"]["onset to end"] == "57 to 57"
    start = int(table["ramp"]["onset to end"].split()[0])
    assert 17 <= start <= 22


def test_the_functions_exist() -> None:
    names = re.findall(r"\| `(\w+)` \|", DOCUMENT)
    assert len(names) == 11
    assert all(callable(getattr(functional, name)) for name in names)
