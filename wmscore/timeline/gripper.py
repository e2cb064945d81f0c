"""Poses of a robot's gripper, and its motion from each to the next, as Cosmos Predict has them."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["GRIPPER_ACTIONS", "gripper_motions", "gripper_poses"]

GRIPPER_ACTIONS = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
"""Components of an action: way in metres and turn in radians as seen from the gripper before, then
how far it is open."""

_FREE = 1e-6  # cosine of the pitch below which yaw and roll turn about one axis


def gripper_poses(motions: Tensor) -> Tensor:
    """Poses `[T + 1, 6]` float64 out of motions `[T, 6]` in the moving frame, from the origin.

    x, y, z in metres and roll, pitch, yaw in radians about fixed axes, the rotation being
    Rz(yaw) Ry(pitch) Rx(roll), as in the IRASim data tools that Cosmos Predict uses.
    """
    turn, place = torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    places, turns = [place], [turn]
    for way, step in zip(motions[:, :3].double(), _rotation(motions[:, 3:].double()), strict=True):
        place, turn = place + turn @ way, turn @ step
        places.append(place)
        turns.append(turn)
    return torch.cat([torch.stack(places), _angles(torch.stack(turns))], 1)


def gripper_motions(poses: Tensor) -> Tensor:
    """Motions `[T, 6]` float64 from each pose of `[T + 1, 6]` to the next: `gripper_poses` undone.

    Example:
        >>> turned = torch.tensor([[0.0, 0, 0, 0, 0, 1.5], [0.2, 0, 0, 0, 0, 1.5]])
        >>> gripper_motions(turned)[0, :2].float()  # sideways
        tensor([ 0.0141, -0.1995])
    """
    place, turn = poses[:, :3].double(), _rotation(poses[:, 3:].double())
    back = turn[:-1].mT
    way = (back @ place.diff(dim=0)[:, :, None])[:, :, 0]
    return torch.cat([way, _angles(back @ turn[1:])], 1)


def _rotation(angles: Tensor) -> Tensor:
    """`[N, 3]` roll, pitch, yaw as `[N, 3, 3]` = Rz Ry Rx."""
    (a, b, c), (x, y, z) = angles.cos().unbind(1), angles.sin().unbind(1)
    rows = [
        [c * b, c * y * x - z * a, c * y * a + z * x],
        [z * b, z * y * x + c * a, z * y * a - c * x],
        [-y, b * x, b * a],
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def _angles(turn: Tensor) -> Tensor:
    """The inverse of `_rotation`; straight up or down, where yaw is free, it is 0."""
    level = torch.hypot(turn[:, 0, 0], turn[:, 1, 0])
    free = level < _FREE
    roll = torch.where(
        free,
        torch.atan2(-turn[:, 1, 2], turn[:, 1, 1]),
        torch.atan2(turn[:, 2, 1], turn[:, 2, 2]),
    )
    yaw = torch.where(free, 0.0, torch.atan2(turn[:, 1, 0], turn[:, 0, 0]))
    return torch.stack([roll, torch.atan2(-turn[:, 2, 0], level), yaw], 1)
