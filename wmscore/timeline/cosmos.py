"""Cosmos 3: pose vectors of nine numbers, and its JSON of `[T, D]` actions."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from wmscore.files import atomic_file
from wmscore.timeline.loss import Conversion, Loss
from wmscore.timeline.picking import pick
from wmscore.timeline.poses import motion_steps, motion_timeline
from wmscore.timeline.spaces import MOTION_UNITS, motion_space
from wmscore.timeline.tables import Table
from wmscore.timeline.timeline import Timeline

__all__ = ["MotionToPose9", "read_action_json", "read_pose9", "write_action_json"]


class MotionToPose9:
    """Motion per step to translation (3) and rotation (6), Cosmos 3's domains "av", "camera_pose".

    Each row is the pose of the next frame in the axes of this one ("backward_framewise"): its
    translation, then the first two columns of its rotation, one after the other (Zhou et al.,
    arXiv:1812.07035). Source: NVIDIA/cosmos-framework, pose_utils.py, 2026-08.

    Args:
        table: action -> components of `motion_space()`, for discrete actions.
        units_per_metre: what a metre is in the model's units. Its data are normalised per domain:
            use its statistics on top.

    The value is `[T, 9]` or `[B, T, 9]` float32.
    """

    def __init__(self, *, table: Table | None = None, units_per_metre: float = 1.0) -> None:
        if not units_per_metre > 0:
            raise ValueError(f"units_per_metre: expected a positive number, got {units_per_metre}")
        self.table, self.units_per_metre = table, units_per_metre

    def __call__(self, timeline: Timeline, /) -> Conversion[Tensor]:
        """Encode."""
        found = pick(timeline, MOTION_UNITS, table=self.table, who="MotionToPose9")
        step = motion_steps(found.value)
        way = step[..., :3, 3] * self.units_per_metre
        turn = step[..., :3, :2].mT.flatten(-2)
        return Conversion(torch.cat((way, turn), -1).float(), found.losses)


def read_pose9(rows: Tensor, *, fps: float, units_per_metre: float = 1.0) -> Conversion[Timeline]:
    """Pose vectors `[T, 9]` as a timeline of `motion_space()`.

    Six numbers that are no two columns of a rotation, as a model gives them, are made one by
    Gram-Schmidt, and the difference is stated.

    Raises:
        ValueError: another shape, or columns that have no direction.
    """
    if rows.ndim != 2 or rows.shape[1] != 9 or not rows.is_floating_point():
        raise ValueError(
            f"rows: expected floating point [T, 9], got {rows.dtype} {list(rows.shape)}"
        )
    known = rows.double()
    if not bool(known.isfinite().all()):
        raise ValueError("rows: expected finite numbers, got NaN or infinity")
    first, second = known[:, 3:6], known[:, 6:9]
    x = torch.nn.functional.normalize(first, dim=1)
    y = torch.nn.functional.normalize(second - (x * second).sum(1, keepdim=True) * x, dim=1)
    if bool((torch.stack((x, y)).norm(dim=-1) < 0.5).any()):
        raise ValueError("rows: expected two directions in columns 3..8, got one or none")
    step = torch.zeros(len(rows), 4, 4, dtype=torch.float64, device=rows.device)
    step[:, :3, :3] = torch.stack((x, y, torch.linalg.cross(x, y)), -1)
    step[:, :3, 3] = known[:, :3] / units_per_metre
    step[:, 3, 3] = 1
    gap = torch.cat((x - first, y - second), 1).abs().amax(1)
    value = Timeline(motion_timeline(step), motion_space(), fps)
    if not bool((gap > 1e-5).any()):
        return Conversion(value)
    steps = int((gap > 1e-5).sum())
    text = "to the nearest rotation by Gram-Schmidt"
    return Conversion(value, (Loss("rounded", "rotation", steps, float(gap.max()), "", text),))


def write_action_json(path: str | Path, rows: Tensor) -> Path:
    """Write `[T, D]` actions as Cosmos 3's `action_path` has them: a list of T lists of D numbers.

    Raises:
        ValueError: another shape, no steps, or numbers that are not finite.
    """
    if rows.ndim != 2 or 0 in rows.shape or not rows.is_floating_point():
        raise ValueError(
            f"rows: expected floating point [T, D], got {rows.dtype} {list(rows.shape)}"
        )
    if not bool(rows.isfinite().all()):
        raise ValueError("rows: expected finite numbers, got NaN or infinity")
    with atomic_file(path) as draft:
        draft.write_text(json.dumps(rows.tolist()), encoding="utf-8")
    return Path(path)


def read_action_json(path: str | Path, *, width: int | None = None) -> Tensor:
    """Cosmos 3's `[T, D]` actions as float32.

    Args:
        path: a JSON file.
        width: D, where it is known; each domain has its own.

    Raises:
        ValueError: no list of lists of numbers, rows of several widths, or another width.
    """
    rows = json.loads(Path(path).read_text(encoding="utf-8"))
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) for row in rows):
        raise ValueError(f"{path}: expected a list of lists, got {type(rows).__name__}")
    width = len(rows[0]) if width is None else width
    for t, row in enumerate(rows):
        if len(row) != width or not all(type(value) in (int, float) for value in row):
            raise ValueError(f"{path}: expected {width} numbers in row {t}, got {row}")
    return torch.tensor(rows, dtype=torch.float32)
