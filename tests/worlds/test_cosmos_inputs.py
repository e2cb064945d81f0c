"""Inputs of Cosmos, written from a panel and read back as its own tools read them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.panels import sprite_panel
from wmscore.manifest import Panel, PanelMismatchError
from wmscore.replay import render_truth
from wmscore.rollouts import Rollouts
from wmscore.timeline import ByTable, MotionToPose9, gripper_motions, gripper_poses
from wmscore.worlds import SpriteWorld
from wmscore.worlds.cosmos import (
    write_cosmos3_jsonl,
    write_predict_annotations,
    write_predict_inputs,
)

image = pytest.importorskip("PIL.Image")
CAMERA = MotionToPose9(
    table={
        "noop": {},
        "left": {"yaw": -6.0},
        "right": {"yaw": 6.0},
        "up": {"forward": 0.5},
        "down": {},
    }
)
ARM = ByTable(
    {
        "noop": {},
        "left": {"x": -0.01, "yaw": 0.3},
        "right": {"x": 0.01, "pitch": -0.2},
        "up": {"z": 0.02, "roll": 0.1, "gripper": 1.0},
        "down": {"z": -0.02, "gripper": 0.5},
    },
    components=("x", "y", "z", "roll", "pitch", "yaw", "gripper"),
)


@pytest.fixture(scope="module")
def panel() -> Panel:
    return sprite_panel(2, 2)


@pytest.fixture(scope="module")
def truth(panel: Panel) -> Rollouts:
    return render_truth(panel, SpriteWorld(48, 48))


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_cosmos_3_records(panel: Panel, truth: Rollouts, tmp_path: Path) -> None:
    written = write_cosmos3_jsonl(panel, truth, tmp_path / "out", domain="av", converter=CAMERA)
    found = records(written.path)
    assert len(found) == len(written.names) == 2 * 2 * 3
    assert [record["name"] for record in found][:4] == [
        "scene-0_0_0",
        "scene-0_0_1",
        "scene-0_0_2",
        "scene-0_1_0",
    ]
    first = found[0]
    assert {k: v for k, v in first.items() if not k.endswith("_path")} == {
        "name": "scene-0_0_0",
        "model_mode": "forward_dynamics",
        "domain_name": "av",
        "action_chunk_size": 60,
        "fps": 10,
        "image_size": 480,
        "view_point": "ego_view",
        "prompt": "You are an autonomous vehicle planning system.",
        "seed": 0,
    }
    actions = torch.tensor(json.loads(Path(first["action_path"]).read_text()))
    assert actions.shape == (60, 9)
    names = panel.contract.actions.names
    sent = [names[i] for i in panel.actions(0).tolist()]
    assert [round(row[2], 6) for row in actions.tolist()][:12] == [
        0.5 if name == "up" else 0.0 for name in sent
    ]
    rest = torch.tensor([0.0, 0, 0, 1, 0, 0, 0, 1, 0])
    assert torch.equal(actions[12:], rest.expand(48, -1))  # no-op past the script
    shown = torch.from_numpy(np.array(image.open(first["vision_path"]))).permute(2, 0, 1)
    assert torch.equal(shown, truth.frames[0, 0])
    assert Panel.load(tmp_path / "out" / "panel.json") == panel
    steps = sum(
        int((panel.actions(s, k) == names.index(name)).sum())
        for s in range(2)
        for k in range(3)
        for name in ("noop", "down")
    )
    assert written.losses == (f"noop, down: merged at {steps} steps: the model sees one action",)
    assert json.loads((tmp_path / "out" / "losses.json").read_text()) == list(written.losses)


def test_paths_may_be_those_of_another_machine(
    panel: Panel, truth: Rollouts, tmp_path: Path
) -> None:
    written = write_cosmos3_jsonl(
        panel, truth, tmp_path / "out", domain="av", converter=CAMERA, chunk=12, root="/data/in"
    )
    first = records(written.path)[0]
    assert first["vision_path"] == "/data/in/frames/scene-0.png"
    assert first["action_path"] == "/data/in/actions/scene-0_0_0.json"
    assert first["action_chunk_size"] == 12


def test_text_and_a_frame_for_predict(panel: Panel, truth: Rollouts, tmp_path: Path) -> None:
    new = write_predict_inputs(panel, truth, tmp_path / "new", prompt="sprites")
    assert records(new.path)[1] == {
        "inference_type": "image2world",
        "name": "scene-0_1_0",
        "prompt": "sprites",
        "input_path": str((tmp_path / "new" / "frames" / "scene-0.png").resolve()),
        "num_output_frames": 93,
        "seed": 1,
    }
    assert len(new.names) == 4  # commanded scripts only
    assert new.losses == ("actions: dropped at 24 steps: the model takes text only",)
    with pytest.raises(ValueError, match="seeds: one run of Predict 2 has one seed"):
        write_predict_inputs(panel, truth, tmp_path / "old", generation="2", prompt="sprites")
    one = panel.model_copy(update={"seeds": (0,)})
    rows = replace(truth, panel=one.fingerprint)
    old = write_predict_inputs(one, rows, tmp_path / "old", generation="2", prompt="sprites")
    assert json.loads(old.path.read_text())[0] == {
        "input_video": str((tmp_path / "old" / "frames" / "scene-0.png").resolve()),
        "prompt": "sprites",
        "output_video": str((tmp_path / "old" / "outputs" / "scene-0_0_0.mp4").resolve()),
    }


def their_actions(states: np.ndarray, grip: np.ndarray) -> np.ndarray:
    """Motion between poses as their loaders compute it: Rz Ry Rx, in the earlier pose's frame."""

    def matrix(angles: np.ndarray) -> np.ndarray:
        c, s = np.cos(angles), np.sin(angles)
        x = np.array([[1, 0, 0], [0, c[0], -s[0]], [0, s[0], c[0]]])
        y = np.array([[c[1], 0, s[1]], [0, 1, 0], [-s[1], 0, c[1]]])
        z = np.array([[c[2], -s[2], 0], [s[2], c[2], 0], [0, 0, 1]])
        return z @ y @ x

    rows = []
    for before, after, held in zip(states, states[1:], grip[1:], strict=False):
        old, turn = matrix(before[3:]), matrix(before[3:]).T @ matrix(after[3:])
        angles = [
            np.arctan2(turn[2, 1], turn[2, 2]),
            np.arctan2(-turn[2, 0], np.hypot(turn[0, 0], turn[1, 0])),
            np.arctan2(turn[1, 0], turn[0, 0]),
        ]
        rows.append([*(old.T @ (after[:3] - before[:3])), *angles, held])
    return np.array(rows)


