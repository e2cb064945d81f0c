"""`wmscore replay` and `wmscore check`: exit codes, shards, options, progress."""

import itertools
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.panels import sprite_panel
from wmscore.cli import main
from wmscore.cli.models import made_by, read_options
from wmscore.cli.progress import Ticker, time_left
from wmscore.manifest import Panel
from wmscore.recordings import Recording
from wmscore.rollouts import Rollouts
from wmscore.worlds import Item, SpriteWorld

SIZE = 16
MODULE = """
from dataclasses import replace
from pathlib import Path
from wmscore.worlds import SpriteWorld

class Model:
    name = "mine"

    def __init__(self, size=16, darker=0, fail_in=-1, interrupt_in=-1, exit_in=-1, code=0):
        self.exit_in, self.code = exit_in, code
        self.world = SpriteWorld(size, size)
        self.capabilities = self.world.capabilities
        self.darker, self.fail_in, self.interrupt_in = darker, fail_in, interrupt_in

    def rollout(self, items, horizon):
        scenarios = {item.scenario for item in items}
        if self.interrupt_in in scenarios:
            raise KeyboardInterrupt
        if self.exit_in in scenarios:
            raise SystemExit(self.code)
        if self.fail_in in scenarios:
            raise RuntimeError("out of luck")
        rollouts = self.world.rollout(items, horizon)
        frames = rollouts.frames.clone()
        frames[:, 1:] -= frames[:, 1:].clamp_max(self.darker)
        return replace(rollouts, frames=frames, model=self.name)
"""
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command line in a folder with a panel and a model; gives code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "replay_models.py").write_text(MODULE)
    axes = [{"axis": "perceptual_drift", "threshold": 0.6}]
    sprite_panel(scenarios=3, seeds=2, horizon=4, size=SIZE, axes=axes).save("panel.json")

    def call(*args: str) -> tuple[int, str, str]:
        code = main(list(args))
        return code, *capsys.readouterr()

    yield call
    sys.modules.pop("replay_models", None)


REPLAY = ("replay", "panel.json", "--model", "replay_models:Model", "--batch-size", "2")


def test_faults_have_an_exit_code_and_another_chance(run: Run) -> None:
    code, said, _ = run(*REPLAY, "--out", "r", "--set", "fail_in=1")
    assert code == 1
    assert "model_error: 2 rows, the first ('scene-1', seed 0): RuntimeError: out of luck" in said
    assert "--retry-faults asks again" in said
    assert "true world: 3 of 3 rows" in said
    assert "mine: 6 of 6 rows" in said
    code, said, _ = run("score", "r", "--out", "evidence")
    assert code == 0
    assert "mine: model_error: 2 rows" in said
    assert re.search(r"^mine: 6 of 6 rows, \d:\d\d$", said, re.MULTILINE)  # faults are done too
    assert re.search(r"^evidence: (\d+) of \1 parts, \d:\d\d$", said, re.MULTILINE)
    said = run("verify", "evidence")[1]
    assert re.search(r"^verify: 3 of 3 parts, \d:\d\d$", said, re.MULTILINE)
    assert "RuntimeError: out of luck" in Path("evidence/postmortem.md").read_text()
    assert "RuntimeError: out of luck" in Path("evidence/metrics.csv").read_text()
    assert run(*REPLAY, "--out", "r")[0] == 1  # nothing is asked for again by itself
    assert run(*REPLAY, "--out", "r", "--retry-faults")[0] == 0
    assert Recording("r").faults == ()


def test_an_interrupted_run_says_how_to_go_on(run: Run) -> None:
    code, said, _ = run(*REPLAY, "--out", "r", "--set", "interrupt_in=1")
    assert code == 130
    assert "Interrupted. r keeps what is finished; the same command goes on." in said
    assert len(Recording("r").missing) == 4
    code, said, _ = run("score", "r", "--out", "evidence")
    assert "mine: 4 of 6 rows are not recorded" in said
    assert "mine: 6 of 6 rows" not in said
    assert run(*REPLAY, "--out", "r")[0] == 0
    assert Recording("r").complete


@pytest.mark.parametrize("code", ["0", "2", "null", '"no licence"'])
def test_a_model_that_ends_the_process_is_no_success(run: Run, code: str) -> None:
    """Whatever exit code it wishes for: not all rows are recorded."""
    found, said, _ = run(*REPLAY, "--out", "r", "--set", "exit_in=1", "--set", f"code={code}")
    assert found == 1
    assert "The model ended the run (SystemExit" in said
    assert "r keeps what is finished; the same command goes on." in said
    assert len(Recording("r").missing) == 4


