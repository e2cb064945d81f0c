"""docs/action-response.md: what is shown runs, and says what the text says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from document_tables import rows_of
from response_peers import HEAD, peer_rows

from wmscore import functional
from wmscore.functional import Reason
from wmscore.manifest import AXIS_MEASURES, Panel

DOCUMENT = (Path(__file__).parents[1] / "docs" / "action-response.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)


def test_examples_run() -> None:
    """They belong together: later ones use names of earlier ones."""
    names: dict[str, Any] = {}
    for number, block in enumerate(BLOCKS):
        exec(compile(block, f"docs/action-response.md, block {number}", "exec"), names)
    late = names["late"]
    assert int(late.excess.pooled.lag) == 2
    assert float(late.excess.pooled.p_value) == 0.001
    assert int(late.reference.pooled.lag) == 0
    assert late.excess.rollouts.lag.isnan()[1::4].all()  # no-op
    assert float(names["ceiling"].score) > 0.95
    assert float(names["recovery"].score) < 0.3
    assert all(len(scenario.scripts) == 11 for scenario in names["panel"].scenarios)
    assert isinstance(names["panel"], Panel)


def test_names_exist() -> None:
    head = DOCUMENT.partition("```python")[0]
    functions = re.findall(r"^\| [^|]+ \| `(\w+)", head, re.MULTILINE)
    assert len(functions) >= 8
    assert all(callable(getattr(functional, name)) for name in functions)
    measures = set(re.findall(r"^\| `(\w+)` \| ", DOCUMENT, re.MULTILINE))
    assert set(AXIS_MEASURES["action_response"]) <= measures
    reasons = DOCUMENT.partition("## Undefined")[2].partition("\n## ")[0]
    codes = re.findall(r"`([A-Z_]{5,})`", reasons)
    assert len(codes) >= 14
    assert all(code in Reason.__members__ for code in codes)


def numbers(cells: list[str]) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", " ".join(cells))]


def test_what_fools_other_tools_is_measured() -> None:
    shown, measured = rows_of(DOCUMENT, "peers"), peer_rows()
    assert shown.keys() == measured.keys()
    for name, cells in measured.items():
        assert len(cells) == len(HEAD) - 1
        assert [cell == "none" for cell in cells] == [cell == "none" for cell in shown[name]]
        assert numbers(cells) == pytest.approx(numbers(shown[name]), abs=0.11), name


def test_the_table_says_what_the_text_says() -> None:
    table = {
        name: dict(zip(HEAD[1:], cells, strict=True))
        for name, cells in rows_of(DOCUMENT, "peers").items()
    }
    true = table["the world itself"]
    assert true["agreement"] == true["recovered"] == true["motion"] == "1.00"
    frozen = table["frozen"]
    assert frozen["accuracy"] == "0.76"
    assert frozen["recovered"] == frozen["agreement"] == frozen["motion"] == "0.00"
    for name in ("half the motion", "mirrored controls", "permuted controls"):
        assert table[name]["similarity"] == "0.1 px"
        assert float(table[name]["agreement"]) < 0.5
    assert table["half the motion"]["gain"] == "0.50"
    assert table["mirrored controls"]["gain"] == "-1.00"
    backwards = table["time reversed"]
    assert float(backwards["Hausdorff"].split()[0]) < 0.1 * float(frozen["Hausdorff"].split()[0])
    assert float(backwards["agreement"]) < 0.2
    assert table["another script of its group"]["diversity"] == true["diversity"]
    assert float(table["another script of its group"]["agreement"]) < 0
    assert table["half speed"]["delay"] == "none"
