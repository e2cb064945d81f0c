"""Which action acts between which frames: the three conventions of recordings."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from wmscore.timeline.loss import Conversion, Loss

__all__ = ["Alignment", "align", "unalign"]

Alignment = Literal["transition", "at_frame", "produced"]


def align(actions: Tensor, frame_count: int, convention: Alignment) -> Conversion[Tensor]:
    """Rows of a recording as T actions over its T + 1 frames: row t acts between frame t and t + 1.

    Args:
        actions: `[N]` or `[N, A]`, the recording's rows.
        frame_count: number of its frames, T + 1.
        convention: how the recording counts. "transition": N = T, row t is the action between
            frame t and t + 1 (Cosmos 3, gymnasium, minari). "at_frame": N = T + 1, row t was
            commanded at frame t and causes frame t + 1 (LeRobot, VPT); the last row has no frame
            that shows its effect and is dropped. "produced": N = T + 1, row t produced frame t
            (open-oasis); the first row acted before the recording and is dropped, which is no loss
            where it is 0.

    Returns:
        `[T]` or `[T, A]`.

    Raises:
        ValueError: an unknown convention, or another number of rows than it has.

    Example:
        >>> align(torch.tensor([3, 4, 5]), 3, "at_frame").value.tolist()
        [3, 4]
        >>> align(torch.tensor([0, 3, 4]), 3, "produced").value.tolist()
        [3, 4]
    """
    if convention not in get_args(Alignment):
        raise ValueError(f"convention: expected one of {get_args(Alignment)}, got {convention!r}")
    if frame_count < 1:
        raise ValueError(f"frame_count: expected at least 1, got {frame_count}")
    wanted = frame_count - (convention == "transition")
    if actions.ndim < 1 or len(actions) != wanted:
        found = list(actions.shape)
        raise ValueError(
            f"actions: expected {wanted} rows for {frame_count} frames as {convention!r}, "
            f"got {found}{_better(found, frame_count)}"
        )
    if convention == "transition":
        return Conversion(actions)
    if convention == "at_frame":
        lost = Loss("dropped", "last action", 1, text="no frame shows its effect")
        return Conversion(actions[:-1], (lost,))
    first = Loss("dropped", "first action", 1, text="it acted before the first frame")
    return Conversion(actions[1:], (first,) if bool(actions[0].any()) else ())


def unalign(actions: Tensor, convention: Alignment, *, fill: float = 0, dim: int = 0) -> Tensor:
    """T actions over T + 1 frames as the rows of a recording with another convention.

    Args:
        actions: `[T]` or `[T, A]`, or with other dimensions before `dim`.
        convention: as of `align`, which undoes this.
        fill: what stands in the row that the panel has no action for: the last of "at_frame", the
            first of "produced".
        dim: the dimension of the steps.

    Returns:
        T or T + 1 rows.
    """
    if convention not in get_args(Alignment):
        raise ValueError(f"convention: expected one of {get_args(Alignment)}, got {convention!r}")
    if convention == "transition":
        return actions
    shape = list(actions.shape)
    shape[dim] = 1
    row = actions.new_full(shape, fill)
    return torch.cat([actions, row] if convention == "at_frame" else [row, actions], dim)


def _better(found: list[int], frame_count: int) -> str:
    if not found or found[0] not in (frame_count - 1, frame_count):
        return ""
    other = "'transition'" if found[0] == frame_count - 1 else "'at_frame' or 'produced'"
    return f", as {other} would have"
