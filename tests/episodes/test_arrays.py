"""Episodes in npz, npy and safetensors: one or many in a file, alignments, padding, bad arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from tests.episodes.films import film, script, shown
from wmscore.episodes import (
    ArrayEpisodes,
    EpisodeError,
    EpisodeKey,
    EpisodeSource,
    EpisodeTooShortError,
)

NAMES = ("noop", "left", "right")


def save(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """As an archive of the kind that the path says."""
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".safetensors":
        save_file({name: np.ascontiguousarray(value) for name, value in arrays.items()}, path)
    else:
        path.mkdir()
        for name, value in arrays.items():
            np.save(path / f"{name}.npy", value)
    return path


def many(frames: int = 5) -> dict[str, np.ndarray]:
    films = np.stack([film(i, frames) for i in range(3)])
    return {
        "frames": films,
        "actions": np.stack([script(i, frames - 1) for i in range(3)]),
        "ids": (films[..., 0] + np.arange(frames)[:, None, None]).astype(np.uint16),
    }


@pytest.mark.parametrize("kind", ["all.npz", "all.safetensors", "all"])
def test_many_episodes_in_one_archive(tmp_path: Path, kind: str) -> None:
    arrays = many()
    source = ArrayEpisodes(save(tmp_path / kind, arrays), fps=4, align="transition", labels="ids")
    assert isinstance(source, EpisodeSource)
    assert (source.name, source.facts.frame_size, source.facts.fps) == ("all", (16, 24), 4.0)
    assert source.facts.action_names == ("action_0", "action_1")
    assert [key.id for key in source.keys()] == [f"episode_00000{i}" for i in range(3)]
    for i, key in enumerate(source.keys()):
        episode = source.read(key, start=1, frames=3)
        assert shown(episode.frames) == [(i, 1), (i, 2), (i, 3)]
        assert episode.actions is not None
        assert episode.actions.tolist() == [[1, i], [2, i]]
        assert episode.labels is not None
        assert episode.labels.dtype == torch.int32
        assert np.array_equal(episode.labels.numpy(), arrays["ids"][i, 1:4])
    assert source.frame_count(source.keys()[0]) == 5
    with pytest.raises(EpisodeTooShortError, match="has 5") as error:
        source.read(source.keys()[0], frames=6)
    assert error.value.frames == 5


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ""])
def test_a_folder_of_files_is_named_by_them(tmp_path: Path, suffix: str) -> None:
    for name in ("walk", "jump"):
        frames = np.ascontiguousarray(film(len(name), 4).transpose(0, 3, 1, 2))
        actions = np.array([0, 2, 1, 2], dtype=np.int32)
        save(tmp_path / f"{name}_3_1{suffix}", {"video": frames, "a": actions})
    source = ArrayEpisodes(
        tmp_path, fps=4, align="at_frame", frames="video", actions="a", action_names=NAMES
    )
    assert [key.id for key in source.keys()] == ["jump_3_1", "walk_3_1"]
    assert source.facts.actions == "discrete"
    assert "at_frame" in source.facts.notes[0]
    episode = source.read(source.keys()[1])
    assert shown(episode.frames) == [(4, t) for t in range(4)]
    assert episode.actions is not None
    assert episode.actions.tolist() == [0, 2, 1]
    produced = ArrayEpisodes(
        tmp_path, fps=4, align="produced", frames="video", actions="a", action_names=NAMES
    )
    found = produced.read(produced.keys()[0]).actions
    assert found is not None
    assert found.tolist() == [2, 1, 2]


def test_padded_episodes_have_their_own_lengths(tmp_path: Path) -> None:
    for align, extra in (("transition", 0), ("at_frame", 1)):
        arrays = many() | {"n": np.array([5, 3, 4])}
        arrays["actions"] = np.stack([script(i, 4 + extra) for i in range(3)])
        path = save(tmp_path / f"{align}.npz", arrays)
        source = ArrayEpisodes(path, fps=4, align=align, lengths="n")  # type: ignore[arg-type]
        episodes = [source.read(key) for key in source.keys()]
        assert [len(e.frames) for e in episodes] == [5, 3, 4]
        assert [source.frame_count(key) for key in source.keys()] == [5, 3, 4]
        actions = [e.actions for e in episodes if e.actions is not None]
        assert [a[:, 0].tolist() for a in actions] == [[0, 1, 2, 3], [0, 1], [0, 1, 2]]


def test_double_precision_is_said_to_be_rounded(tmp_path: Path) -> None:
    arrays = {"frames": film(0, 3), "actions": np.array([0.1, 0.2])}
    source = ArrayEpisodes(save(tmp_path / "one.npz", arrays), fps=4, align="transition")
    assert [key.id for key in source.keys()] == ["one"]
    assert source.facts.notes == ("actions are float64 in the files, and rounded to float32",)
    actions = source.read(source.keys()[0]).actions
    assert actions is not None
    assert actions.tolist() == [[float(np.float32(0.1))], [float(np.float32(0.2))]]


def test_without_actions_there_are_none(tmp_path: Path) -> None:
    path = save(tmp_path / "one.npz", {"frames": film(0, 3)})
    source = ArrayEpisodes(path, fps=4, align="transition", actions=None)
    assert source.facts.actions == "none"
    assert source.read(source.keys()[0]).actions is None
    with pytest.raises(ValueError, match="pass actions=None where they are not known"):
        ArrayEpisodes(path, fps=4, align="transition")


BAD: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"frames": film(0, 3).astype(np.float32)}, {}, "expected uint8 images in 0..255, got float32"),
    ({"frames": film(0, 3)[..., :2]}, {}, r"expected RGB images \[H, W, 3\], got \[16, 24, 2\]"),
    ({"frames": film(0, 3, 3)[..., :, :]}, {}, "are THWC or TCHW; expected layout="),
    ({"frames": film(0, 3)[0]}, {}, r"expected \[N, H, W, 3\] or \[E, N, H, W, 3\]"),
    ({"pixels": film(0, 3)}, {}, r"expected an array 'frames' in .*got .*'pixels'"),
    ({"actions": script(0, 3)}, {}, r"expected 2 rows for 3 frames as 'transition', got \[3, 2\]"),
    ({"actions": script(0, 2)}, {"align": "at_frame"}, "as 'transition' would have"),
    ({"actions": np.full((2, 2), np.nan)}, {}, "expected finite actions, got NaN"),
    ({"actions": np.array([0, 1])}, {}, "action_names: expected one for each discrete action"),
    ({"actions": np.array([0, 3])}, {"action_names": NAMES}, r"expected actions 0\.\.2 .*0\.\.3"),
    ({"actions": np.array(["a", "b"])}, {}, "actions: expected integers or floats"),
    ({"actions": np.array([None, 1])}, {}, "holds pickled objects"),
    ({}, {"action_names": ["x"]}, r"action_names: expected 2, got \['x'\]"),
    ({}, {"labels": "ids"}, "expected 'ids' in"),
    ({}, {"fps": 0}, "fps: expected above 0, got 0"),
    ({}, {"align": "later"}, "align: expected one of"),
    ({}, {"layout": "HWC"}, "layout: expected one of"),
]


@pytest.mark.parametrize(("arrays", "options", "found"), BAD)
def test_bad_arrays_are_named(tmp_path: Path, arrays: Any, options: Any, found: str) -> None:
    whole = {"actions": script(0, 2)} | ({} if "pixels" in arrays else {"frames": film(0, 3)})
    path = save(tmp_path / "one.npz", whole | arrays)
    options = {"fps": 4, "align": "transition"} | options
    with pytest.raises(ValueError, match=found):
        _read_first(path, options)


def _read_first(path: Path, options: dict[str, Any]) -> None:
    source = ArrayEpisodes(path, **options)
    source.read(source.keys()[0])


def test_bad_files_are_named(tmp_path: Path) -> None:
    options: dict[str, Any] = {"fps": 4, "align": "transition"}
    with pytest.raises(ValueError, match="does not exist"):
        ArrayEpisodes(tmp_path / "none.npz", **options)
    with pytest.raises(ValueError, match=r"expected \.npz, \.safetensors or \.npy files in"):
        ArrayEpisodes(tmp_path, **options)
    for name, found in (
        ("a.npz", "a.npz: File is not a zip file"),
        ("a.safetensors", "a.safetensors: "),
        ("a.pt", "pickled files can run code"),
    ):
        (tmp_path / name).write_bytes(b"not an archive")
        with pytest.raises(ValueError, match=found):
            ArrayEpisodes(tmp_path / name, **options)
    folder = tmp_path / "mixed"
    folder.mkdir()
    for name, size in (("a", 24), ("b", 26)):
        save(folder / f"{name}.npz", {"frames": film(0, 3, 16, size), "actions": script(0, 2)})
    source = ArrayEpisodes(folder, **options)
    assert len(source.read(EpisodeKey(id="a")).frames) == 3
    with pytest.raises(EpisodeError, match=r"expected frames of \(16, 24\) as in the first file"):
        source.read(EpisodeKey(id="b"))
    with pytest.raises(EpisodeError, match="'c': expected one of the 2 there are"):
        source.read(EpisodeKey(id="c"))
