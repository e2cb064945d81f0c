"""docs/pixel-metrics.md holds the numbers that the installed libraries give."""

import re
from pathlib import Path

import pytest

from tools.compare_definitions import TABLES, rows_of

DOCUMENT = (Path(__file__).parents[1] / "docs" / "pixel-metrics.md").read_text(encoding="utf-8")
PEERS = ("kornia", "pyiqa")  # not installed with the tests: their rows may go unchecked


def numbers(cells: list[str]) -> list[str]:
    return re.findall(r"-?\d+\.\d+|inf|nan|refused", " ".join(cells))


@pytest.mark.parametrize("name", TABLES)
def test_numbers_are_those_of_the_libraries(name: str):
    """Within one and a half of the last digit shown: machines round differently."""
    shown, computed = rows_of(DOCUMENT, name), TABLES[name].rows()
    absent = shown.keys() - computed.keys()
    assert all(row.startswith(PEERS) for row in absent)
    assert len(computed) >= 4
    for row, cells in computed.items():
        assert row in shown, f"write the document anew: {row!r} is missing"
        pairs = list(zip(numbers(shown[row]), numbers(cells), strict=True))
        assert pairs
        for old, new in pairs:
            if "." in old:
                unit = 10.0 ** -len(old.partition(".")[2])
                assert float(new) == pytest.approx(float(old), abs=1.5 * unit, rel=0), row
            else:
                assert new == old, row