def test_a_polite_kill_is_none_of_the_model(run: Run) -> None:
    with pytest.raises(SystemExit) as caught:
        run(*REPLAY, "--out", "r", "--set", "exit_in=1", "--set", "code=143")
    assert caught.value.code == 143
    assert len(Recording("r").missing) == 4


def test_a_row_that_fails_leaves_evidence_of_the_others(run: Run) -> None:
    assert run("replay", "panel.json", "--model", "world", "--out", "truth")[0] == 0
    for scenario in range(3):
        assert run(*REPLAY, "--out", f"r{scenario}", "--set", f"fail_in={scenario}")[0] == 1
    assert run("score", "r0", "truth", "--out", "evidence")[0] == 0
    everything = ["--set", "size=32"]  # another size: no row is answered
    code, said, _ = run(*REPLAY, "--out", "wrong", *everything)
    assert code == 1
    assert "wrong_size: 6 rows" in said
    assert run("score", "wrong", "truth", "--out", "evidence")[0] == 0
    assert "6 x wrong_size" in Path("evidence/postmortem.md").read_text()


def test_shards_and_a_given_truth(run: Run) -> None:
    whole = ("replay", "panel.json", "--model", "frozen", "--out")
    assert run(*whole, "frozen")[0] == 0
    for i in range(2):
        code, said, _ = run(*REPLAY, "--out", f"r{i}", "--shard", f"{i}/2", "--truth", "frozen")
        assert code == 0
        assert "true world" not in said
    assert run("score", "r0", "r1", "frozen", "--panel", "panel.json", "--out", "e")[0] == 0
    assert run("score", "r0", "r1", "r1", "--out", "f")[0] == 2
    for text in ("2/2", "1", "-1/2", "a/b", "0/0"):
        code, _, error = run(*REPLAY, "--out", "x", f"--shard={text}")
        assert (code, "--shard: expected INDEX/COUNT" in error) == (2, True)
    code, _, error = run(*REPLAY, "--out", "r0", "--shard", "0/2", "--truth", "nowhere")
    assert (code, "holds no recording" in error) == (2, True)


def test_parts_of_different_models_are_told(run: Run) -> None:
    run(*REPLAY, "--out", "r", "--batch-size", "2", "--set", "interrupt_in=1", "--set", "darker=3")
    assert Recording("r").summary()[0].endswith("again goes on")
    assert run(*REPLAY, "--out", "r", "--batch-size", "2", "--set", "darker=9")[0] == 0
    (line,) = Recording("r").summary()
    name = "replay_models:Model"
    assert line.endswith(f"made differently: {name} interrupt_in=1 darker=3; {name} darker=9")
    assert line in run("score", "r", "--out", "e")[1].replace("\n", " ")
    assert made_by("m:f", {"api_key": "x", "steps": 2}) == "m:f api_key=(not kept) steps=2"


def test_options(run: Run) -> None:
    assert read_options(["a=1", "b=x y", "c=[1, 2]", 'd="1"', "e="]) == {
        "a": 1,
        "b": "x y",
        "c": [1, 2],
        "d": "1",
        "e": "",
    }
    for given in (["a"], ["a b=1"], ["=1"], ["a=1", "a=2"]):
        with pytest.raises(ValueError, match="--set: expected"):
            read_options(given)
    code, _, error = run(*REPLAY, "--out", "x", "--set", "colour=1")
    assert (code, "unexpected keyword argument 'colour'" in error) == (2, True)
    code, _, error = run("replay", "panel.json", "--model", "frozen", "--out", "x", "--set", "a=1")
    assert (code, "'frozen' takes no options" in error) == (2, True)
    assert not Path("x").exists()


def test_a_model_that_cannot_be_made_is_a_usage_error_that_says_where(run: Run) -> None:
    Path("broken_models.py").write_text("import no_such_package\n")
    Path("half_models.py").write_text("def make(weights):\n    raise RuntimeError('too big')\n")
    for name, says in (
        ("replay_models.py:Model", "got the path of a file"),
        ("nowhere_models:Model", "no module 'nowhere_models' is installed or in the current"),
        ("broken_models:Model", "raised ModuleNotFoundError: No module named 'no_such_package' ("),
        ("half_models:make", "half_models:make takes (weights): missing a required argument"),
    ):
        code, _, error = run("replay", "panel.json", "--model", name, "--out", "x")
        assert (code, says in error) == (2, True), error
    code, _, error = run("check", "half_models:make", "--panel", "panel.json", "--set", "weights=1")
    assert code == 2
    assert "half_models:make raised RuntimeError: too big (" in error
    assert "half_models.py, line 2)" in error
    data = Panel.load("panel.json").model_dump()
    data["contract"]["world"] = "nowhere_worlds:make"
    Panel.from_dict(data).save("lost.json")
    code, _, error = run("replay", "lost.json", "--model", "frozen", "--out", "x")
    assert (code, "contract.world: 'nowhere_worlds:make' is not found" in error) == (2, True)
    assert not Path("x").exists()