def test_annotations_for_action_conditioned_predict(
    panel: Panel, truth: Rollouts, tmp_path: Path
) -> None:
    pytest.importorskip("av")
    from wmscore.video import read_video

    one = panel.model_copy(update={"seeds": (0,)})
    truth = replace(truth, panel=one.fingerprint)
    written = write_predict_annotations(one, truth, tmp_path / "arm", converter=ARM, chunk=5)
    assert len(written.names) == 6
    folder = tmp_path / "arm"
    found = json.loads((folder / "annotation" / "scene-1_0_2.json").read_text())
    names = one.contract.actions.names
    commanded = [ARM.vector(names[i]) for i in one.actions(1, 2).tolist()]
    commanded += [ARM.vector("noop")] * 3  # whole chunks of 5
    assert np.allclose(found["action"], commanded)
    rebuilt = their_actions(np.array(found["state"]), np.array(found["continuous_gripper_state"]))
    assert np.allclose(rebuilt, commanded, atol=1e-6)
    video = read_video(folder / found["videos"][0]["video_path"])
    assert torch.equal(video.frames[0], truth.frames[truth.scenario == 1][0, 0])
    params = json.loads(written.path.read_text())
    assert params["input_root"] == str(folder.resolve())
    assert (params["chunk_size"], params["resolution"], params["action_scaler"]) == (
        5,
        "48,48",
        20.0,
    )
    with pytest.raises(ValueError, match="seeds: the commands take none"):
        write_predict_annotations(
            panel, replace(truth, panel=panel.fingerprint), tmp_path / "two", converter=ARM
        )
    with pytest.raises(ValueError, match=r"scenarios\[0\].actions: expected \[N, 7\], .*\[12, 9\]"):
        write_predict_annotations(one, truth, tmp_path / "bad", converter=CAMERA)
    assert not (tmp_path / "bad").exists()


