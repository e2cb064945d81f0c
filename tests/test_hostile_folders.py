"""Recordings in folders that others write to, that were cut short, or that hold half a truth."""

import fcntl
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from tests.test_recordings import PANEL, WORLD, Counting, SpriteWorldNamed, files, small_panel
from wmscore import files as files_module
from wmscore.files import create_file
from wmscore.recordings import Recording, record
from wmscore.recordings.layout import Shard
from wmscore.recordings.locks import lock_shard
from wmscore.recordings.truth import TruthParts
from wmscore.worlds import Frozen, Item

# ---- who writes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mine", "other", "apart"),
    [
        ((0, 1), (1, 2), False),
        ((1, 2), (1, 4), False),
        ((1, 2), (0, 4), True),
        ((0, 2), (0, 3), False),
    ],
)
def test_shards_that_share_parts_do_not_run_at_once(
    tmp_path: Path, mine: tuple[int, int], other: tuple[int, int], apart: bool
) -> None:
    """Another count is another cut: two runs would make the same parts, and each other's drafts."""
    with lock_shard(tmp_path, Shard(*other)):
        if apart:
            with lock_shard(tmp_path, Shard(*mine)):
                pass
        else:
            with pytest.raises(ValueError, match=f"is recording {other[0]}/{other[1]} into"):
                with lock_shard(tmp_path, Shard(*mine)):
                    pass
    with lock_shard(tmp_path, Shard(*mine)):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_of_a_killed_process_is_none(tmp_path: Path) -> None:
    (tmp_path / ".shard-1-of-2.lock").touch()
    with lock_shard(tmp_path, Shard(0, 1)):
        assert (tmp_path / ".shard-0-of-1.lock").exists()


def test_a_lock_on_a_file_that_is_gone_locks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waited while the last process removed its lock file must not share with the next."""
    real, removed = fcntl.flock, []

    def flock(file: object, how: int) -> None:
        if not removed:
            removed.append(True)
            (tmp_path / ".shard-0-of-1.lock").unlink()
        real(file, how)  # type: ignore[arg-type]

    monkeypatch.setattr(fcntl, "flock", flock)
    with lock_shard(tmp_path, Shard(0, 1)):
        with pytest.raises(ValueError, match="another process"):
            with lock_shard(tmp_path, Shard(0, 1)):
                pass


def test_small_files_are_on_the_disk_before_they_have_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut leaves no empty panel.json, with which no run could go on."""
    told: list[str] = []
    monkeypatch.setattr("os.fsync", lambda handle: told.append("sync"))
    real = files_module.link_file
    monkeypatch.setattr(
        files_module, "link_file", lambda *names: (told.append("name"), real(*names))[1]
    )
    assert create_file(tmp_path / "panel.json", "{}")
    assert told == ["sync", "name"]


def test_a_recording_that_is_cut_short_names_its_file(tmp_path: Path) -> None:
    record(tmp_path / "r", PANEL, WORLD, Counting())
    (tmp_path / "r" / "recording.json").write_text('{"version": 2, "mod')
    with pytest.raises(ValueError, match=r"recording\.json: expected what .* wrote, got"):
        Recording(tmp_path / "r")
    (tmp_path / "r" / "recording.json").write_text('{"version": 2, "mode": 1}')
    with pytest.raises(ValueError, match=r"recording\.json: expected what .* wrote, got"):
        record(tmp_path / "r", PANEL, WORLD, Counting())


def test_drafts_of_killed_writes_go(tmp_path: Path) -> None:
    """Those of safetensors too, which a SIGKILL was seen to leave; nothing else does."""
    folder = tmp_path / "r"
    record(folder, PANEL, WORLD, Counting(), batch_size=2)
    ours = [
        ".tmpUt1P5y",
        ".rollouts-00001.safetensors.ab_cd1.safetensors",
        ".truth-00000.safetensors.abcd12.safetensors",
        ".part-00001.log.abcd12.log",
        ".panel.json.abcd12.json",
    ]
    for name in [*ours, ".nfs0001", ".tmp", ".hidden.json"]:
        (folder / name).touch()
    known = files(folder)
    record(folder, PANEL, WORLD, Counting(), batch_size=2, shard=(0, 2))
    assert set(known) - set(files(folder)) == set()  # another shard may be writing these
    record(folder, PANEL, WORLD, Counting(), batch_size=2)
    assert set(known) - set(files(folder)) == set(ours)


# ---- truth -------------------------------------------------------------------------------


def test_a_truth_in_overlapping_files_is_there_once(tmp_path: Path) -> None:
    """Shards that were given truths of other batch sizes hold a scenario in several files."""
    from wmscore.replay import render_scenarios

    panel = small_panel(scenarios=3)
    for name, scenarios in (("a", range(2)), ("b", range(1, 3))):
        (tmp_path / name).mkdir()
        truth = TruthParts([tmp_path / name], "question")
        truth.write(tmp_path / name, render_scenarios(panel, WORLD, scenarios))
    truths = TruthParts([tmp_path / "a", tmp_path / "b"], "question")
    rows = truths.rows([1, 2], panel.fingerprint)
    assert rows.scenario.tolist() == [1, 1, 1, 2, 2, 2]
    assert (
        truths.rows([0, 1, 2], panel.fingerprint).scenario.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    )


@pytest.mark.parametrize("broken", [True, False])
def test_a_given_truth_takes_the_place_of_what_does_not_do(tmp_path: Path, broken: bool) -> None:
    """Files of the same name that are broken, or hold fewer scenarios, are in nobody's way."""
    record(tmp_path / "given", PANEL, WORLD, Counting(), batch_size=6)
    folder = tmp_path / "r"

    def stop(items: Sequence[Item]) -> None:
        if items[0].scenario == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):  # when it has rendered one scenario
        record(folder, PANEL, SpriteWorldNamed(stop), Frozen(), batch_size=1)
    path = folder / "truth-00000.safetensors"
    if broken:
        path.write_bytes(path.read_bytes()[:-1])
    record(folder, PANEL, None, Frozen(), batch_size=1, truth=tmp_path / "given")
    recording = Recording(folder)
    assert recording.complete
    assert torch.equal(recording.truth.frames, Recording(tmp_path / "given").truth.frames)
    assert Recording(tmp_path / "given").complete
