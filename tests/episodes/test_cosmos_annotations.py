"""Cosmos Predict 2 and 2.5: actions from states, films by annotation, clips put together."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.clip_files import lossless, moving
from wmscore.episodes import ClipFolder, CosmosAnnotations, EpisodeError, EpisodeSource
from wmscore.episodes.cosmos import relative_actions

pytest.importorskip("av")


def turn(roll: float, pitch: float, yaw: float) -> Tensor:
    """Three turns about fixed axes, one after the other."""

    def about(axis: int, angle: float) -> Tensor:
        matrix = torch.eye(3, dtype=torch.float64)
        i, j = [(1, 2), (2, 0), (0, 1)][axis]
        matrix[i, i] = matrix[j, j] = math.cos(angle)
        matrix[i, j], matrix[j, i] = -math.sin(angle), math.sin(angle)
        return matrix

    return about(2, yaw) @ about(1, pitch) @ about(0, roll)


def test_actions_lead_from_each_pose_to_the_next() -> None:
    states = torch.randn(9, 6, dtype=torch.float64)
    gripper = torch.rand(9)
    actions = relative_actions(states, gripper, scale=20.0, gripper_scale=0.5).double()
    assert actions.shape == (8, 7)
    for t in range(8):
        here, there = turn(*states[t, 3:].tolist()), turn(*states[t + 1, 3:].tolist())
        moved = states[t, :3] + here @ (actions[t, :3] / 20)
        torch.testing.assert_close(moved, states[t + 1, :3], atol=1e-5, rtol=0)
        turned = here @ turn(*(actions[t, 3:6] / 20).tolist())
        torch.testing.assert_close(turned, there, atol=1e-5, rtol=0)
        assert float(actions[t, 6]) == pytest.approx(float(gripper[t + 1]) / 2)
    with pytest.raises(ValueError, match=r"expected \[T \+ 1, 6\] and \[T \+ 1\]"):
        relative_actions(states[:, :5], gripper)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "annotation").mkdir()
    (tmp_path / "videos").mkdir()
    for name, seed in (("a", 1), ("b", 2)):
        lossless(tmp_path / "videos" / f"{name}.mkv", moving(7, seed=seed), fps=5)
        annotation(tmp_path, name)
    return tmp_path


def annotation(folder: Path, name: str, count: int = 7, **changes: object) -> None:
    g = torch.Generator().manual_seed(3)
    data = {
        "state": torch.randn(count, 6, generator=g).tolist(),
        "continuous_gripper_state": torch.rand(count, generator=g).tolist(),
        "action": torch.randn(count, 7, generator=g).tolist(),
        "videos": [{"video_path": f"videos/{name}.mkv"}],
        "texts": ["pick up the cup"],
        **changes,
    }
    (folder / "annotation" / f"{name}.json").write_text(json.dumps(data))


def test_annotated_films(folder: Path) -> None:
    source = CosmosAnnotations(folder)
    assert isinstance(source, EpisodeSource)
    assert [key.id for key in source.keys()] == ["a", "b"]
    assert source.facts.fps == 5
    assert source.facts.action_units == ("number",) * 7
    episode = source.read(source.keys()[1])
    data = json.loads((folder / "annotation" / "b.json").read_text())
    states = torch.tensor(data["state"], dtype=torch.float64)
    gripper = torch.tensor(data["continuous_gripper_state"])
    assert torch.equal(episode.frames, moving(7, seed=2))
    assert episode.actions is not None
    assert torch.equal(episode.actions, relative_actions(states, gripper))
    assert episode.prompt == "pick up the cup"
    part = source.read(source.keys()[1], start=2, frames=3)
    assert part.actions is not None
    assert torch.equal(part.actions, episode.actions[2:4])

    half = CosmosAnnotations(folder, every=2, scale=1.0)
    assert half.facts.fps == 2.5
    assert half.facts.action_units[:4] == ("metre", "metre", "metre", "radian")
    episode = half.read(half.keys()[0])
    assert torch.equal(episode.frames, moving(7, seed=1)[::2])
    assert episode.actions is not None
    assert torch.equal(episode.actions, relative_actions(states[::2], gripper[::2], scale=1.0))


def test_stored_actions_need_their_alignment(folder: Path) -> None:
    source = CosmosAnnotations(folder, actions="stored", align="at_frame")
    data = json.loads((folder / "annotation" / "a.json").read_text())
    actions = source.read(source.keys()[0]).actions
    assert actions is not None
    assert torch.equal(actions, torch.tensor(data["action"])[:-1])
    wrong = CosmosAnnotations(folder, actions="stored")
    with pytest.raises(EpisodeError, match=r"a.json: .* expected 6 rows for 7 frames"):
        wrong.read(wrong.keys()[0])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"count": 5}, "for each of 7 frames, got 5 and 5"),
        ({"state": [[1.0]] * 7}, r"expected \[T \+ 1, 6\]"),
        ({"state": "none"}, "state: expected numbers"),
        ({"continuous_gripper_state": [float("nan")] * 7}, "expected finite numbers"),
        ({"videos": []}, "expected a film of camera 0"),
        ({"videos": ["videos/absent.mkv"]}, "there is none"),
    ],
)
def test_a_bad_annotation_is_an_error_of_its_own(
    folder: Path, changes: dict[str, object], says: str
) -> None:
    annotation(folder, "a", **changes)  # type: ignore[arg-type]
    source = CosmosAnnotations(folder)
    with pytest.raises(EpisodeError, match=says):
        source.read(source.keys()[0])
    assert source.read(source.keys()[1]).steps == 6


def test_folders_without_annotations_are_refused(folder: Path) -> None:
    with pytest.raises(EpisodeError, match="expected annotations"):
        CosmosAnnotations(folder, annotations="annotations")
    with pytest.raises(ValueError, match="every"):
        CosmosAnnotations(folder, every=2, actions="stored")
    for path in (folder / "videos").iterdir():
        path.unlink()
    with pytest.raises(EpisodeError, match="none of the films can be read"):
        CosmosAnnotations(folder)


def test_generated_chunks_lose_the_frames_that_are_there_twice(tmp_path: Path) -> None:
    frames = moving(37, 32, 160)
    # Each chunk of 12 begins with the last frame of the one before, and loses its own last one.
    chunks = [frames[:13], frames[12:24], frames[23:35]]
    lossless(tmp_path / "a_chunk.mkv", torch.cat(chunks))
    clips = ClipFolder(tmp_path, pattern="{scenario}_chunk", seam_chunk=12)
    (key,) = clips.keys()
    assert key.scenario == "a"
    episode = clips.read(key)
    assert torch.equal(episode.frames, frames[:35])
    assert episode.notes == (
        "2 of 37 frames at the seams of chunks of 12 repeat the one before and are dropped",
    )
