"""Notebooks run, without Jupyter, and say what they show."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from run_notebook import code_cells, run_cells

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def load(path: Path) -> dict[str, Any]:
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return notebook


def printed(notebook: dict[str, Any]) -> str:
    outputs = (output for cell in code_cells(notebook) for output in cell["outputs"])
    return "".join("".join(output.get("text", ())) for output in outputs)


def run(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    notebook, names = load(path), {"__name__": "__main__"}
    run_cells(notebook, names, where=path.name)
    return notebook, names


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_there_and_private_to_nobody(path: Path) -> None:
    notebook = load(path)
    assert all(cell["execution_count"] for cell in code_cells(notebook))
    assert any("image/png" in o.get("data", ()) for c in code_cells(notebook) for o in c["outputs"])
    text = "".join("".join(cell["source"]) for cell in notebook["cells"]) + printed(notebook)
    assert not re.search(r"(^|[\s\"'(])/(home|tmp|root|work|Users)/", text)
    assert path.stat().st_size < 700_000


@pytest.mark.slow
def test_action_response_recovers_what_is_injected() -> None:
    path = FOLDER / "action_response.ipynb"
    notebook, names = run(path)
    numbers = [re.findall(r"-?\d+\.?\d*", printed(n)) for n in (load(path), notebook)]
    assert len(numbers[0]) == len(numbers[1])
    shown, found = ([float(number) for number in some] for some in numbers)
    assert found == pytest.approx(shown, abs=0.01)

    for injected, lag in zip(names["delays"], names["late"], strict=True):
        of_rows = lag.rollouts.lag[lag.rollouts.lag.isfinite()]
        assert int(lag.pooled.lag) == injected
        assert len(of_rows) >= 30
        assert float((of_rows == injected).double().mean()) >= 0.99
    for injected, lag in zip(names["gains"], names["scaled"], strict=True):
        assert float(lag.pooled.gain) == pytest.approx(injected, rel=0.1)
    for score in names["scores"]:
        means = [float(result[score].mean()) for result in names["noisy"]]
        assert means == sorted(means, reverse=True)
        for floor in ("frozen", "action-blind"):
            assert abs(float(names["lines"][f"floor: {floor}"][score].mean())) < 0.02
    blind, shuffled = (names["lines"][f"floor: {n}"] for n in ("action-blind", "shuffled scripts"))
    assert float(blind["agreement"].abs().max()) == 0
    half = 2.2 * float(shuffled["agreement"].std()) / len(shuffled["agreement"]) ** 0.5
    assert abs(float(shuffled["agreement"].mean())) < half


@pytest.mark.vizdoom
def test_lab_39_says_what_it_shows() -> None:
    pytest.importorskip("vizdoom")
    path = FOLDER / "lab_39.ipynb"
    notebook, names = run(path)
    numbers = [re.findall(r"(?<![0-9a-f])\d+\.\d+", printed(n)) for n in (load(path), notebook)]
    assert len(numbers[0]) == len(numbers[1])
    shown, found = ([float(number) for number in some] for some in numbers)
    assert found == pytest.approx(shown, abs=0.02)
    lines = printed(notebook)
    assert re.search(r"^simulator .*: accept$", lines, re.MULTILINE)
    assert re.search(r"^linear-latent .*: reject$", lines, re.MULTILINE)
    verdicts = names["verdicts"]
    assert verdicts["linear-latent"].cause == "perception"
    assert verdicts["flow-net"].cause == "undetermined"
    assert verdicts["flow-net"].settles
    assert names["ladder"].models["flow-net"].first_break["stressor"] == "occlusion"
