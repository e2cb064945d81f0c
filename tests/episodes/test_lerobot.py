"""LeRobot v3: several episodes in a file, several cameras and files, images; bad data sets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from wmscore.episodes import EpisodeError, EpisodeKey, EpisodeSource, EpisodeTooShortError
from wmscore.episodes.lerobot import LeRobotEpisodes

pytest.importorskip("pyarrow")
pytest.importorskip("av")
from tests.episodes.films import film, script, shown
from tests.episodes.lerobot_writer import write_lerobot

LENGTHS = (7, 5, 9)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sets") / "arms"
    write_lerobot(
        path,
        [film(i, n, 64, 64) for i, n in enumerate(LENGTHS)],
        [script(i, n) for i, n in enumerate(LENGTHS)],
        cameras=("observation.images.top", "observation.images.wrist"),
    )
    return path


def test_episodes_are_told_apart_within_a_file(root: Path) -> None:
    source = LeRobotEpisodes(root, camera="observation.images.top", columns=["reward"])
    assert isinstance(source, EpisodeSource)
    assert (source.name, source.facts.fps, source.facts.frame_size) == ("arms", 10, (64, 64))
    assert source.facts.action_names == ("x", "y")
    assert source.facts.codec is not None
    assert source.facts.codec["codec"] == "av1"
    assert "the last row of an episode" in source.facts.notes[0]
    assert [key.id for key in source.keys()] == [f"episode_00000{i}" for i in range(3)]
    for i, (key, length) in enumerate(zip(source.keys(), LENGTHS, strict=True)):
        assert source.frame_count(key) == length
        episode = source.read(key)
        assert shown(episode.frames) == [(i, t) for t in range(length)]
        assert episode.actions is not None
        assert episode.actions.tolist() == [[t, i] for t in range(length - 1)]
        assert episode.info["reward"].tolist() == list(range(length))
    assert source.read(source.keys()[0]).prompt == "task 0"
    second = source.read(source.keys()[1])
    assert second.prompt == "push"
    assert "has the tasks ['push', 'pull']" in second.notes[0]


def test_a_part_is_that_part(root: Path) -> None:
    source = LeRobotEpisodes(root, camera="observation.images.top")
    part = source.read(source.keys()[1], start=2, frames=3)
    assert shown(part.frames) == [(1, 2), (1, 3), (1, 4)]
    assert part.actions is not None
    assert part.actions.tolist() == [[2, 1], [3, 1]]
    with pytest.raises(EpisodeTooShortError, match=r"expected frames 3\.\.5, has 5") as error:
        source.read(source.keys()[1], start=3, frames=3)
    assert error.value.frames == 5
    with pytest.raises(EpisodeError, match="'episode_000007': expected one of the 3"):
        source.read(EpisodeKey(id="episode_000007"))


def test_cameras_and_conventions_are_named(root: Path) -> None:
    with pytest.raises(ValueError, match=r"camera: expected one of .*top.*wrist.*got None"):
        LeRobotEpisodes(root)
    wrist = LeRobotEpisodes(root, camera="observation.images.wrist")
    top = LeRobotEpisodes(root, camera="observation.images.top", align="produced")
    key = top.keys()[0]
    brighter = wrist.read(key).frames.double().mean() - top.read(key).frames.double().mean()
    assert float(brighter) == pytest.approx(10, abs=2)
    actions = top.read(key).actions
    assert actions is not None
    assert actions[:, 0].tolist() == [1, 2, 3, 4, 5, 6]
    for options, found in (
        ({"align": "before"}, "align: expected one of"),
        ({"action": "torque"}, "action: expected one of .*got 'torque'"),
        ({"columns": ["torque"]}, "columns: expected one of"),
        ({"action_names": ["x"]}, r"action_names: expected 2, got \['x'\]"),
        ({"action_units": ["metre"]}, "action_units: expected 2 or none"),
    ):
        with pytest.raises(ValueError, match=found):
            LeRobotEpisodes(root, camera="observation.images.top", **options)  # type: ignore[arg-type]


def test_image_features_are_exact(tmp_path: Path) -> None:
    films = [film(i, 4) for i in range(3)]
    write_lerobot(
        tmp_path / "set",
        films,
        [script(i, 4) for i in range(3)],
        cameras=["observation.image"],
        images=True,
        names={"motors": ["shoulder", "elbow"]},
    )
    source = LeRobotEpisodes(tmp_path / "set")
    assert source.facts.codec is None
    assert source.facts.action_names == ("shoulder", "elbow")
    part = source.read(source.keys()[2], start=1)
    assert torch.equal(part.frames, torch.from_numpy(films[2][1:]).permute(0, 3, 1, 2))
    assert part.actions is not None
    assert part.actions.tolist() == [[1, 2], [2, 2]]


def test_other_versions_and_broken_sets_are_told(tmp_path: Path, root: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no LeRobot data set .*info\.json is missing"):
        LeRobotEpisodes(tmp_path)
    films, scripts = [film(0, 4)] * 2, [script(0, 4)] * 2
    for number, (info, found) in enumerate(
        [
            ({"codebase_version": "v2.1"}, r"is v2\.1; convert it with .*convert_dataset_v21_to"),
            ({"codebase_version": "v1.6"}, r"expected LeRobot v3, .* is v1\.6$"),
            ({"storage_format": "lance"}, "expected parquet tables and videos, .*'lance'"),
            ({"total_episodes": 3}, "expected 3 episodes .* has 2; was the data set finalized"),
        ]
    ):
        path = tmp_path / str(number)
        write_lerobot(path, films, scripts, images=True, cameras=["c"], **info)
        with pytest.raises(ValueError, match=found):
            LeRobotEpisodes(path)
    path = tmp_path / "short"
    write_lerobot(path, films, scripts, images=True, cameras=["c"])
    table = path / "data/chunk-000/file-000.parquet"
    import pyarrow.parquet as pq

    pq.write_table(pq.read_table(table).slice(0, 7), table)
    source = LeRobotEpisodes(path)
    assert len(source.read(source.keys()[0]).frames) == 4  # the other one can be read
    with pytest.raises(EpisodeError, match=r"expected the rows 0\.\.3 by meta/episodes.*got 3"):
        source.read(source.keys()[1])


def test_a_video_that_lacks_frames_is_told(tmp_path: Path) -> None:
    path = tmp_path / "set"
    write_lerobot(path, [film(0, 4, 64, 64)] * 2, [script(0, 4)] * 2, codec="libx264")
    about = json.loads((path / "meta/info.json").read_text())
    about["fps"] = 5  # as if every second frame were missing
    (path / "meta/info.json").write_text(json.dumps(about))
    source = LeRobotEpisodes(path)
    with pytest.raises(EpisodeError, match=r"expected a frame every 0\.2 s from 0 s on"):
        source.read(source.keys()[0])
    video = path / "videos/observation.images.top/chunk-000/file-000.mp4"
    video.write_bytes(video.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"file-000\.mp4"):
        LeRobotEpisodes(path)
