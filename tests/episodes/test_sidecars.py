"""Videos with actions beside them: every kind of file, alignments, names, bad rows."""

from __future__ import annotations

import json
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
    VideoEpisodes,
    read_action_rows,
)
from wmscore.video import write_video

pytest.importorskip("av")

NAMES = ("noop", "left", "right")
MOVES = ["left", "noop", "right", "left", "noop"]


def write_film(path: Path, episode: int = 0, frames: int = 5, encoding: str = "ffv1") -> None:
    images = torch.from_numpy(film(episode, frames)).permute(0, 3, 1, 2)
    write_video(path, images, fps=8, encoding=encoding)


def write_rows(path: Path, rows: list[Any], field: str = "actions") -> Path:
    """Rows in the kind of file that the suffix says."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "\n")
    elif path.suffix == ".json":
        path.write_text(json.dumps({field: rows}))
    elif path.suffix == ".csv":
        table = [row if isinstance(row, dict) else {field: row} for row in rows]
        lines = [",".join(table[0]), *(",".join(map(str, row.values())) for row in table)]
        path.write_text("\n".join(lines) + "\n")
    elif path.suffix == ".npy":
        np.save(path, np.array(rows))
    else:
        np.savez(path, **{field: np.array(rows)})
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".npy", ".npz"])
def test_discrete_actions_in_every_kind_of_file(tmp_path: Path, suffix: str) -> None:
    for i, name in enumerate(("one", "two")):
        write_film(tmp_path / f"{name}.mkv", i)
        named = suffix in (".jsonl", ".json", ".csv")
        rows = MOVES if named else [NAMES.index(move) for move in MOVES]
        write_rows(tmp_path / f"{name}{suffix}", rows)
    source = VideoEpisodes(tmp_path, align="at_frame", action_names=NAMES)
    assert isinstance(source, EpisodeSource)
    assert [key.id for key in source.keys()] == ["one", "two"]
    assert (source.facts.fps, source.facts.frame_size) == (8.0, (16, 24))
    assert source.facts.actions == "discrete"
    assert source.facts.codec is None
    episode = source.read(source.keys()[1])
    assert shown(episode.frames) == [(1, t) for t in range(5)]
    assert episode.actions is not None
    assert episode.actions.tolist() == [1, 0, 2, 1]
    part = source.read(source.keys()[1], start=2, frames=2)
    assert shown(part.frames) == [(1, 2), (1, 3)]
    assert part.actions is not None
    assert part.actions.tolist() == [2]
    assert source.frame_count(source.keys()[0]) == 5
    with pytest.raises(EpisodeTooShortError, match="has 5"):
        source.read(source.keys()[0], start=3, frames=3)


def test_vectors_are_lists_or_have_names(tmp_path: Path) -> None:
    write_film(tmp_path / "one.mkv")
    rows = [{"yaw": t / 4, "note": "x", "w": True} for t in range(4)]
    path = write_rows(tmp_path / "one.jsonl", rows)
    source = VideoEpisodes(
        tmp_path, align="transition", action_names=["w", "yaw"], action_units=["button", "degree"]
    )
    actions = source.read(source.keys()[0]).actions
    assert actions is not None
    assert actions.tolist() == [[1, 0], [1, 0.25], [1, 0.5], [1, 0.75]]
    assert source.facts.action_units == ("button", "degree")
    write_rows(path, script(3, 4).tolist())
    source = VideoEpisodes(tmp_path, align="transition")
    assert source.facts.action_names == ("action_0", "action_1")
    path.unlink()
    write_rows(tmp_path / "one.csv", [{"dx": t, "dy": -0.5} for t in range(4)])
    source = VideoEpisodes(tmp_path, align="transition")
    assert source.facts.action_names == ("dx", "dy")
    actions = source.read(source.keys()[0]).actions
    assert actions is not None
    assert actions.tolist() == [[t, -0.5] for t in range(4)]


def test_other_formats_are_read_by_a_function(tmp_path: Path) -> None:
    write_film(tmp_path / "one.mkv")
    (tmp_path / "one.keys").write_text("L.RL.")
    source = VideoEpisodes(
        tmp_path,
        align="produced",
        action_names=NAMES,
        suffix=".keys",
        read_actions=lambda path: torch.tensor([".LR".index(c) for c in path.read_text()]),
    )
    actions = source.read(source.keys()[0]).actions
    assert actions is not None
    assert actions.tolist() == [0, 2, 1, 0]


def test_results_of_a_panel_are_keyed_by_their_names(tmp_path: Path) -> None:
    for name in ("hall_3_0", "hall_3_1", "old_hall_5_0"):
        write_film(tmp_path / f"{name}.mkv")
        write_rows(tmp_path / f"{name}.json", MOVES[:4])
    source = VideoEpisodes(
        tmp_path, align="transition", action_names=NAMES, pattern="{scenario}_{seed}_{branch}"
    )
    found = [(key.scenario, key.seed, key.branch) for key in source.keys()]
    assert found == [("hall", 3, 0), ("hall", 3, 1), ("old_hall", 5, 0)]


def test_lossy_films_say_so_and_rates_can_be_set(tmp_path: Path) -> None:
    write_film(tmp_path / "one.mp4", encoding="h264")
    write_rows(tmp_path / "one.json", MOVES[:4])
    source = VideoEpisodes(tmp_path, align="transition", action_names=NAMES, fps=10)
    assert source.facts.codec is not None
    assert source.facts.codec["codec"] == "h264"
    assert source.facts.fps == 10
    assert "frames count as 10 per second" in source.facts.notes
    assert source.read(source.keys()[0]).fps == 10


def test_bad_folders_are_named(tmp_path: Path) -> None:
    write_film(tmp_path / "one.mkv")
    with pytest.raises(EpisodeError, match=r"one\.mkv: expected its actions in one\.jsonl or"):
        VideoEpisodes(tmp_path, align="transition")
    path = write_rows(tmp_path / "one.json", [0, 1, 2])
    with pytest.raises(ValueError, match="action_names: expected one for each discrete action"):
        VideoEpisodes(tmp_path, align="transition")
    source = VideoEpisodes(tmp_path, align="transition", action_names=NAMES)
    with pytest.raises(EpisodeError, match=r"'one': actions: expected 4 rows for 5 frames"):
        source.read(source.keys()[0])
    write_rows(path, [0, 1, 2, 3])
    with pytest.raises(EpisodeError, match=r"'one': expected actions 0\.\.2 .*got 0\.\.3"):
        source.read(source.keys()[0])
    write_rows(path, [[0.0, 1.0]] * 4)
    with pytest.raises(EpisodeError, match=r"expected \[N\] numbers of discrete"):
        source.read(source.keys()[0])
    (tmp_path / "one.mkv").write_bytes((tmp_path / "one.mkv").read_bytes()[:600])
    with pytest.raises(EpisodeError, match=r"one\.mkv"):
        source.read(source.keys()[0])
    with pytest.raises(EpisodeError, match="has no clip 'two'"):
        source.read(EpisodeKey(id="two"))


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("a.jsonl", "0\n{", "a.jsonl: line 2: not valid JSON"),
        ("a.jsonl", "", "a.jsonl: expected rows of actions, there are none"),
        ("a.json", '{"moves": []}', r"a.json: expected 'actions', got \['moves'\]"),
        ("a.json", '"left"', "a.json: expected a list of rows, got str"),
        ("a.json", '[0, "up"]', r"row 1: expected one of \['noop', 'left'\] or its number"),
        ("a.json", "[0, 1.5]", "row 1: expected one of .* got 1.5"),
        ("a.json", "[[0, 1], [0]]", r"row 1: expected 2 numbers, got \[0\]"),
        ("a.json", '[[0, 1], [0, "x"]]', "row 1: expected 2 numbers"),
        ("a.json", '[{"left": 1, "noop": 0}, {"left": 1}]', "row 1: expected a number 'noop'"),
        ("a.json", '[{"left": 1, "noop": 0}, 3]', "row 1: expected an object with"),
        ("a.csv", "left,noop\n1,2\n3\n", "a.csv: line 3: expected 2 values"),
        ("a.csv", "left,noop\n1,x\n", "row 0: expected a number 'noop', got 'x'"),
        ("a.npz", "text", "a.npz: "),
        ("a.npy", "text", "a.npy: "),
        ("none.json", None, "none.json"),
    ],
)
def test_bad_action_files_are_named(
    tmp_path: Path, name: str, text: str | None, found: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(EpisodeError, match=found):
        read_action_rows(tmp_path / name, names=["noop", "left"])
