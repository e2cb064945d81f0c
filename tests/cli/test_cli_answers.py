"""Every command with --json: one document, as docs/cli.md says; nothing else on stdout."""

from __future__ import annotations

import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.document_blocks import blocks
from tests.panels import sprite_panel
from wmscore.cli import main
from wmscore.cli.answers import as_text, printable
from wmscore.cli.app import EXIT_CODES, build_app, read_command
from wmscore.cli.commands import COMMANDS
from wmscore.manifest import Panel

DOCUMENT = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
ROOT = str(Path(__file__).parents[2])
NOISY = """
import os
from wmscore.worlds import SpriteWorld

class Noisy(SpriteWorld):
    name = "noisy"

    def rollout(self, items, horizon):
        print("printed by the model")
        os.write(1, b"written past Python\\n")
        return super().rollout(items, horizon)

def model():
    return Noisy(16, 16)
"""


def strict(text: str) -> Any:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def table(heading: str) -> dict[str, str]:
    part = DOCUMENT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", part, re.MULTILINE)
    return {name.strip("`"): text for name, text in rows[2:] if not set(name) <= set("- ")}


def documented_keys(command: str) -> list[str]:
    return re.findall(r"`([^`]+)`", table("JSON")[command])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a panel, rollouts of an anchor and of the truth, and their evidence."""
    folder = tmp_path_factory.mktemp("cli")
    before = Path.cwd()
    os.chdir(folder)
    try:
        axes = [{"axis": "perceptual_drift", "threshold": 0.6}]
        sprite_panel(scenarios=6, seeds=2, horizon=4, size=16, axes=axes).save("panel.json")
        (folder / "noisy_model.py").write_text(NOISY)
        for name in ("frozen", "other-seed"):
            assert main(["replay", "panel.json", "--model", name, "--out", name]) == 0
        assert main(["score", "frozen", "other-seed", "--out", "evidence"]) == 0
    finally:
        os.chdir(before)
    return folder


COMMANDS_RUN: dict[str, tuple[list[str], int]] = {
    "doctor": ([], 0),
    "panel new": (["--from", "panel.json", "--seeds", "1", "--out", "new.json"], 0),
    "panel check": (["panel.json", "--anchors"], 0),
    "check": (["frozen", "--panel", "panel.json", "--resets"], 0),
    "replay": (["panel.json", "--model", "frozen", "--out", "again"], 0),
    "stress": (
        "panel.json --model action-blind --stressor blur --severity 2 --out ladder".split(),
        0,
    ),
    "stress --list": (["panel.json"], 0),
    "report": (["evidence"], 0),
    "verify": (["evidence"], 0),
    "calibrate": (["evidence", "--redraws", "20", "--out", "calibrated.json"], -1),
    "bench": (
        ["--no-plain", "--rows", "1", "--horizon", "4", "--repeats", "1", "--size", "16x24"],
        0,
    ),
    "compare": (["evidence", "evidence", "--model-a", "frozen", "--model-b", "other-seed"], 0),
    "aa": (["evidence", "--model", "other-seed", "--worlds", "500"], -1),
}


@pytest.mark.parametrize("command", COMMANDS_RUN)
def test_one_document_with_the_documented_keys(
    place: Path, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    options, code = COMMANDS_RUN[command]
    got = main([*command.split(), *options, "--json"])
    assert got == code if code >= 0 else got in (0, 1, 3)
    document = strict(capsys.readouterr().out)
    if command not in ("compare", "aa"):
        assert list(document) == documented_keys(command)
    if command == "bench":
        assert document["size"] == [16, 24]  # height and width, as `ingest --size` has them


def test_every_command_has_a_row_and_takes_json() -> None:
    names = [name for panel in COMMANDS.values() for name in panel]
    assert set(table("Commands")) == set(names)
    assert set(table("JSON")) == {*names, "stress --list"}
    for panel in COMMANDS.values():
        for name, function in panel.items():
            assert "as_json" in inspect.signature(function).parameters, name


def test_exit_codes_are_those_of_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert table("Exit codes") == {str(code): text for code, text in EXIT_CODES.items()}
    assert main(["--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    for code, text in EXIT_CODES.items():
        assert f"{code} {text}" in said


def test_commands_of_the_document_parse() -> None:
    lines = [line for block in blocks(DOCUMENT, "sh") for line in block.splitlines()]
    assert len(lines) >= 9
    for line in lines:
        words = shlex.split(line, comments=True)
        assert words[0] == "wmscore"
        assert read_command(words[1:])[0]


def test_what_a_model_prints_goes_to_stderr(place: Path) -> None:
    """Also what goes past Python, as a simulator's C code does."""
    words = ["replay", "panel.json", "--model", "noisy_model:model", "--out", "noisy", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "wmscore", *words],
        capture_output=True,
        text=True,
        cwd=place,
        env={**os.environ, "PYTHONPATH": ROOT},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document = strict(done.stdout)
    assert (document["model"], document["complete"]) == ("noisy", True)
    assert "printed by the model" in done.stderr
    assert "written past Python" in done.stderr


