"""Motion and poses: axes, round trips, files, Cosmos 3's vectors, GameCraft's list."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wmscore.timeline import (
    GameCraftActions,
    MotionToPose9,
    MotionToPoses,
    Timeline,
    ToGameCraft,
    motion_space,
    read_action_json,
    read_gamecraft,
    read_pose9,
    read_pose_folder,
    read_poses,
    write_action_json,
    write_pose_folder,
)

SPACE = motion_space()
ways = st.floats(-3, 3, width=32)
motions = st.lists(
    st.tuples(ways, ways, ways, *[st.floats(-85, 85, width=32)] * 3), min_size=1, max_size=6
)


def moved(*steps: dict[str, float]) -> Timeline:
    rows = [[step.get(name, 0.0) for name in SPACE.names] for step in steps]
    return Timeline(torch.tensor(rows), SPACE, 16.0)


@pytest.mark.parametrize(
    ("step", "looks", "stands"),
    [
        ({"forward": 2.0}, [0, 0, 1], [0, 0, 2]),
        ({"right": 2.0}, [0, 0, 1], [2, 0, 0]),
        ({"down": 2.0}, [0, 0, 1], [0, 2, 0]),
        ({"yaw": 90.0}, [1, 0, 0], [0, 0, 0]),  # to the right
        ({"pitch": 30.0}, [0, -0.5, math.sqrt(0.75)], [0, 0, 0]),  # upwards, against y
        ({"yaw": 90.0, "forward": 2.0}, [1, 0, 0], [2, 0, 0]),  # turns, then moves
    ],
)
def test_axes_are_those_of_opencv(step, looks, stands) -> None:
    poses = MotionToPoses()(moved(step)).value
    assert torch.equal(poses[0], torch.eye(4))
    assert poses[1, :3, 2].tolist() == pytest.approx(looks, abs=1e-6)
    assert poses[1, :3, 3].tolist() == pytest.approx(stands, abs=1e-6)


def test_roll_is_clockwise() -> None:
    """Seen from behind, the camera's right side goes down."""
    poses = MotionToPoses()(moved({"roll": 90.0})).value
    assert poses[1, :3, 0].tolist() == pytest.approx([0, 1, 0], abs=1e-6)


@settings(deadline=None, max_examples=40)
@given(rows=motions)
def test_poses_come_back_as_motion(rows) -> None:
    line = Timeline(torch.tensor(rows), SPACE, 16.0)
    poses = MotionToPoses()(line)
    assert poses.lossless
    assert poses.value.dtype == torch.float32
    back = read_poses(poses.value.double(), fps=16.0)
    assert back.lossless
    assert torch.allclose(back.value.actions, line.actions, atol=2e-3)
    batch = MotionToPoses()(line.with_actions(torch.stack([line.actions, -line.actions])))
    assert torch.equal(batch.value[0], poses.value)


@settings(deadline=None, max_examples=40)
@given(rows=motions)
def test_pose_vectors_come_back_as_motion(rows) -> None:
    line = Timeline(torch.tensor(rows), SPACE, 16.0)
    there = MotionToPose9(units_per_metre=4.0)(line)
    assert there.lossless
    back = read_pose9(there.value, fps=16.0, units_per_metre=4.0)
    assert back.lossless
    assert torch.allclose(back.value.actions, line.actions, atol=2e-3)
    # Row t is pose t + 1 in the axes of pose t: translation, then two columns of the rotation.
    poses = MotionToPoses()(line).value.double()
    steps = torch.linalg.solve(poses[:-1], poses[1:])
    expected = torch.cat((steps[:, :3, 3] * 4, steps[:, :3, 0], steps[:, :3, 1]), 1)
    assert torch.allclose(there.value.double(), expected, atol=1e-4)


def test_parts_of_motion_are_enough_and_others_are_stated() -> None:
    line = Timeline.of(
        torch.tensor([[90.0, 1.0], [0.0, 0.0]]),
        ("yaw", "fire"),
        units=("degree", "button"),
        fps=8.0,
    )
    found = MotionToPoses()(line)
    assert found.value[2, 0, 2] == pytest.approx(1)
    assert found.sentences() == ("fire: dropped at 1 step: the model does not have it",)
    table = {"left": {"yaw": -90.0}, "go": {"forward": 1.0}}
    words = Timeline.of(torch.tensor([0, 1]), tuple(table), fps=8.0)
    poses = MotionToPoses(table=table)(words).value
    assert poses[2, :3, 3].tolist() == pytest.approx([-1, 0, 0], abs=1e-6)


