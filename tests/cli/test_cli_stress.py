"""`wmscore stress`: its rungs, its exit codes; and what tables and progress say of any command."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from tests.panels import sprite_panel
from wmscore.cli import main
from wmscore.cli.complete import complete_files
from wmscore.cli.output import print_table
from wmscore.cli.progress import Ticker

STRESS = ["stress", "panel.json", "--model", "frozen"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    axes = [{"axis": "perceptual_drift", "threshold": 0.6}]
    sprite_panel(scenarios=2, seeds=1, horizon=4, size=16, axes=axes).save("panel.json")


def test_where_no_rung_can_be_judged_it_is_undecided(capsys: pytest.CaptureFixture[str]) -> None:
    """Two scenarios cannot show a loss; rungs rise, each once, however they are asked for."""
    rungs = [word for n in ("2", "1", "2") for word in ("--severity", n)]
    assert main([*STRESS, "--stressor", "blur", *rungs, "--json"]) == 3
    found = json.loads(capsys.readouterr().out)["models"]["frozen"]["rungs"]
    assert [rung["severity"] for rung in found] == [1, 2]
    assert [rung["broken"] for rung in found] == [None, None]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["stress"], "PANEL: expected a panel"),
        (["stress", "panel.json"], "--model: expected at least one"),
        (
            [*STRESS, "--stressor", "blur", "--stressor", "noise", "--severity", "1"],
            "expected NAME=NUMBER where there are several",
        ),
        (
            [*STRESS, "--stressor", "blur", "--severity", "noise=1"],
            "expected one of ['blur'] before '=', got 'noise'",
        ),
        (
            [*STRESS, "--stressor", "blur", "--severity", "blur=much"],
            "expected a number, got 'much'",
        ),
        ([*STRESS, "--out", "panel.json"], "--out: expected a folder, got the file"),
    ],
)
def test_mistakes_say_what_was_expected(
    words: Sequence[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(list(words)) == 2
    assert message in capsys.readouterr().err


def test_the_list_says_what_this_panel_cannot_be_put_under(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["stress", "panel.json", "--list", "--json"]) == 0
    listed = {one["name"]: one for one in json.loads(capsys.readouterr().out)["stressors"]}
    assert listed["blur"]["applicable"] is True
    assert listed["prompt-paraphrase"]["applicable"] is False
    assert main(["stress", "panel.json", "--list"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"Not prompt-paraphrase on this panel: {listed['prompt-paraphrase']['why']}" in said
    assert "Not blur" not in said


def test_the_time_that_is_left_is_told_by_what_this_run_has_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """30 of 100 were there before; 10 more took 20 seconds, so that 60 more take two minutes."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Ticker() as ticker:
        ticker.report("model", 30, 100)
        capsys.readouterr()
        for seconds, done in ((1, 31), (20, 40), (140, 100)):
            now[0] = 100.0 + seconds
            ticker.report("model", done, 100)
    assert capsys.readouterr().out.splitlines() == [
        "model: 40 of 100 rows, 0:20, 2:00 left",
        "model: 100 of 100 rows, 2:20",
    ]


def test_names_are_no_markup_in_tables() -> None:
    file = io.StringIO()
    screen = Console(file=file, width=80)
    print_table(screen, "a [red]title", ["[bold]model", "n"], [["[blink]x[/blink]", "[/]"]])
    for text in ("a [red]title", "[bold]model", "[blink]x[/blink]", "[/]"):
        assert text in file.getvalue()


def test_hidden_files_are_completed_where_they_are_asked_for() -> None:
    Path(".hidden").touch()
    assert complete_files("") == ["panel.json"]
    assert complete_files(".h") == [".hidden"]