def test_a_mistake_is_a_document_too(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["verify", "nowhere", "--json"]) == 2
    error = strict(capsys.readouterr().out)["error"]
    assert error["command"] == "verify"
    assert "nowhere" in error["message"]
    assert main(["verify", "--json"]) == 2
    assert "Missing argument" in strict(capsys.readouterr().out)["error"]["message"]


def test_a_ladder_goes_into_evidence_and_other_evidence_is_kept_unless_forced(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    words = ["stress", "panel.json", "--model", "frozen", "--stressor", "actuator-delay"]
    assert main([*words, "--severity", "1", "--severity", "2", "--out", "climbed"]) == 0
    assert "all rungs" in capsys.readouterr().out
    ladder = strict(Path("climbed/stress.json").read_text())
    assert [r["severity"] for r in ladder["models"]["frozen"]["rungs"]] == [1, 2]
    assert main([*words, "--out", "evidence"]) == 2
    assert "holds more than a ladder" in capsys.readouterr().err

    shutil.copytree("evidence", "kept")
    assert main(["score", "frozen", "--out", "kept"]) == 2
    assert "other-seed, which is not scored now" in capsys.readouterr().err
    harder = Panel.load("panel.json").with_thresholds({"perceptual_drift": 0.9})
    harder.save("harder.json")
    again = ["score", "frozen", "--panel", "harder.json", "--stress", "climbed", "--out", "kept"]
    assert main(again) == 2
    assert "evidence of the panel" in capsys.readouterr().err
    assert (Path("kept") / "scores" / "other-seed.safetensors").exists()
    assert main([*again, "--force", "--json"]) == 0
    assert list(strict(capsys.readouterr().out)) == documented_keys("score")
    assert strict(Path("kept/stress.json").read_text()) == ladder


def test_verify_finds_a_changed_byte(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    shutil.copytree("evidence", "changed")
    assert main(["verify", "changed"]) == 0
    path = Path("changed/metrics.csv")
    path.write_bytes(path.read_bytes().replace(b"frozen", b"molten", 1))
    capsys.readouterr()
    assert main(["verify", "changed", "--json"]) == 1
    assert any("metrics.csv" in p for p in strict(capsys.readouterr().out)["problems"])


def test_a_ladder_makes_a_model_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    Path("counted_model.py").write_text(
        "from wmscore.worlds import Frozen, SpriteWorld\n"
        "made = []\n"
        "def model():\n"
        "    made.append(1)\n"
        "    photograph = Frozen(SpriteWorld(32, 32))\n"
        "    photograph.name = 'counted'\n"
        "    return photograph\n"
    )
    words = ["stress", "panel.json", "--model", "counted_model:model", "--stressor", "blur"]
    main([*words, "--severity", "1", "--severity", "2"])
    import counted_model

    assert counted_model.made == [1]


def test_the_app_has_all_commands() -> None:
    group: Any = typer.main.get_command(build_app())
    assert set(group.commands) == {n.split()[0] for names in COMMANDS.values() for n in names}


def test_bytes_that_are_no_utf8_are_kept_as_escapes() -> None:
    assert printable("a\udcffb") == r"a\udcffb"
    assert strict(as_text({"name": "a\udcffb"})) == {"name": "a\udcffb"}
