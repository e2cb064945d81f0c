"""docs/calibration.md holds how often perfect rollouts fail, as it is measured."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools.calibration_study import ALPHA, HEADS, TABLES, rows_of

DOCUMENT = (Path(__file__).parents[1] / "docs" / "calibration.md").read_text(encoding="utf-8")


def numbers(cells: list[str]) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", " ".join(cells))]


@pytest.mark.parametrize("name", list(TABLES))
def test_tables_are_measured(name: str) -> None:
    """With fewer calibrations, so within their error."""
    shown, measured = rows_of(DOCUMENT, name), TABLES[name](150)
    assert shown.keys() == measured.keys()
    for row, cells in measured.items():
        assert len(shown[row]) == len(cells) == len(HEADS[name]) - 1
        # The hardest of eight scenarios varies most.
        slack = 0.045 if name == "panels" else 0.05 if "threshold" in HEADS[name][-1] else 0.017
        assert numbers(cells) == pytest.approx(numbers(shown[row]), abs=slack), row


def test_tables_say_what_the_text_says() -> None:
    for cells in rows_of(DOCUMENT, "scenarios").values():
        chosen, once, pooled, worst = (numbers([cell])[0] for cell in cells)
        assert chosen <= ALPHA
        assert once <= ALPHA + 0.005
        assert worst <= chosen
        assert pooled > 0.045
    assert numbers([rows_of(DOCUMENT, "scenarios")["20 x 8"][2]])[0] > ALPHA
    for cells in rows_of(DOCUMENT, "joint").values():
        each, jointly = (numbers([cell])[0] for cell in cells[:2])
        assert each <= jointly <= ALPHA
        assert float(cells[2]) <= float(cells[3])
    panels = [numbers([cell])[0] for cell in rows_of(DOCUMENT, "panels")["95%"]]
    assert panels[0] <= ALPHA < panels[2] < panels[1]
