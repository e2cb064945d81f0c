"""Recordings in parts: resumed after a kill, in shards, with faults by row and full disks."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from tests.panels import sprite_panel
from wmscore.files import sha256_file
from wmscore.functional import Reason
from wmscore.manifest import Panel, PanelMismatchError
from wmscore.recordings import Recording, join_recordings, record, record_shard
from wmscore.recordings.layout import Layout, Shard
from wmscore.recordings.locks import lock_shard
from wmscore.recordings.question import question
from wmscore.rollouts import Rollouts
from wmscore.scorer import Scorer
from wmscore.scores import Scores
from wmscore.worlds import Capabilities, Frozen, Item
from wmscore.worlds.sprites import SpriteWorld

SIZE, HORIZON = 16, 4
WORLD = SpriteWorld(height=SIZE, width=SIZE)


class Counting:
    """The true world under another name; it counts its calls, and some rows make it fail."""

    name = "counting"

    def __init__(self, fail: Callable[[Sequence[Item]], None] = lambda items: None) -> None:
        self.fail = fail
        self.asked: list[list[tuple[int, int]]] = []

    @property
    def capabilities(self) -> Capabilities:
        return WORLD.capabilities

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        self.asked.append(list(dict.fromkeys((i.scenario, i.seed) for i in items)))
        self.fail(items)
        return replace(WORLD.rollout(items, horizon), model=self.name)

    @property
    def rows(self) -> list[tuple[int, int]]:
        return [row for call in self.asked for row in call]


def small_panel(scenarios: int = 3, seeds: int = 2, **changes: object) -> Panel:
    axes = [{"axis": "perceptual_drift", "threshold": 0.6}]
    return sprite_panel(scenarios, seeds, HORIZON, SIZE, **{"axes": axes, **changes})


PANEL = small_panel()


def raise_for(*rows: tuple[int, int], error: Exception | None = None) -> Callable[..., None]:
    def fail(items: Sequence[Item]) -> None:
        if any((item.scenario, item.seed) in rows for item in items):
            raise error or RuntimeError("no such kitchen\nat all")

    return fail


def files(folder: Path) -> dict[str, str]:
    """Hashes of all files but reports, which tell the time."""
    return {
        path.name: sha256_file(path)
        for path in sorted(folder.iterdir())
        if not path.name.startswith("part-")
    }


def scored(recording: Recording) -> Scores:
    scorer = Scorer(recording.panel)
    for rollouts in recording:
        scorer.update(rollouts)
    scorer.add_faults(recording.faults, model=recording.model)
    return scorer.compute()


# ---- layout ------------------------------------------------------------------------------


def test_what_lies_in_a_folder(tmp_path: Path) -> None:
    record(tmp_path / "r", PANEL, WORLD, Counting(), batch_size=4)
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == [
        "asked.json",
        "panel.json",
        "part-00000.json",
        "part-00001.json",
        "recording.json",
        "rollouts-00000.safetensors",
        "rollouts-00001.safetensors",
        "truth-00000.safetensors",
        "truth-00002.safetensors",
    ]
    about = json.loads((tmp_path / "r" / "recording.json").read_text())
    assert about["model"] == "counting"
    assert about["batch_size"] == 4
    assert about["facts"]["capabilities"]["frame_size"] == [SIZE, SIZE]
    assert about["facts"]["versions"]["torch"] == torch.__version__
    report = json.loads((tmp_path / "r" / "part-00001.json").read_text())
    assert (report["rows"], report["calls"], report["faults"]) == (2, 1, [])
    assert report["seconds"] > 0
    recording = Recording(tmp_path / "r")
    assert recording.complete
    assert recording.faults == ()
    assert [batch.seed.tolist() for batch in recording] == [([0] * 3 + [1] * 3) * n for n in (2, 1)]
    for batch in recording:
        assert torch.equal(batch.frames, batch.reference[batch.reference_index])
        assert set(batch.scenario.tolist()) in ({0, 1}, {2})
    assert torch.equal(recording.truth.scenario, torch.arange(3).repeat_interleave(3))


def test_facts_of_the_model_are_kept(tmp_path: Path) -> None:
    class Telling(Counting):
        """Has lossy clips and converted actions."""

        conversion_losses = ("dropped: jump, in 3 steps",)
        codec: ClassVar = {"codec": "h264", "bits_per_pixel": 0.1}

    record(tmp_path / "r", PANEL, WORLD, Telling())
    facts = Recording(tmp_path / "r").about.facts
    assert facts["conversion_losses"] == ["dropped: jump, in 3 steps"]
    assert facts["codec"] == {"codec": "h264", "bits_per_pixel": 0.1}


def test_a_question_is_neither_frames_nor_judgement() -> None:
    frozen = PANEL.with_initial_frames({s.id: "0" * 64 for s in PANEL.scenarios})
    judged = PANEL.with_thresholds({"perceptual_drift": 0.1})
    assert question(frozen) == question(judged) == question(PANEL)
    others = [small_panel(scenarios=2), small_panel(seeds=3), sprite_panel(3, 2, 5, SIZE)]
    assert len({question(panel) for panel in [PANEL, *others]}) == 4


# ---- going on ----------------------------------------------------------------------------

SCRIPT = """
import sys, time
from pathlib import Path
from typing import ClassVar
from tests import test_recordings as t
from wmscore.recordings import record