def test_poses_straight_up() -> None:
    motion = torch.zeros(2, 6, dtype=torch.float64)
    motion[0, 4] = torch.pi / 2
    motion[1, 0] = 1.0
    poses = gripper_poses(motion)
    assert torch.allclose(poses[2, :3], torch.tensor([0.0, 0, -1], dtype=torch.float64))
    assert torch.allclose(poses[1, 4], torch.tensor(torch.pi / 2, dtype=torch.float64))


def test_motions_come_back_from_poses() -> None:
    motion = torch.randn(9, 6, generator=torch.Generator().manual_seed(1)).double()
    motion[:, 4].clamp_(-1.5, 1.5)  # pitch is unique within 90 degrees
    motion[3, 4] = torch.pi / 2
    motion[3, 5] = 0.0
    there = gripper_motions(gripper_poses(motion))
    assert torch.allclose(there[:, :3], motion[:, :3], atol=1e-7)
    assert torch.allclose(gripper_poses(there)[:, :3], gripper_poses(motion)[:, :3], atol=1e-6)


def test_what_cannot_be_written(panel: Panel, truth: Rollouts, tmp_path: Path) -> None:
    out = tmp_path / "out"
    fields: dict[str, Any] = {"domain": "av", "converter": CAMERA}
    with pytest.raises(ValueError, match="12 steps do not fit into one chunk of 8 actions"):
        write_cosmos3_jsonl(panel, truth, out, **fields, chunk=8)
    with pytest.raises(PanelMismatchError, match="truth: expected panel"):
        write_cosmos3_jsonl(panel, replace(truth, panel="0" * 64), out, **fields)
    with pytest.raises(ValueError, match="expected every scenario, 'scene-1' is missing"):
        write_cosmos3_jsonl(panel, truth[truth.scenario == 0], out, **fields)
    with pytest.raises(ValueError, match="needs continuous actions, got discrete"):
        write_cosmos3_jsonl(panel, truth, out, domain="av")
    with pytest.raises(ValueError, match=r"'pusht' takes 2 numbers per action .*\[12, 9\]"):
        write_cosmos3_jsonl(panel, truth, out, domain="pusht", converter=CAMERA, chunk=12)
    with pytest.raises(ValueError, match="prompt: scenario 'scene-0' has none"):
        write_cosmos3_jsonl(panel, truth, out, domain="camera_pose", converter=CAMERA)
    frames = truth.frames.clone()
    frames[1, 0] = 0
    with pytest.raises(ValueError, match="'scene-0' begin with different frames"):
        write_cosmos3_jsonl(panel, replace(truth, frames=frames), out, **fields)
    with pytest.raises(ValueError, match="12 steps need 13 frames, got frames = 12"):
        write_predict_inputs(panel, truth, out, prompt="x", frames=12)
    data = panel.model_dump()
    for scenario, name in zip(data["scenarios"], ("scene 0", "scene/0"), strict=True):
        scenario["id"] = name
    twin = Panel.from_dict(data)
    with pytest.raises(ValueError, match="become the same file name 'scene_0'"):
        write_cosmos3_jsonl(twin, replace(truth, panel=twin.fingerprint), out, **fields)
    assert not out.exists()
