"""What a user does wrong is one sentence and exit code 2; how commands end otherwise."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.panels import sprite_panel
from wmscore.cli import main
from wmscore.cli.command import spread
from wmscore.cli.complete import MODELS, STRESSORS, complete_panels
from wmscore.cli.models import ANCHORS
from wmscore.stressors import all_stressors

ROOT = Path(__file__).parents[2]
ENV = {**os.environ, "PYTHONPATH": str(ROOT)}
PLACES = (
    *("", "nowhere", "empty", "bytes", "list.json", "deep.json", "dict.json", "nan.json"),
    *("surrogate.json", "folder", "bad.safetensors", "evidence", "loop", "/dev/null", "a\x00b"),
    *("x" * 300, "-", "\udcff"),
)
UNWRITABLE = ("/proc/nowhere/x", "bytes/x", "/dev/full/x", "a\x00b", "x" * 300)


def wmscore(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "wmscore", *words],
        capture_output=True,
        text=True,
        env={**ENV, **env},
        check=False,
    )


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of things that are not what they should be, and one good panel."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("empty").touch()
    Path("bytes").write_bytes(bytes(range(256)) * 8)
    Path("bad.safetensors").write_bytes(b"\xff" * 40)
    Path("list.json").write_text("[1, 2]")
    Path("deep.json").write_text("[" * 100_000)
    Path("dict.json").write_text('{"name": "x"}')
    Path("nan.json").write_text('{"name": NaN}')
    Path("surrogate.json").write_text('{"name": "\\ud800"}')
    Path("loop").symlink_to("loop")
    Path("folder").mkdir()
    Path("evidence/scores").mkdir(parents=True)
    Path("evidence/scores/a.safetensors").write_bytes(b"abc")
    axes = [{"axis": "perceptual_drift", "threshold": 0.6}]
    sprite_panel(scenarios=2, seeds=1, horizon=4, size=16, axes=axes).save("panel.json")


def refused(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Said in a few lines on stderr, with exit code 2."""
    code = main(words)
    found = capsys.readouterr()
    assert code == 2, (words, found)
    assert found.err.startswith("wmscore"), (words, found.err)
    assert "Traceback" not in found.err, words
    assert len(found.err.splitlines()) <= 12, (words, found.err)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ascii(place)[:20])
def test_wrong_places(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["panel", "check", place],
        ["panel", "new", "--from", place, "--out", "new.json"],
        ["panel", "new", "--world", place, "--out", "new.json"],
        ["check", place],
        ["check", "frozen", "--panel", place],
        ["replay", place, "--model", "frozen", "--out", "r"],
        ["replay", "panel.json", "--model", place, "--out", "r"],
        ["ingest", "folder", "--panel", place, "--out", "r"],
        ["stress", place, "--model", "frozen"],
        ["stress", "panel.json", "--model", place],
        ["stress", "panel.json", "--model", "frozen", "--stressor", place],
        ["stress", "panel.json", "--model", "frozen", "--severity", place],
        ["score", place, "--out", "e"],
        ["report", place],
        ["compare", place],
        ["compare", place, place],
        ["aa", place],
        ["calibrate", place, "--out", "c.json"],
        ["protocol", "gamengen", place, "--model", "frozen"],
        ["weights", "convert", place, "w.safetensors"],
    ):
        refused(words, capsys)


@pytest.mark.parametrize("place", UNWRITABLE, ids=lambda place: ascii(place)[:20])
def test_places_that_cannot_be_written(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    refused(["panel", "new", "--from", "sprites", "--out", place], capsys)
    refused(["replay", "panel.json", "--model", "frozen", "--out", place], capsys)


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["--nonsense"],
        ["panel"],
        ["panel", "nonsense"],
        ["replay"],
        ["replay", "panel.json", "--model"],
        ["replay", "panel.json", "--model", "frozen", "--out", "r", "--batch-size", "x"],
        ["compare", "a", "b", "c"],
        ["check", "frozen", "--panel", "panel.json", "--horizon", "99"],
        ["check", "frozen", "--panel", "panel.json", "--set", "a=1"],
        ["stress"],
        ["stress", "panel.json"],
        ["stress", "panel.json", "--model", "frozen", "--stressor", "blur", "--severity", "-1"],
        ["stress", "panel.json", "--model", "frozen", "--stressor", "blur", "--severity", "nan"],
        ["panel", "new", "--out", "new.json"],
        ["panel", "new", "--world", "sprites", "--scenarios", "0", "--out", "new.json"],
        ["panel", "new", "--world", "sprites", "--reset", "[1]", "--out", "new.json"],
        ["panel", "new", "--from", "panel.json", "--scenarios", "9", "--out", "new.json"],
        ["panel", "new", "--from", "panel.json", "--there-and-back", "left", "--out", "new.json"],
        ["bench", "--size", "64"],
        ["bench", "--size", "0x64"],
        ["bench", "--rows", "0"],
        *(["bench", "--device", d] for d in ("tpu", "", "meta", "cuda:99")),
    ],
    ids=" ".join,
)
def test_wrong_options(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    refused(words, capsys)


def test_a_mistyped_command_is_told_the_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["repaly"]) == 2
    assert "'replay'" in capsys.readouterr().err


