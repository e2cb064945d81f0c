"""One episode that cannot be used, the first included, is an error of its own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.clip_files import lossless, moving
from wmscore.episodes import (
    ArrayEpisodes,
    EpisodeError,
    EpisodeSource,
    LeRobotEpisodes,
    RobomimicEpisodes,
    VideoEpisodes,
)


def outcomes(source: EpisodeSource) -> list[str]:
    """The error of each episode, or nothing."""
    found = []
    for key in source.keys():
        try:
            source.read(key)
            found.append("")
        except EpisodeError as error:
            found.append(str(error))
    return found


def robomimic(path: Path, edit: Callable[[Any], None]) -> Path:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps({"env_kwargs": {"control_freq": 20}})
        for i in range(2):
            data[f"demo_{i}/obs/cam_image"] = np.zeros((5, 8, 8, 3), dtype=np.uint8)
            data[f"demo_{i}/actions"] = np.zeros((5, 2))
        edit(file)
    return path


def test_robomimic(tmp_path: Path) -> None:
    def without_actions(file: Any) -> None:
        del file["data/demo_0/actions"]

    def without_images(file: Any) -> None:
        del file["data/demo_0/obs"]

    def nested(file: Any) -> None:
        file["data/demo_0/obs"].create_group("deep")

    def larger(file: Any) -> None:
        del file["data/demo_1/obs"]
        file["data/demo_1/obs/cam_image"] = np.zeros((5, 9, 9, 3), dtype=np.uint8)

    for edit, says in (
        (without_actions, ("expected an array 'actions'", "")),
        (without_images, ("expected an array 'obs/cam_image'", "")),
        (nested, ("", "")),
        (larger, ("", "expected frames of (8, 8) as others have, got (9, 9)")),
    ):
        found = outcomes(RobomimicEpisodes(robomimic(tmp_path / "a.hdf5", edit)))
        for message, wanted in zip(found, says, strict=True):
            assert wanted in message
            assert bool(message) == bool(wanted)

    def empty_mask(file: Any) -> None:
        file["mask/valid"] = np.array([], dtype="S8")

    with pytest.raises(ValueError, match="filter_key: 'valid' names no demonstration"):
        RobomimicEpisodes(robomimic(tmp_path / "a.hdf5", empty_mask), filter_key="valid")


def test_arrays(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"junk")
    np.savez(tmp_path / "b.npz", frames=np.zeros((3, 8, 8, 3), np.uint8), actions=np.zeros((2, 1)))
    broken, whole = outcomes(ArrayEpisodes(tmp_path, fps=10, align="transition"))
    assert "a.npz" in broken
    assert whole == ""


def test_a_video_without_actions(tmp_path: Path) -> None:
    pytest.importorskip("av")
    for name in ("a", "b"):
        lossless(tmp_path / f"{name}.mkv", moving(3))
    np.save(tmp_path / "b.npy", np.array([0, 1]))
    source = VideoEpisodes(tmp_path, align="transition", action_names=["noop", "left"])
    alone, whole = outcomes(source)
    assert "expected its actions in a.jsonl or" in alone
    assert whole == ""


def test_lerobot_videos(tmp_path: Path) -> None:
    pytest.importorskip("av")
    pytest.importorskip("pyarrow")
    from tests.episodes.lerobot_writer import write_lerobot
    from wmscore.video import stored_facts

    films = [moving(6, 64, 64, seed=i).permute(0, 2, 3, 1).numpy() for i in range(3)]
    write_lerobot(tmp_path, films, [np.zeros((6, 2), np.float32)] * 3, codec="libx264")
    first, second = sorted(tmp_path.rglob("*.mp4"))
    # The size of all packets counts: those of key frames alone are larger.
    source = LeRobotEpisodes(tmp_path)
    assert source.facts.codec == stored_facts(first).as_dict()
    first.write_bytes(b"junk")
    source = LeRobotEpisodes(tmp_path)
    assert source.facts.codec == stored_facts(second).as_dict()
    assert [bool(message) for message in outcomes(source)] == [True, True, False]
