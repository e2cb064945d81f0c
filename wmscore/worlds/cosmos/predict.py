"""Write a panel as inputs of Cosmos Predict 2 and 2.5."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from wmscore.files import atomic_folder, safe_name
from wmscore.manifest import Panel
from wmscore.rollouts import Rollouts
from wmscore.timeline import Converter, Loss, Timeline, loss_sentences
from wmscore.video import write_video
from wmscore.worlds.cosmos.rows import (
    CosmosExport,
    all_rows,
    first_frames,
    write_images,
    write_json,
    write_lines,
)
from wmscore.worlds.given import continued

__all__ = ["integrate_poses", "write_predict_annotations", "write_predict_inputs"]

_COMPONENTS = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")


def write_predict_inputs(
    panel: Panel,
    truth: Rollouts,
    folder: str | Path,
    *,
    generation: Literal["2", "2.5"] = "2.5",
    prompt: str | None = None,
    frames: int = 93,
    root: str | Path | None = None,
) -> CosmosExport:
    """Write the batch file of a video-to-world run: text and a first frame, no actions.

    For Predict 2 `inputs.json`, a list of `{"input_video", "prompt", "output_video"}` (its
    `--batch_input_json`; videos come out as `outputs/NAME.mp4`, and one seed holds for the run);
    for Predict 2.5 `inputs.jsonl` of `{"inference_type": "image2world", ...}` per line, which come
    out as `NAME.mp4`. Only commanded scripts are written, since the model is told none.

    Args:
        panel: the panel.
        truth: its true rollouts, for the first frames.
        folder: where to write; an older folder there is replaced once the new one is whole.
        generation: "2" or "2.5".
        prompt: text of scenarios without one.
        frames: frames that Predict 2.5 generates.
        root: where the folder will lie on the machine that runs the model; by default where it is
            written.

    Raises:
        ValueError: a scenario without a prompt, a horizon of `frames` or more, or for Predict 2 a
            panel of several seeds.
    """
    if generation not in ("2", "2.5"):
        raise ValueError(f"generation: expected '2' or '2.5', got {generation!r}")
    if generation == "2" and len(panel.seeds) > 1:
        raise ValueError(
            f"seeds: one run of Predict 2 has one seed for all, the panel has {len(panel.seeds)}"
        )
    if panel.contract.horizon >= frames:
        raise ValueError(
            f"contract.horizon: {panel.contract.horizon} steps need "
            f"{panel.contract.horizon + 1} frames, got frames = {frames}"
        )
    folder = Path(folder)
    base = Path(root) if root is not None else folder.resolve()
    given = first_frames(panel, truth)
    records: list[dict[str, object]] = []
    names = []
    steps = 0
    with atomic_folder(folder) as draft:
        images = write_images(draft, panel, given)
        for scenario, seed, _, name in all_rows(panel, branches=False):
            text = panel.scenarios[scenario].prompt or prompt
            if text is None:
                raise ValueError(f"prompt: scenario {panel.scenarios[scenario].id!r} has none")
            image = str(base / images[scenario])
            names.append(name)
            steps += panel.contract.horizon if seed == panel.seeds[0] else 0
            records.append(
                {
                    "input_video": image,
                    "prompt": text,
                    "output_video": str(base / "outputs" / f"{name}.mp4"),
                }
                if generation == "2"
                else {
                    "inference_type": "image2world",
                    "name": name,
                    "prompt": text,
                    "input_path": image,
                    "num_output_frames": frames,
                    "seed": seed,
                }
            )
        path = "inputs.json" if generation == "2" else "inputs.jsonl"
        if generation == "2":
            write_json(draft / path, records)
        else:
            write_lines(draft / path, records)
        losses = (str(Loss("dropped", "actions", steps, text="the model takes text only")),)
        write_json(draft / "losses.json", losses)
        panel.save(draft / "panel.json")
    return CosmosExport(folder / path, tuple(names), losses)


def write_predict_annotations(
    panel: Panel,
    truth: Rollouts,
    folder: str | Path,
    *,
    converter: Converter[Tensor],
    scaler: float = 20.0,
    chunk: int = 12,
    root: str | Path | None = None,
) -> CosmosExport:
    """Write annotations and videos for the action-conditioned models of Predict 2 and 2.5.

    `annotation/NAME.json` has `state` (end-effector pose x, y, z, roll, pitch, yaw of T + 1
    frames), `continuous_gripper_state` and `action` (T x 7, motion in the frame of the gripper,
    metres and radians, then the gripper), and `videos/NAME.mp4` the given frame, without loss, in
    the layout of the Bridge data that they were trained on. Both commands rebuild their actions
    from this and multiply by `scaler` themselves. `inference_params.json` is the input of Predict
    2.5. Both generate whole chunks, and Predict 2 leaves out what does not fill one, so the script
    is continued to the end of its last chunk. Neither takes a seed where it goes on from chunk to
    chunk (both count actions instead): rows of further seeds would be copies, and are refused.

    Args:
        panel: the panel, of one seed.
        truth: its true rollouts, for the first frames.
        folder: where to write.
        converter: from the panel's actions to `[N, 7]`: x, y, z, roll, pitch, yaw, gripper.
        scaler: `action_scaler`, by which the commands multiply the motion.
        chunk: actions per call.
        root: where the folder will lie on the machine that runs the model; by default where it is
            written.

    Raises:
        ValueError: several seeds, or actions of another width.
    """
    if len(panel.seeds) > 1:
        raise ValueError(f"seeds: the commands take none, expected one, got {list(panel.seeds)}")
    folder = Path(folder)
    base = Path(root) if root is not None else folder.resolve()
    given = first_frames(panel, truth)
    observed = panel.contract.observation
    fps = observed.fps if observed is not None else 4.0
    names, losses = [], []
    with atomic_folder(folder) as draft:
        (draft / "annotation").mkdir()
        (draft / "videos").mkdir()
        for scenario, _, branch, name in all_rows(panel):
            line = Timeline.of_panel(panel, scenario, branch, fps=fps)
            losses.append(converter(line).losses)
            vectors = converter(continued(line, -(-line.steps // chunk) * chunk)).value
            if vectors.ndim != 2 or vectors.shape[1] != len(_COMPONENTS):
                raise ValueError(
                    f"scenarios[{scenario}].actions: expected [N, 7], {', '.join(_COMPONENTS)}, "
                    f"got {list(vectors.shape)}"
                )
            grip = vectors[:, 6].double()
            write_json(
                draft / "annotation" / f"{name}.json",
                {
                    "videos": [{"video_path": f"videos/{name}.mp4"}],
                    "state": integrate_poses(vectors[:, :6]).tolist(),
                    "continuous_gripper_state": torch.cat([grip[:1], grip]).tolist(),
                    "action": vectors.tolist(),
                },
            )
            # The commands read frame 0 of a video; some players want more than one.
            write_video(
                draft / "videos" / f"{name}.mp4",
                given[scenario].expand(2, -1, -1, -1),
                fps=fps,
                encoding="h264rgb",
            )
            names.append(name)
        found = loss_sentences(losses)
        height, width = given[0].shape[-2:]
        write_json(
            draft / "inference_params.json",
            {
                "name": safe_name(panel.name),
                "input_root": str(base),
                "input_json_sub_folder": "annotation",
                "save_root": str(base / "outputs"),
                "chunk_size": chunk,
                "resolution": f"{height},{width}",
                "camera_id": 0,
                "start": 0,
                "end": len(names),
                "start_frame_idx": 0,
                "fps_downsample_ratio": 1,
                "state_key": "state",
                "gripper_key": "continuous_gripper_state",
                "gripper_scale": 1.0,
                "action_scaler": scaler,
                "use_quat": False,
                "single_chunk": False,
                "num_latent_conditional_frames": 1,
                "save_fps": round(fps),
                "action_load_fn": "cosmos_predict2.action_conditioned.load_default_action_fn",
            },
        )
        write_json(draft / "losses.json", found)
        panel.save(draft / "panel.json")
    return CosmosExport(folder / "inference_params.json", tuple(names), found)


def integrate_poses(motion: Tensor) -> Tensor:
    """Poses `[T + 1, 6]` float64 out of motions `[T, 6]` in the moving frame, from the origin.

    x, y, z in metres and roll, pitch, yaw in radians, the rotation being
    Rz(yaw) Ry(pitch) Rx(roll), as in the IRASim data tools that Cosmos Predict uses.
    """
    rotation, place = torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    poses = [torch.cat([place, _angles(rotation)])]
    for step in motion.double():
        place = place + rotation @ step[:3]
        rotation = rotation @ _rotation(step[3:])
        poses.append(torch.cat([place, _angles(rotation)]))
    return torch.stack(poses)


def _rotation(angles: Tensor) -> Tensor:
    (a, b, c), (s, t, u) = angles.cos().tolist(), angles.sin().tolist()
    x = torch.tensor([[1, 0, 0], [0, a, -s], [0, s, a]], dtype=torch.float64)
    y = torch.tensor([[b, 0, t], [0, 1, 0], [-t, 0, b]], dtype=torch.float64)
    z = torch.tensor([[c, -u, 0], [u, c, 0], [0, 0, 1]], dtype=torch.float64)
    return z @ y @ x


def _angles(rotation: Tensor) -> Tensor:
    flat = torch.hypot(rotation[0, 0], rotation[1, 0])
    if flat < 1e-6:  # straight up or down: yaw is free, taken as 0
        roll = torch.atan2(-rotation[1, 2], rotation[1, 1])
        return torch.stack([roll, torch.atan2(-rotation[2, 0], flat), torch.zeros_like(flat)])
    return torch.stack(
        [
            torch.atan2(rotation[2, 1], rotation[2, 2]),
            torch.atan2(-rotation[2, 0], flat),
            torch.atan2(rotation[1, 0], rotation[0, 0]),
        ]
    )
