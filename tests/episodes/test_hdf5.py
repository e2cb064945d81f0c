"""HDF5 as robomimic and Minari write it, with files written by h5py and by minari itself."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.episodes.films import film, script, shown
from wmscore.episodes import (
    EpisodeError,
    EpisodeKey,
    EpisodeSource,
    EpisodeTooShortError,
    MinariEpisodes,
    RobomimicEpisodes,
)
from wmscore.video import CodecFacts

h5py = pytest.importorskip("h5py")


def write_robomimic(path: Path, lengths: dict[str, int], **options: Any) -> Path:
    """Demonstrations with two cameras; `following` adds next observations."""
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps(
            {"env_name": "Lift", "env_kwargs": {"control_freq": 20}}
        )
        for i, (name, length) in enumerate(lengths.items()):
            demo = data.create_group(name)
            demo.attrs["num_samples"] = length
            demo["actions"] = script(i, length).astype(np.float64)
            frames = film(i, length + 1)
            if options.get("images", True):
                demo["obs/agentview_image"] = frames[:-1]
                demo["obs/eye_image"] = frames[:-1, ::2, ::2]
            demo["obs/joints"] = np.zeros((length, 7))
            if options.get("following"):
                demo["next_obs/agentview_image"] = frames[1:]
        file["mask/valid"] = np.array([b"demo_10", b"demo_2"])
        file["mask/wrong"] = np.array([b"demo_99"])
    return path


LENGTHS = {"demo_10": 4, "demo_2": 6, "demo_0": 5}


def test_demonstrations_are_read_by_number(tmp_path: Path) -> None:
    path = write_robomimic(tmp_path / "lift.hdf5", LENGTHS)
    source = RobomimicEpisodes(path, camera="agentview_image")
    assert isinstance(source, EpisodeSource)
    assert [key.id for key in source.keys()] == ["demo_0", "demo_2", "demo_10"]
    assert (source.name, source.facts.fps, source.facts.frame_size) == ("lift", 20, (16, 24))
    assert len(source.facts.notes) == 2  # at_frame, and float64
    episode = source.read(source.keys()[1])
    assert shown(episode.frames) == [(1, t) for t in range(6)]
    assert episode.actions is not None
    assert episode.actions[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert source.frame_count(source.keys()[1]) == 6
    assert RobomimicEpisodes(path, camera="eye_image").facts.frame_size == (8, 12)
    valid = RobomimicEpisodes(path, camera="eye_image", filter_key="valid", fps=10)
    assert [key.id for key in valid.keys()] == ["demo_2", "demo_10"]
    assert valid.facts.fps == 10


def test_next_observations_show_the_last_action(tmp_path: Path) -> None:
    path = write_robomimic(tmp_path / "lift.hdf5", LENGTHS, following=True)
    source = RobomimicEpisodes(path, camera="agentview_image")
    assert source.facts.notes == ("actions are float64 in the files, and rounded to float32",)
    episode = source.read(EpisodeKey(id="demo_10"))
    assert shown(episode.frames) == [(0, t) for t in range(5)]
    assert episode.actions is not None
    assert episode.actions[:, 0].tolist() == [0, 1, 2, 3]
    part = source.read(EpisodeKey(id="demo_10"), start=3, frames=2)
    assert shown(part.frames) == [(0, 3), (0, 4)]
    assert source.frame_count(EpisodeKey(id="demo_10")) == 5
    with pytest.raises(EpisodeTooShortError, match="has 5"):
        source.read(EpisodeKey(id="demo_10"), start=4, frames=2)


def test_bad_robomimic_files_are_named(tmp_path: Path) -> None:
    path = write_robomimic(tmp_path / "lift.hdf5", LENGTHS)
    for options, found in (
        ({}, r"camera: expected one of \['agentview_image', 'eye_image'\], got None"),
        ({"camera": "joints"}, "camera: expected one of"),
        ({"camera": "eye_image", "filter_key": "test"}, "filter_key: expected one of .*valid"),
        ({"camera": "eye_image", "filter_key": "wrong"}, r"names \['demo_99'\], not in the file"),
        ({"camera": "eye_image", "action_names": ["x"]}, r"action_names: expected 2, got \['x'\]"),
    ):
        with pytest.raises(ValueError, match=found):
            RobomimicEpisodes(path, **options)
    bare = write_robomimic(tmp_path / "low_dim.hdf5", LENGTHS, images=False)
    with pytest.raises(ValueError, match="low-dimensional files hold no images"):
        RobomimicEpisodes(bare)
    with pytest.raises(ValueError, match="does not exist"):
        RobomimicEpisodes(tmp_path / "none.hdf5")
    (tmp_path / "text.hdf5").write_text("text")
    with pytest.raises(ValueError, match="cannot be read as HDF5"):
        RobomimicEpisodes(tmp_path / "text.hdf5")
    with h5py.File(path, "a") as file:
        del file["data/demo_0/actions"]
        file["data/demo_0/actions"] = script(0, 3)
        del file["data/demo_2/obs/agentview_image"]
    source = RobomimicEpisodes(path, camera="agentview_image")
    with pytest.raises(EpisodeError, match=r"'demo_0': actions: expected 5 rows for 5 frames"):
        source.read(EpisodeKey(id="demo_0"))
    with pytest.raises(EpisodeError, match=r"'demo_2': expected an array 'obs/agentview_image'"):
        source.read(EpisodeKey(id="demo_2"))
    with pytest.raises(EpisodeError, match="'demo_7': expected one of"):
        source.read(EpisodeKey(id="demo_7"))
    with pytest.raises(EpisodeError, match="'demo_7': expected one of"):
        source.frame_count(EpisodeKey(id="demo_7"))


@pytest.fixture(scope="module")
def minari_sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Data sets that minari wrote: a dictionary with images, discrete; images alone, as JPEG."""
    minari = pytest.importorskip("minari")
    gymnasium = pytest.importorskip("gymnasium")
    spaces = gymnasium.spaces
    root = tmp_path_factory.mktemp("minari")
    image = spaces.Box(0, 255, (64, 64, 3), np.uint8)
    found = {}
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # minari would rather know the environment
        patch.setenv("MINARI_DATASETS_PATH", str(root))
        for name, jpeg in (("raw", False), ("jpeg", True)):
            buffers = []
            for i in range(2):
                frames = list(film(i, 5, 64, 64))
                buffers.append(
                    minari.data_collector.EpisodeBuffer(
                        id=i,
                        observations=frames if jpeg else {"view": frames},
                        actions=list(script(i, 4)) if jpeg else [5, 6, 6, 5],
                        rewards=[0.0, 1.0, 2.0, 3.0],
                        terminations=[False] * 3 + [True],
                        truncations=[False] * 4,
                        infos={},
                    )
                )
            minari.create_dataset_from_buffers(
                f"room/{name}-v0",
                buffers,
                observation_space=image if jpeg else spaces.Dict({"view": image}),
                action_space=spaces.Box(-9, 9, (2,), np.float32)
                if jpeg
                else spaces.Discrete(2, start=5),
                algorithm_name="made",
                author="test",
                author_email="test",
                code_permalink="test",
                description="films of numbers",
                data_format="hdf5",
                jpeg_encoding=jpeg,
            )
            found[name] = root / "room" / f"{name}-v0"
    return found


