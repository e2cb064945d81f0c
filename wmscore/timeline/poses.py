"""Motion per step to camera poses and back, and the files that hold poses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wmscore.files import atomic_folder
from wmscore.timeline.loss import Conversion, Loss
from wmscore.timeline.picking import pick
from wmscore.timeline.spaces import MOTION_UNITS, motion_space
from wmscore.timeline.tables import Table
from wmscore.timeline.timeline import Timeline

__all__ = [
    "MotionToPoses",
    "motion_steps",
    "motion_timeline",
    "read_pose_folder",
    "read_poses",
    "write_pose_folder",
]

_ROUNDING = 1e-3  # of a rotation in float32 poses after many steps


class MotionToPoses:
    """Motion per step to camera-to-world poses in OpenCV's axes (right, down, forward).

    Args:
        table: action -> components of `motion_space()`, for discrete actions.

    The value is `[T + 1, 4, 4]` or `[B, T + 1, 4, 4]` float32; pose 0 is the identity.

    Example:
        >>> line = Timeline.of(torch.tensor([[2.0, 90.0]]), ("forward", "yaw"),
        ...                    units=("metre", "degree"), fps=16.0)
        >>> MotionToPoses()(line).value[1].round(decimals=3).abs().tolist()
        [[0.0, 0.0, 1.0, 2.0], [0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
    """

    def __init__(self, *, table: Table | None = None) -> None:
        self.table = table

    def __call__(self, timeline: Timeline, /) -> Conversion[Tensor]:
        """Walk the path."""
        found = pick(timeline, MOTION_UNITS, table=self.table, who="MotionToPoses")
        steps = motion_steps(found.value)
        pose = torch.eye(4, dtype=torch.float64, device=steps.device).expand(
            *steps.shape[:-3], 4, 4
        )
        poses = [pose]
        for step in steps.unbind(-3):
            poses.append(poses[-1] @ step)
        return Conversion(torch.stack(poses, -3).float(), found.losses)


def read_poses(poses: Tensor, *, fps: float) -> Conversion[Timeline]:
    """Camera-to-world poses `[T + 1, 4, 4]` in OpenCV's axes as a timeline of `motion_space()`.

    Where the first pose is lies outside of a timeline, and is stated as lost if it is not the
    identity. A pitch of 90 degrees in one step leaves yaw and roll undefined and is refused.

    Raises:
        ValueError: another shape, fewer than two poses, or what is no rigid pose.
    """
    checked = _rigid(poses)
    if len(checked) < 2:
        raise ValueError(f"poses: expected at least two, got {len(checked)}")
    steps = torch.linalg.solve(checked[:-1], checked[1:])
    value = Timeline(motion_timeline(steps), motion_space(), fps)
    start = checked[0] - torch.eye(4, dtype=torch.float64, device=checked.device)
    if not bool((start.abs() > 1e-6).any()):
        return Conversion(value)
    return Conversion(value, (Loss("dropped", "first pose", 1, text="motion is relative to it"),))


def motion_steps(motion: Tensor) -> Tensor:
    """Motion `[..., 6]` of `motion_space()` as poses in the frame before, `[..., 4, 4]` float64."""
    turns = torch.deg2rad(motion[..., 3:].double()).unbind(-1)
    about = [_turn(axis, angle) for axis, angle in zip((1, 0, 2), turns, strict=True)]
    step = torch.zeros(*motion.shape[:-1], 4, 4, dtype=torch.float64, device=motion.device)
    turn = about[0] @ about[1] @ about[2]
    step[..., :3, :3] = turn
    step[..., :3, 3:] = turn @ motion[..., :3, None].double()
    step[..., 3, 3] = 1
    return step


def motion_timeline(steps: Tensor) -> Tensor:
    """Poses in the frame before, `[..., 4, 4]`, as motion `[..., 6]` float32.

    Raises:
        ValueError: a pitch of 90 degrees within one step.
    """
    r = steps[..., :3, :3].double()
    # R = Ry(yaw) Rx(pitch) Rz(roll) has -sin(pitch) at [1, 2].
    if bool((r[..., 1, 2].abs() > 1 - 1e-9).any()):
        raise ValueError(
            "poses: expected steps that pitch by less than 90 degrees, got one that does"
        )
    pitch = torch.asin(-r[..., 1, 2])
    yaw = torch.atan2(r[..., 0, 2], r[..., 2, 2])
    roll = torch.atan2(r[..., 1, 0], r[..., 1, 1])
    turns = torch.rad2deg(torch.stack((yaw, pitch, roll), -1))
    way = (r.mT @ steps[..., :3, 3:].double())[..., 0]
    return torch.cat((way, turns), -1).float()


def write_pose_folder(
    folder: str | Path, poses: Tensor, intrinsics: Sequence[float] | Tensor
) -> Path:
    """Write `poses.npy` and `intrinsics.npy`, as LingBot-World reads them, whole or not at all.

    Args:
        folder: made, or replaced.
        poses: `[F, 4, 4]` camera-to-world, OpenCV.
        intrinsics: (fx, fy, cx, cy) in pixels, or `[F, 4]`.
    """
    checked = _rigid(poses)
    known = torch.as_tensor(intrinsics, dtype=torch.float32).cpu()
    if known.shape not in ((4,), (len(checked), 4)):
        raise ValueError(
            f"intrinsics: expected (fx, fy, cx, cy) or [{len(checked)}, 4], got {list(known.shape)}"
        )
    if not bool((known[..., :2] > 0).all()) or not bool(known.isfinite().all()):
        raise ValueError(f"intrinsics: expected finite numbers, fx and fy above 0, got {known}")
    with atomic_folder(folder) as draft:
        np.save(draft / "poses.npy", checked.float().cpu().numpy(), allow_pickle=False)
        np.save(draft / "intrinsics.npy", known.expand(len(checked), 4).numpy(), allow_pickle=False)
    return Path(folder)


def read_pose_folder(folder: str | Path, *, fps: float) -> tuple[Conversion[Timeline], Tensor]:
    """`poses.npy` as a timeline of `motion_space()`, and `intrinsics.npy` `[F, 4]` as it is.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a shape or pose that is none.
    """
    found = []
    for name, shape in (("poses.npy", (4, 4)), ("intrinsics.npy", (4,))):
        array = np.load(Path(folder) / name, allow_pickle=False)
        if array.shape[1:] != shape or array.dtype.kind != "f":
            wanted = ", ".join(map(str, ("F", *shape)))
            raise ValueError(
                f"{Path(folder) / name}: expected floating point [{wanted}], "
                f"got {array.dtype} {list(array.shape)}"
            )
        found.append(torch.from_numpy(array))
    if len(found[0]) != len(found[1]):
        raise ValueError(
            f"{folder}: expected as many intrinsics as poses, got {len(found[1])} "
            f"and {len(found[0])}"
        )
    return read_poses(found[0], fps=fps), found[1].float()


def _rigid(poses: Tensor) -> Tensor:
    if poses.ndim != 3 or poses.shape[1:] != (4, 4) or not poses.is_floating_point():
        raise ValueError(
            f"poses: expected floating point [F, 4, 4], got {poses.dtype} {list(poses.shape)}"
        )
    known = poses.double()
    if not bool(known.isfinite().all()):
        raise ValueError("poses: expected finite numbers, got NaN or infinity")
    turn = known[:, :3, :3]
    eye = torch.eye(3, dtype=torch.float64, device=known.device)
    wrong = ((turn @ turn.mT - eye).abs() > _ROUNDING).flatten(1).any(1) | (turn.det() < 0)
    wrong |= ((known[:, 3] - known.new_tensor([0, 0, 0, 1])).abs() > _ROUNDING).any(1)
    if bool(wrong.any()):
        at = int(wrong.nonzero()[0])
        raise ValueError(
            f"poses: expected rotation and translation, camera to world, got at {at} "
            f"{known[at].tolist()}"
        )
    return known


def _turn(axis: int, angle: Tensor) -> Tensor:
    """Right-handed rotation about one of OpenCV's axes, `[..., 3, 3]`."""
    a, b = (axis + 1) % 3, (axis + 2) % 3
    turn = torch.zeros(*angle.shape, 3, 3, dtype=angle.dtype, device=angle.device)
    turn[..., axis, axis] = 1
    turn[..., a, a] = turn[..., b, b] = angle.cos()
    turn[..., a, b], turn[..., b, a] = -angle.sin(), angle.sin()
    return turn