def test_where_a_path_starts_is_stated() -> None:
    poses = MotionToPoses()(moved({"forward": 1.0})).value
    start = MotionToPoses()(moved({"yaw": 30.0, "right": 5.0})).value[1]
    there = read_poses(start @ poses, fps=16.0)
    assert torch.allclose(there.value.actions, moved({"forward": 1.0}).actions, atol=1e-5)
    assert there.sentences() == ("first pose: dropped at 1 step: motion is relative to it",)


def test_numbers_that_are_no_rotation_are_made_one_and_stated() -> None:
    rows = MotionToPose9()(moved({"yaw": 10.0}, {"yaw": 20.0})).value
    rows[0, 3:6] *= 1.5
    found = read_pose9(rows, fps=16.0)
    assert found.value.component("yaw").tolist() == pytest.approx([10, 20], abs=1e-4)
    (loss,) = found.losses
    assert (loss.kind, loss.component, loss.steps) == ("rounded", "rotation", 1)
    assert loss.largest == pytest.approx(0.5 * math.cos(math.radians(10)), abs=1e-5)


def test_pose_folders_are_written_and_read(tmp_path) -> None:
    poses = MotionToPoses()(moved({"forward": 1.0}, {"yaw": 5.0})).value
    folder = write_pose_folder(tmp_path / "a", poses, (80.0, 80.0, 48.0, 32.0))
    assert sorted(path.name for path in folder.iterdir()) == ["intrinsics.npy", "poses.npy"]
    stored = np.load(folder / "poses.npy")
    assert (stored.shape, stored.dtype) == ((3, 4, 4), np.float32)
    assert np.load(folder / "intrinsics.npy").tolist() == [[80, 80, 48, 32]] * 3
    found, intrinsics = read_pose_folder(folder, fps=16.0)
    assert torch.allclose(found.value.actions, moved({"forward": 1.0}, {"yaw": 5.0}).actions)
    assert intrinsics.shape == (3, 4)
    with pytest.raises(ValueError, match=r"intrinsics: expected .* \[3, 4\], got \[2, 4\]"):
        write_pose_folder(tmp_path / "b", poses, torch.ones(2, 4))
    with pytest.raises(ValueError, match="fx and fy above 0"):
        write_pose_folder(tmp_path / "b", poses, (0.0, 1.0, 1.0, 1.0))
    assert not (tmp_path / "b").exists()
    np.save(folder / "intrinsics.npy", np.ones((2, 4), np.float32))
    with pytest.raises(ValueError, match="as many intrinsics as poses, got 2 and 3"):
        read_pose_folder(folder, fps=16.0)
    np.save(folder / "poses.npy", np.ones((3, 3, 4), np.float32))
    with pytest.raises(ValueError, match=r"poses.npy: expected floating point \[F, 4, 4\]"):
        read_pose_folder(folder, fps=16.0)