def test_minari_has_one_observation_more(minari_sets: dict[str, Path]) -> None:
    source = MinariEpisodes(
        minari_sets["raw"], fps=5, frames="observations/view", action_names=["stay", "right"]
    )
    assert isinstance(source, EpisodeSource)
    assert (source.name, source.facts.codec) == ("room/raw-v0", None)
    assert source.facts.actions == "discrete"
    assert source.facts.notes == ()
    episode = source.read(source.keys()[1])
    assert torch.equal(episode.frames, torch.from_numpy(film(1, 5, 64, 64)).permute(0, 3, 1, 2))
    assert episode.actions is not None
    assert episode.actions.tolist() == [0, 1, 1, 0]
    part = source.read(source.keys()[1], start=2, frames=3)
    assert shown(part.frames) == [(1, 2), (1, 3), (1, 4)]
    assert part.actions is not None
    assert part.actions.tolist() == [1, 0]
    assert part.info["rewards"].tolist() == [2, 3]
    assert source.frame_count(source.keys()[0]) == 5


def test_minari_jpeg_is_lossy_and_says_so(minari_sets: dict[str, Path]) -> None:
    source = MinariEpisodes(minari_sets["jpeg"] / "data" / "main_data.hdf5", fps=5)
    assert source.facts.codec is not None
    facts = CodecFacts.from_dict(source.facts.codec)
    assert (facts.codec, facts.lossy, facts.width) == ("mjpeg", True, 64)
    assert 0.5 < facts.bits_per_pixel < 8
    assert "images were stored as JPEG" in source.facts.notes
    episode = source.read(source.keys()[0], start=1)
    assert shown(episode.frames) == [(0, t) for t in range(1, 5)]
    assert source.facts.action_names == ("action_0", "action_1")
    minari = pytest.importorskip("minari")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(minari_sets["jpeg"].parents[1]))
        theirs = minari.load_dataset("room/jpeg-v0")[0].observations
    assert np.array_equal(episode.frames.permute(0, 2, 3, 1).numpy(), theirs[1:])


def test_bad_minari_sets_are_named(minari_sets: dict[str, Path], tmp_path: Path) -> None:
    raw = minari_sets["raw"]
    for options, found in (
        ({}, r"expected an array 'observations', there are \['view'\]"),
        ({"frames": "observations/depth"}, r"expected an array 'observations/depth'"),
        ({"frames": "observations/view", "fps": 0}, "fps: expected above 0"),
        ({"frames": "observations/view", "action_names": ["a"]}, "action_names: expected 2"),
        ({"frames": "rewards"}, r"expected images in .*rewards, got \[4\] float64"),
    ):
        with pytest.raises(ValueError, match=found):
            MinariEpisodes(raw, **({"fps": 5} | options))
    with pytest.raises(ValueError, match=r"metadata\.json does not exist"):
        MinariEpisodes(tmp_path, fps=5)
    for data, found in (
        ({"data_format": "arrow"}, "expected the HDF5 storage of Minari, .*'arrow'"),
        ({}, "names no action space"),
        ({"action_space": '{"type": "MultiDiscrete", "nvec": [2]}'}, "expected discrete actions"),
    ):
        (tmp_path / "metadata.json").write_text(json.dumps(data))
        with pytest.raises(ValueError, match=found):
            MinariEpisodes(tmp_path, fps=5)