class Logged(t.Counting):
    def rollout(self, items, horizon):
        answer = super().rollout(items, horizon)
        with open(sys.argv[2], "a") as log:
            log.write(f"{self.name} {self.asked[-1]}\\n")
        time.sleep(0.05)  # for whoever wants to kill us
        return answer

class World(Logged):
    name = "true"

record(sys.argv[1], t.PANEL, World(), Logged(), batch_size=1)
"""


def test_killed_at_any_point_and_gone_on_with(tmp_path: Path) -> None:
    """A real process, killed with SIGKILL again and again; the sum of its work is one run's."""
    script = tmp_path / "run.py"
    script.write_text(textwrap.dedent(SCRIPT))
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    log = tmp_path / "log"

    def start(folder: Path) -> subprocess.Popen[bytes]:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        return subprocess.Popen(
            [sys.executable, str(script), str(folder), str(log)], env=environment, cwd=Path.cwd()
        )

    def in_the_truth() -> bool:
        return log.exists() and log.read_text().count("\n") >= 2

    def among_the_parts() -> bool:
        return len(list(cut.glob("rollouts-*"))) >= 2

    for reached in (in_the_truth, among_the_parts):
        process = start(cut)
        while process.poll() is None:
            if reached():
                process.send_signal(signal.SIGKILL)
            time.sleep(0.001)
        assert process.returncode == -signal.SIGKILL
    finished = {row for path in cut.glob("rollouts-*") for row in rows_in(path)}
    model = Counting()
    record(cut, PANEL, SpriteWorldNamed(), model, batch_size=1)
    # What was finished when the last process died is not asked for again, and all else once.
    assert sorted(model.rows) == sorted(set(PANEL.rows()) - finished)
    assert 0 < len(finished) < 6
    record(whole, PANEL, SpriteWorldNamed(), Counting(), batch_size=1)
    assert files(cut) == files(whole)


class SpriteWorldNamed(Counting):
    """The true world as the killed process names it."""

    name = "true"


class Stop(BaseException):
    """Ends a run as a kill does, but in this process."""


@pytest.mark.parametrize("write", range(14))
def test_stopped_at_each_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: int) -> None:
    """Whatever file was the last one: drafts are left as by a kill, and a second run ends well."""
    real, count = os.replace, 0

    def rename(source: object, target: object) -> None:
        nonlocal count
        count += 1
        if count > write:
            raise Stop
        real(source, target)

    monkeypatch.setattr(Path, "replace", lambda self, target: rename(self, target))
    monkeypatch.setattr(
        Path,
        "unlink",
        lambda self, missing_ok=False, _unlink=Path.unlink: (
            None if self.name.startswith(".rollouts") else _unlink(self, missing_ok=missing_ok)
        ),
    )
    folder, model = tmp_path / "r", Counting(raise_for((1, 1)))
    interrupted = False
    try:
        record_shard(folder, PANEL, WORLD, model, batch_size=2)
    except Stop:
        interrupted = True
    monkeypatch.undo()
    finished = {row for p in folder.glob("rollouts-*") for row in rows_in(p)}
    again = Counting(raise_for((1, 1)))
    recorded = record_shard(folder, PANEL, WORLD, again, batch_size=2)
    assert not finished & set(again.rows)
    assert [(f.scenario, f.seed) for f in recorded.faults] == [(1, 1)]
    assert Recording(folder).complete
    assert not [p for p in folder.iterdir() if p.name.startswith(".")]
    assert interrupted == (count > write)
    plain = tmp_path / "plain"
    record_shard(plain, PANEL, WORLD, Counting(raise_for((1, 1))), batch_size=2)
    assert files(folder) == files(plain)


