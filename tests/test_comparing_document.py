"""docs/comparing.md: its commands print what is shown, its code says what it shows."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.document_blocks import assert_holds_text, blocks, run_block
from tools.document_tables import rows_of
from wmscore.cli import main
from wmscore.cli.app import read_command

DOCS = Path(__file__).parents[1] / "docs"
DOCUMENT = (DOCS / "comparing.md").read_text(encoding="utf-8")
PYTHON = blocks(DOCUMENT, "python")
CODES = {"compare evidence-new evidence-third --gate 5%": 3}  # others exit with 0
ELSEWHERE = ("evidence-released", "evidence-again")


def commands() -> list[str]:
    lines = "\n".join([*blocks(DOCUMENT, "sh"), *blocks(DOCUMENT, "yaml")]).splitlines()
    lines = [line.removeprefix("- run: ").partition("#")[0].partition("||")[0] for line in lines]
    return [line.removeprefix("wmscore ").strip() for line in lines if line.startswith("wmscore ")]


def test_commands_parse() -> None:
    assert len(commands()) >= 13
    for command in commands():
        read_command(shlex.split(command))


def test_commands_and_code_say_what_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the models to the comparison, as a reader would."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))  # commands put the folder into it
    monkeypatch.delitem(sys.modules, "my_model", raising=False)
    (tmp_path / "my_model.py").write_text(PYTHON[0], encoding="utf-8")
    shown = blocks(DOCUMENT, "text")
    done: set[str] = set()
    for command in commands():
        if command in done or "panel.json" in command or any(n in command for n in ELSEWHERE):
            continue
        done.add(command)
        assert main(shlex.split(command)) == CODES.get(command, 0), command
        printed = capsys.readouterr().out
        if command.startswith(("compare", "aa")):
            assert_holds_text(printed, shown.pop(0))
    del sys.modules["my_model"]
    assert not shown
    names: dict[str, Any] = {}
    held = [run_block(block, names, "docs/comparing.md") for block in PYTHON[1:]]
    assert held[0] >= 6
    assert held[1] >= 10
    assert (tmp_path / "comparison.json").exists()
    assert "noisy-actions-0.05 is usable for 7.0 steps more" in capsys.readouterr().out


def test_habits_err_as_often_as_measured() -> None:
    """Against the table of the document that measures them."""
    measured = rows_of((DOCS / "comparison-validity.md").read_text(encoding="utf-8"), "null")

    def ends(start: str) -> list[int]:
        (row,) = (cells for name, cells in measured.items() if name.startswith(start))
        return [round(float(n)) for n in re.findall(r"\d+\.\d+", row[-1])]

    habits = DOCUMENT.partition("## What goes wrong elsewhere")[2].partition("\n## ")[0]
    assert f"up to {ends('bootstrap of pairs')[1]} % of panels" in habits
    for name in ("percentile bootstrap of scenarios", "log-rank, with v", "log-rank in strata"):
        low, high = ends(name)
        assert f"{low} to {high} %" in habits, name