def test_action_files_of_cosmos_are_lists_of_rows(tmp_path) -> None:
    rows = MotionToPose9()(moved({"forward": 0.1}, {"pitch": 7.0})).value
    path = write_action_json(tmp_path / "a.json", rows)
    plain = json.loads(path.read_text())
    assert (len(plain), {len(row) for row in plain}) == (2, {9})
    assert torch.equal(read_action_json(path, width=9), rows)
    with pytest.raises(ValueError, match="expected 10 numbers in row 0"):
        read_action_json(path, width=10)
    for text, message in (
        ("{}", "a list of lists, got dict"),
        ("[]", "a list of lists"),
        ("[[1, 2], [3]]", "expected 2 numbers in row 1"),
        ("[[true]]", "expected 1 numbers in row 0"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_action_json(path)
    for wrong in (torch.zeros(0, 9), torch.zeros(3), torch.full((1, 9), torch.inf)):
        with pytest.raises(ValueError, match="rows: expected"):
            write_action_json(path, wrong)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: read_poses(torch.eye(4)[None], fps=1.0), "at least two, got 1"),
        (lambda: read_poses(torch.zeros(2, 3, 4), fps=1.0), r"\[F, 4, 4\], got"),
        (lambda: read_poses(torch.zeros(2, 4, 4), fps=1.0), "rotation and translation.* got at 0"),
        (
            lambda: read_poses(torch.eye(4).expand(2, 4, 4) * torch.tensor(torch.nan), fps=1.0),
            "finite",
        ),
        (
            lambda: read_poses(torch.diag(torch.tensor([1.0, 1, -1, 1])).expand(2, 4, 4), fps=1.0),
            "got at 0",  # a reflection
        ),
        (
            lambda: read_poses(MotionToPoses()(moved({"pitch": 90.0})).value, fps=1.0),
            "pitch by less than 90 degrees",
        ),
        (lambda: read_pose9(torch.zeros(2, 10), fps=1.0), r"\[T, 9\], got"),
        (lambda: read_pose9(torch.zeros(2, 9), fps=1.0), "two directions"),
        (lambda: read_pose9(torch.full((2, 9), torch.nan), fps=1.0), "finite"),
        (lambda: MotionToPose9(units_per_metre=0.0), "units_per_metre"),
    ],
)
def test_what_is_no_pose_is_refused(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()


# ---- GameCraft ---------------------------------------------------------------------------


def test_even_blocks_are_actions_with_speeds() -> None:
    line = moved(
        *[{"forward": 0.2 / 33}] * 33,
        *[{"right": -1 / 33}] * 33,
        *[{}] * 33,
        *[{"yaw": 2 / 33}] * 33,
    )
    found = ToGameCraft()(line)
    assert found.lossless
    assert found.value.actions == ("w", "a", "w", "right_rot")
    assert found.value.speeds == pytest.approx((0.2, 1.0, 0.0, 2.0), abs=1e-6)
    back = read_gamecraft(found.value)
    assert back.lossless
    assert back.value.fps == 25
    assert torch.allclose(back.value.actions, line.actions, atol=1e-7)


@settings(deadline=None, max_examples=30)
@given(
    data=st.lists(
        st.tuples(
            st.sampled_from(["w", "s", "a", "d", "left_rot", "right_rot", "up_rot", "down_rot"]),
            st.floats(0.125, 3, width=32),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_lists_come_back(data) -> None:
    start = GameCraftActions(*(tuple(column) for column in zip(*data, strict=True)))
    found = ToGameCraft()(read_gamecraft(start).value)
    assert found.lossless
    assert found.value.actions == start.actions
    assert found.value.speeds == pytest.approx(start.speeds, rel=1e-5)


def test_what_a_list_cannot_say_is_stated() -> None:
    line = moved(*[{"forward": 0.5, "roll": 1.0}] * 20, *[{"yaw": 3.0}] * 5)
    found = ToGameCraft()(line)
    assert found.value == GameCraftActions(("w",), (3.0,))
    losses = {(loss.kind, loss.component): loss for loss in found.losses}
    assert set(losses) == {
        ("dropped", "roll"),
        ("clipped", "forward"),
        ("resampled", "forward"),
        ("dropped", "yaw"),
    }
    assert losses["clipped", "forward"].largest == pytest.approx(7)
    assert losses["dropped", "yaw"].largest == pytest.approx(15)
    assert losses["dropped", "yaw"].steps == 5
    # After 20 steps all 10 metres are gone, evened only 20 / 33 of them.
    assert losses["resampled", "forward"].largest == pytest.approx(10 * (1 - 20 / 33))
    most = GameCraftActions(("w",), (3.0,))
    assert ToGameCraft()(read_gamecraft(most).value).lossless
    with pytest.raises(ValueError, match=r"speeds\[0\]: expected 0\.\.3, got 4"):
        GameCraftActions(("w",), (4.0,))
    with pytest.raises(ValueError, match=r"actions\[0\]: expected one of"):
        GameCraftActions(("x",), (1.0,))
    with pytest.raises(ValueError, match="speeds: expected 1, one per action, got 2"):
        GameCraftActions(("w",), (1.0, 1.0))