def rows_in(path: Path) -> set[tuple[int, int]]:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        keys = [file.get_tensor(name).tolist() for name in ("scenario", "seed")]
    return set(zip(*keys, strict=True))


def test_going_on_needs_the_same_recording(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    record(folder, PANEL, WORLD, Counting(), batch_size=2)
    for changes, field in (
        ({"batch_size": 3}, "batch_size: expected 2, got 3"),
        ({"role": "floor"}, "role: expected 'model', got 'floor'"),
        ({"model": Frozen()}, "model: expected 'counting', got 'frozen'"),
    ):
        given = {"model": Counting(), "batch_size": 2, **changes}
        with pytest.raises(ValueError, match=field):
            record(folder, PANEL, WORLD, **given)
    judged = PANEL.with_thresholds({"perceptual_drift": 0.1})
    with pytest.raises(PanelMismatchError, match="axes"):
        record(folder, judged, WORLD, Counting(), batch_size=2)
    with pytest.raises(PanelMismatchError, match="seeds"):
        record(folder, small_panel(seeds=3), WORLD, Counting(), batch_size=2)
    again = Counting()
    record(folder, Recording(folder).panel, WORLD, again, batch_size=2)  # frozen, but the same
    assert again.asked == []
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(ValueError, match="exists; choose a new one, this is no recording"):
        record(tmp_path / "other", PANEL, WORLD, Counting())


def test_one_process_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    with lock_shard(tmp_path / "r", Shard(0, 1)):
        with pytest.raises(ValueError, match="another process is recording 0/1"):
            record(tmp_path / "r", PANEL, WORLD, Counting())
    record(tmp_path / "r", PANEL, WORLD, Counting())


def test_a_broken_file_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    record(folder, PANEL, WORLD, Counting(), batch_size=2)
    known = files(folder)
    for name in ("rollouts-00001.safetensors", "truth-00002.safetensors"):
        path = folder / name
        path.write_bytes(path.read_bytes()[:-1])
    assert Recording(folder).missing == ((1, 0), (1, 1))
    again = Counting()
    record(folder, PANEL, WORLD, again, batch_size=2)
    assert again.rows == [(1, 0), (1, 1)]
    assert files(folder) == known


def test_an_interruption_keeps_what_is_finished(tmp_path: Path) -> None:
    def interrupt(items: Sequence[Item]) -> None:
        if items[0].scenario == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record(tmp_path / "r", PANEL, WORLD, Counting(interrupt), batch_size=2)
    recording = Recording(tmp_path / "r")
    assert recording.missing == ((1, 0), (1, 1), (2, 0), (2, 1))
    assert not recording.complete
    (sentence,) = recording.summary()
    assert "4 of 6 rows are not recorded, the first of them scenario 'scene-1'" in sentence
    scores = scored(recording)
    assert scores.faults() == {"missing": 4}
    with pytest.raises(ValueError, match="scenario 1 with seed 0 is not in"):
        recording.row(1, 0)


def test_a_model_may_use_its_buffer_again(tmp_path: Path) -> None:
    class Reusing(Counting):
        """Answers with one buffer, which the next call overwrites."""

        def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
            answer = super().rollout(items, horizon)
            if not hasattr(self, "buffer"):
                self.buffer = answer.frames.clone()
            self.buffer.copy_(answer.frames)
            return replace(answer, frames=self.buffer)

    record(tmp_path / "r", PANEL, WORLD, Reusing(), batch_size=1)
    for batch in Recording(tmp_path / "r"):
        assert torch.equal(batch.frames, batch.reference[batch.reference_index])


def test_progress_counts_what_was_there(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    true: list[tuple[int, int]] = []
    progress = {
        "progress": lambda *d: told.append(d),
        "truth_progress": lambda *d: true.append(d),
    }
    stop = raise_for((2, 0), error=KeyboardInterrupt())  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        record(tmp_path / "r", PANEL, WORLD, Counting(stop), batch_size=2, **progress)
    assert true == [(0, 3), (2, 3), (3, 3)]
    assert told == [(0, 6), (2, 6)]  # the second part is written while the third is asked for
    told.clear()
    record(tmp_path / "r", PANEL, WORLD, Counting(), batch_size=2, **progress)
    assert told == [(4, 6), (6, 6)]


# ---- faults by row -----------------------------------------------------------------------


def test_a_failing_row_costs_no_other(tmp_path: Path) -> None:
    model = Counting(raise_for((1, 0)))
    recorded = record_shard(tmp_path / "r", PANEL, WORLD, model, batch_size=4)
    (fault,) = recorded.faults
    assert (fault.scenario, fault.seed, fault.reason) == (1, 0, Reason.MODEL_ERROR)
    assert (fault.error, fault.message) == ("RuntimeError", "no such kitchen\nat all")
    assert model.asked[:2] == [[(0, 0), (0, 1), (1, 0), (1, 1)], [(0, 0)]]
    log = (tmp_path / "r" / "part-00000.log").read_text()
    assert log.count("RuntimeError: no such kitchen") == 2
    assert "in raise_for" in log or "in fail" in log
    recording = Recording(tmp_path / "r")
    assert recording.complete
    scores = scored(recording)
    assert scores.faults() == {"model_error": 1}
    assert scores.messages == {2: "RuntimeError: no such kitchen ..."}
    assert scores.axes["perceptual_drift"].undefined() == {"model_error": HORIZON}
    lines = scores.records()
    assert [line["fault_message"] for line in lines].count("") == 5
    warning = "model_error: 1 row ('scene-1', seed 0): RuntimeError: no such kitchen ..."
    assert warning in scores.provenance.values()
    scores.save(tmp_path / "scores.safetensors")
    assert Scores.load(tmp_path / "scores.safetensors").messages == scores.messages


def test_a_fault_warns_and_is_asked_for_again(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    with pytest.warns(UserWarning, match="model_error: 2 rows, the first"):
        record(folder, PANEL, WORLD, Counting(raise_for((0, 1), (2, 0))), batch_size=4)
    same = Counting()
    assert not record_shard(folder, PANEL, WORLD, same, batch_size=4).complete
    assert same.asked == []
    retried = Counting(raise_for((2, 0)))
    recorded = record_shard(folder, PANEL, WORLD, retried, batch_size=4, retry_faults=True)
    assert [(f.scenario, f.seed) for f in recorded.faults] == [(2, 0)]
    assert retried.asked == [[(0, 1)], [(2, 0)]]
    last = record_shard(folder, PANEL, WORLD, Counting(), batch_size=4, retry_faults=True)
    assert last.complete
    record(tmp_path / "plain", PANEL, WORLD, Counting(), batch_size=4)
    assert files(folder) == files(tmp_path / "plain")


def test_a_batch_that_is_too_large_is_no_fault(tmp_path: Path) -> None:
    def fail(items: Sequence[Item]) -> None:
        if len(items) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")

    model = Counting(fail)
    assert record_shard(tmp_path / "r", PANEL, WORLD, model, batch_size=3).complete
    record(tmp_path / "plain", PANEL, WORLD, Counting(), batch_size=3)
    known = files(tmp_path / "plain")
    assert {k: v for k, v in files(tmp_path / "r").items() if k in known} == known


SPECIAL = {
    "expected frames": Reason.WRONG_SIZE,
    "expected the commanded actions": Reason.WRONG_SCRIPT,
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: replace(r, frames=r.frames[..., :8], labels=None), "expected frames"),
        (lambda r: replace(r, seed=r.seed + 1), "answered other rows"),
        (lambda r: replace(r, actions=1 - r.actions), "expected the commanded actions"),
        (
            lambda r: Rollouts(
                frames=r.frames[:, :-1],
                actions=r.actions[:, :-1],
                scenario=r.scenario,
                seed=r.seed,
                branch=r.branch,
                model=r.model,
                panel=r.panel,
            ),
            "expected the commanded actions|expected horizon",
        ),
        (lambda r: replace(r, frames=r.frames.int()), "expected uint8 or floating point"),
        (lambda r: replace(r, model="other"), "answered under another name"),
        (lambda r: r.frames, "expected Rollouts in answer"),
    ],
)
def test_an_answer_to_another_question_is_a_fault_of_its_row(
    tmp_path: Path, change: Callable[[Rollouts], Rollouts], message: str
) -> None:
    class Wrong(Counting):
        """Answers the second scenario wrongly."""

        def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
            answer = super().rollout(items, horizon)
            return change(answer) if any(i.scenario == 1 for i in items) else answer

    recorded = record_shard(tmp_path / "r", PANEL, WORLD, Wrong(), batch_size=6)
    assert [(f.scenario, f.seed) for f in recorded.faults] == [(1, 0), (1, 1)]
    reason = next(
        (reason for start, reason in SPECIAL.items() if message.startswith(start)),
        Reason.WRONG_ANSWER,
    )
    assert {f.reason for f in recorded.faults} == {reason}
    assert re.search(message, recorded.faults[0].message)
    assert scored(Recording(tmp_path / "r")).faults() == {reason.name.lower(): 2}


def test_rows_of_another_kind_are_faults(tmp_path: Path) -> None:
    class Mixed(Counting):
        """Shows floats in one row, and fails where rows of both kinds are asked for together."""

        def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
            answer = super().rollout(items, horizon)
            if len(items) > 3:
                raise ValueError("one row at a time")
            floats = items[0].seed == 1
            return replace(answer, frames=answer.frames / 255) if floats else answer

    recorded = record_shard(tmp_path / "r", PANEL, WORLD, Mixed(), batch_size=6)
    assert [(f.scenario, f.seed) for f in recorded.faults] == [(0, 1), (1, 1), (2, 1)]
    assert "frames: expected (torch.uint8" in recorded.faults[0].message


def test_nothing_but_faults_is_a_score_too(tmp_path: Path) -> None:
    recorded = record_shard(
        tmp_path / "r", PANEL, WORLD, Counting(raise_for(*PANEL.rows())), batch_size=4
    )
    assert len(recorded.faults) == 6
    assert not list((tmp_path / "r").glob("rollouts-*"))
    recording = Recording(tmp_path / "r")
    assert list(recording) == []
    scores = scored(recording)
    assert (scores.model, scores.faults()) == ("counting", {"model_error": 6})


def test_the_scorer_takes_faults_of_the_panel_only() -> None:
    from wmscore.rowfaults import RowFault

    fault = RowFault(scenario=9, seed=0, reason=Reason.MODEL_ERROR, error="E", message="m")
    with pytest.raises(ValueError, match=r"rows of the panel, got \[\(9, 0\)\]"):
        Scorer(PANEL).add_faults([fault])
    scorer = Scorer(PANEL)
    scorer.add_faults([], model="one")
    with pytest.raises(ValueError, match="expected model 'one', got 'two'"):
        scorer.add_faults([], model="two")


# ---- a full disk -------------------------------------------------------------------------


def test_a_full_disk_is_told_and_gone_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Rollouts.save

    def save(self: Rollouts, path: Path, *, sync: bool = False) -> None:
        if path.name == "rollouts-00001.safetensors":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        real(self, path, sync=sync)

    monkeypatch.setattr(Rollouts, "save", save)
    folder = tmp_path / "r"
    recorded = record_shard(folder, PANEL, WORLD, Counting(), batch_size=2)
    assert recorded.unwritten == [(1, 0), (1, 1)]
    assert not recorded.complete
    (sentence,) = recorded.summary()
    assert "disk full: 2 of 6 rows are not written" in sentence
    assert Recording(folder).missing == ((1, 0), (1, 1))
    monkeypatch.undo()
    again = Counting()
    assert record_shard(folder, PANEL, WORLD, again, batch_size=2).complete
    assert again.rows == [(1, 0), (1, 1)]


def test_nothing_is_rolled_out_that_cannot_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Rollouts.save

    def save(self: Rollouts, path: Path, *, sync: bool = False) -> None:
        if path.name.startswith("rollouts"):
            raise OSError(errno.EDQUOT, "Disk quota exceeded", str(path))
        real(self, path, sync=sync)

    monkeypatch.setattr(Rollouts, "save", save)
    monkeypatch.setattr("wmscore.recordings.recorder.has_room", lambda folder, size: False)
    model = Counting()
    recorded = record_shard(tmp_path / "r", PANEL, WORLD, model, batch_size=1)
    assert recorded.unwritten == list(PANEL.rows())
    assert len(model.asked) == 2  # the second while the first was being written


def test_a_file_limit_of_the_system_is_an_error_of_it(tmp_path: Path) -> None:
    """safetensors tells of such errors in words; here they have their number."""
    resource = pytest.importorskip("resource")
    frames = torch.zeros(1, 2, 3, 64, 64, dtype=torch.uint8)
    keys = {name: torch.zeros(1, dtype=torch.int64) for name in ("scenario", "seed", "branch")}
    rollouts = Rollouts(
        frames=frames, actions=torch.zeros(1, 1, dtype=torch.int64), model="m", panel="p", **keys
    )
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            rollouts.save(tmp_path / "r.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert caught.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == []


# ---- shards ------------------------------------------------------------------------------


@pytest.mark.parametrize("apart", [True, False])
def test_shards_are_one_recording(tmp_path: Path, apart: bool) -> None:
    panel = small_panel(scenarios=4)
    panel = Panel.from_dict(
        {
            **panel.model_dump(),
            "contract": {**panel.model_dump()["contract"], "observation": None},
        }
    )
    record(tmp_path / "whole", panel, WORLD, Counting(), batch_size=3)
    models = [Counting(), Counting()]
    folders = [tmp_path / (f"shard{i}" if apart else "shared") for i in range(2)]
    worlds = [SpriteWorldNamed(), SpriteWorldNamed()]
    for i in (1, 0):
        record(folders[i], panel, worlds[i], models[i], batch_size=3, shard=(i, 2))
    assert sorted(models[0].rows + models[1].rows) == list(panel.rows())
    assert models[1].rows == Layout(panel, 3).rows_of(1)
    recording = Recording(list(dict.fromkeys(folders)))
    whole = Recording(tmp_path / "whole")
    assert recording.panel == whole.panel
    assert recording.complete
    for mine, theirs in zip(recording, whole, strict=True):
        assert torch.equal(mine.frames, theirs.frames)
        assert torch.equal(mine.reference, theirs.reference)
    assert scored(recording).records() == scored(whole).records()
    (joined,) = join_recordings(list(dict.fromkeys(folders)))
    assert joined.complete
    with pytest.raises(ValueError, match="part 0 is in"):
        Recording([folders[0], tmp_path / "whole"])
    if apart:
        assert len(Recording(folders[0]).missing) == len(models[1].rows)


def test_shards_of_different_runs_do_not_mix(tmp_path: Path) -> None:
    record(tmp_path / "a", PANEL, WORLD, Counting(), batch_size=2, shard=(0, 2))
    record(tmp_path / "b", PANEL, WORLD, Counting(), batch_size=3, shard=(1, 2))
    with pytest.raises(ValueError, match="batch_size: expected 2, got 3"):
        Recording([tmp_path / "a", tmp_path / "b"])
    with pytest.raises(ValueError, match=r"shard: expected \(index, count\)"):
        record(tmp_path / "c", PANEL, WORLD, Counting(), shard=(2, 2))
    assert Layout(PANEL, 4).parts == 2


def test_a_world_that_does_not_repeat_itself_is_no_truth(tmp_path: Path) -> None:
    class Drifting(SpriteWorldNamed):
        """Starts a little brighter every time."""

        def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
            answer = super().rollout(items, horizon)
            frames = answer.frames // 2 + len(self.asked)
            return replace(answer, frames=frames.to(torch.uint8))

    world = Drifting()
    record(tmp_path / "r", PANEL, world, Counting(), batch_size=2, shard=(0, 3))
    with pytest.raises(ValueError, match="another frame than the panel froze"):
        record(tmp_path / "r", PANEL, world, Counting(), batch_size=2, shard=(1, 3))


# ---- one truth for many ------------------------------------------------------------------


def test_a_truth_is_taken_over(tmp_path: Path) -> None:
    first = record(tmp_path / "first", PANEL, WORLD, Counting(), batch_size=4)
    second = record(
        tmp_path / "second", PANEL, None, Frozen(), batch_size=1, truth=tmp_path / "first"
    )
    assert second == first
    assert torch.equal(
        Recording(tmp_path / "second").truth.frames, Recording(tmp_path / "first").truth.frames
    )
    judged = PANEL.with_thresholds({"perceptual_drift": 0.1})
    third = record(tmp_path / "third", judged, None, Frozen(), truth=tmp_path / "first")
    assert third.axes[0].threshold == 0.1
    assert third.scenarios == first.scenarios
    other = small_panel(seeds=3)
    with pytest.raises(PanelMismatchError, match="seeds"):
        record(tmp_path / "fourth", other, None, Frozen(), truth=tmp_path / "first")
    assert not (tmp_path / "fourth").exists()  # nothing is in the way of the right question


def test_a_partial_truth_is_completed_or_refused(tmp_path: Path) -> None:
    record(tmp_path / "part", PANEL, WORLD, Counting(), batch_size=2, shard=(0, 3))
    with pytest.raises(ValueError, match="2 of 3 are missing, the first of them 'scene-1'"):
        record(tmp_path / "r", PANEL, None, Frozen(), truth=tmp_path / "part")
    world = SpriteWorldNamed()
    record(tmp_path / "r", PANEL, world, Frozen(), truth=tmp_path / "part")
    assert {s for s, _ in world.rows} == {1, 2}
    assert Recording(tmp_path / "r").panel == Recording(tmp_path / "part").panel