def test_help_without_arguments_and_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "Usage: wmscore COMMAND" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert re.fullmatch(r"wmscore \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_debug_shows_the_traceback_wherever_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--debug", "report", "nowhere"], ["report", "nowhere", "--debug"]):
        assert main(words) == 2
        assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_an_error_inside_a_model_keeps_its_traceback_in_a_file(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("broken_model.py").write_text(
        "from wmscore.worlds import SpriteWorld\n\n"
        "class Broken(SpriteWorld):\n"
        "    def rollout(self, items, horizon):\n"
        "        raise LookupError('lost')\n\n"
        "def model():\n    return Broken(16, 16)\n"
    )
    words = ["stress", "panel.json", "--model", "broken_model:model", "--stressor", "blur"]
    assert main(words) == 70
    said = capsys.readouterr().err
    assert "unexpected LookupError: lost" in said
    assert "Traceback (most recent" not in said
    kept = Path(said.split("Traceback: ")[1].strip())
    assert "broken_model.py" in kept.read_text()
    kept.unlink()


def test_help_comes_fast_and_without_torch() -> None:
    code = (
        "import sys\nfrom wmscore.cli import main\nmain(['--help'])\n"
        "assert not {'torch', 'numpy', 'pydantic_core', 'matplotlib'} & set(sys.modules) - SEEN"
    ).replace("SEEN", "{'pydantic_core'}")  # newer versions of typer bring it themselves
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENV, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    spent = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    assert spent < 1.5  # seconds of a core; 0.25 on a quiet machine


@pytest.mark.parametrize("module", ["typer", "rich"])
def test_without_the_extra_it_says_which_one(module: str) -> None:
    code = (
        "import sys\n"
        "class Blocker:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Blocker())\n"
        "from wmscore.cli import main\n"
        "sys.exit(main(['--help']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENV, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "pip install 'wmscore[harness]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_ctrl_c_is_one_word(capsys: pytest.CaptureFixture[str]) -> None:
    Path("interrupted_model.py").write_text(
        "import os, signal\nfrom wmscore.worlds import SpriteWorld\n\n"
        "class Interrupted(SpriteWorld):\n"
        "    def rollout(self, items, horizon):\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        return super().rollout(items, horizon)\n\n"
        "def model():\n    return Interrupted(16, 16)\n"
    )
    words = ["stress", "panel.json", "--model", "interrupted_model:model", "--stressor", "blur"]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job may ignore it
    try:
        assert main(words) == 130
        found = capsys.readouterr()
        assert (found.out, found.err) == ("", "wmscore stress: Interrupted.\n")
        assert main([*words, "--json"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["command"], error["message"]) == ("stress", "Interrupted.")


@pytest.mark.parametrize("words", [["--help"], ["--version"]])
def test_a_reader_that_goes_away_is_no_error(words: list[str]) -> None:
    run = subprocess.Popen(
        [sys.executable, "-m", "wmscore", *words],
        env=ENV,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert run.stdout is not None
    run.stdout.close()
    _, said = run.communicate(timeout=180)
    assert (run.returncode, said) == (141, b"")


def test_the_shell_completes_commands_panels_and_stressors() -> None:
    def completed(*words: str) -> list[str]:
        found = wmscore(
            _WMSCORE_COMPLETE="complete_bash",
            COMP_WORDS=" ".join(["wmscore", *words]),
            COMP_CWORD=str(len(words)),
        )
        return found.stdout.split()

    assert completed("re") == ["replay", "report"]
    assert completed("panel", "check", "sp") == ["sprites"]
    assert completed("stress", "sprites", "--stressor", "sha") == ["shadow"]


def test_completion_knows_what_there_is() -> None:
    assert [one.name for one in all_stressors()] == list(STRESSORS)
    assert list(ANCHORS) == list(MODELS)
    assert {"sprites", "vizdoom", "panel.json", "folder/"} <= set(complete_panels(""))
    assert complete_panels("pan") == ["panel.json"]


@given(st.lists(st.sampled_from(["--truth", "--out", "--truth=a", "a", "b", "--"]), max_size=8))
def test_several_values_are_the_option_several_times(words: list[str]) -> None:
    """What is added are the option's own names, and only after its first value."""
    found = spread(words, {"--truth"})
    cut = words.index("--") if "--" in words else len(words)
    assert found[len(found) - (len(words) - cut) :] == words[cut:]
    rest = iter(found)
    assert all(any(word == other for other in rest) for word in words)  # in order, none lost
    assert set(found) <= {*words, "--truth"}


def test_several_values_as_they_are_typed() -> None:
    assert spread(["p", "--truth", "a", "b", "--out", "c", "d"], {"--truth"}) == [
        *("p", "--truth", "a", "--truth", "b", "--out", "c", "d")
    ]
    assert spread(["--truth=a", "b"], {"--truth"}) == ["--truth=a", "--truth", "b"]