def test_what_a_model_gives_a_panel_nothing_to_judge_by_is_said_before_it_is_scored(
    run: Run,
) -> None:
    Path("plain_models.py").write_text(
        "from dataclasses import replace\n"
        "from replay_models import Model\n"
        "class Plain(Model):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.capabilities = replace(self.capabilities, labels=False)\n"
        "    def rollout(self, items, horizon):\n"
        "        return replace(super().rollout(items, horizon), labels=None)\n"
    )
    data = Panel.load("panel.json").model_dump()
    data["axes"] = [{"axis": "identity_persistence", "threshold": 0.9}]
    Panel.from_dict(data).save("labels.json")
    model = ("--model", "plain_models:Plain")
    code, said, _ = run("replay", "labels.json", *model, "--out", "r")
    assert code == 0
    assert "needs object labels" in said
    assert "needs object labels" in run("check", "plain_models:Plain", "--panel", "labels.json")[1]
    assert "needs" not in run("replay", "panel.json", *model, "--out", "q")[1]
    assert "needs" not in run("replay", "labels.json", "--model", "frozen", "--out", "f")[1]


def test_checking_takes_two_rows(run: Run) -> None:
    data = Panel.load("panel.json").model_dump()
    data["scenarios"] = [dict(data["scenarios"][0], branches=[])]
    Panel.from_dict(data).save("one.json")
    code, _, error = run("check", "replay_models:Model", "--panel", "one.json")
    assert (code, "--scenarios: expected at least 2 rows" in error) == (2, True)


def test_a_world_of_ones_own_is_found_right_here(run: Run) -> None:
    """The panel's world is loaded before any model is."""
    panel = Panel.load("panel.json")
    data = panel.model_dump()
    data["contract"]["world"] = "replay_models:Model"
    Panel.from_dict(data).save("mine.json")
    sys.modules.pop("replay_models", None)
    code, out, err = run("replay", "mine.json", "--model", "frozen", "--out", "mine")
    assert code == 0, err
    assert "mine" in out


def test_check_prints_the_table(run: Run) -> None:
    code, said, _ = run("check", "replay_models:Model", "--panel", "panel.json")
    assert code == 0
    assert "Every promise is kept." in said
    assert "action effect" in said
    code, said, _ = run(
        "check", "replay_models:Model", "--panel", "panel.json", "--set", "fail_in=1"
    )
    assert code == 1
    assert "RuntimeError: out of luck" in said
    assert "Broken: answers" in said
    assert run("replay", "panel.json", "--model", "frozen", "--out", "r")[0] == 0
    code, said, _ = run("check", "frozen", "--panel", "panel.json", "--truth", "r")
    assert code == 0
    code, _, error = run("check", "frozen", "--panel", "panel.json", "--horizon", "9")
    assert (code, "--horizon: expected 2..4" in error) == (2, True)


def test_time_that_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = itertools.count(100.0, 30.0)
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    with Ticker() as ticker:
        ticker.report("mine", 40, 100)  # were there before
        ticker.report("mine", 50, 100)
        ticker.report("mine", 100, 100)
    assert capsys.readouterr().out.splitlines()[1:] == [
        "mine: 50 of 100 rows, 1:00, 5:00 left",
        "mine: 100 of 100 rows, 1:30",
    ]
    assert time_left(0, 10, 5.0) == ""
    assert time_left(1, 3600, 1.0) == "1:00:00"


def test_the_world_of_the_tests_is_what_it_was(run: Run) -> None:
    """The true world, asked for through the command, shows what it shows here."""
    assert run("replay", "panel.json", "--model", "world", "--out", "r")[0] == 0
    recording = Recording("r")
    assert recording.role == "truth"

    def keyed(items: Sequence[Item]) -> Rollouts:
        return replace(SpriteWorld(SIZE, SIZE).rollout(items, 4), panel=recording.panel.fingerprint)

    from wmscore.replay import panel_items

    assert keyed(panel_items(recording.panel)).frames.equal(
        Rollouts.concat([batch.without_reference() for batch in recording]).frames
    )
