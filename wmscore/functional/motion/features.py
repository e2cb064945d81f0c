"""What moves and what changes from frame to frame, in a few numbers that actions can be told by."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.functional._check import check_channels, check_frames, check_mask, check_rollouts
from wmscore.functional._chunks import piece_elements
from wmscore.functional.motion.flow import block_flow
from wmscore.functional.motion.shift import global_motion
from wmscore.functional.reasons import Reason
from wmscore.ops import FrameErrors, frame_region_errors

__all__ = ["MOTION_FEATURES", "MotionFeatures", "motion_features"]

_GRID = 3
_CELLS = [f"{y}{x}" for y in range(_GRID) for x in range(_GRID)]
MOTION_FEATURES = (
    *("dy", "dx", "zoom", "roll"),
    *(f"flow_{axis}_{cell}" for cell in _CELLS for axis in ("dy", "dx")),
    *(f"change_{cell}" for cell in _CELLS),
    *(f"brightness_{cell}" for cell in _CELLS),
)
"""Names of the features, in order."""


class MotionFeatures(NamedTuple):
    """What `motion_features` returns.

    Attributes:
        values: ``[B, T, D]`` float64, one value for each of `MOTION_FEATURES`: shift of the picture
            (dy, dx) in pixels, positive = content moves down and right; zoom, the relative growth
            per step; roll in degrees per step, positive = content turns clockwise; then for each
            cell of a 3 x 3 grid the mean flow, the mean absolute change and the change of mean
            brightness in data ranges. NaN where undefined, all of a step at once.
        shift: ``[B, T, 2]`` float64, the first two.
        response: ``[B, T, 4]`` float64, the first four: what a lag is found by.
        peak: ``[B, T]`` float64, quality of the shift, see `phase_shift`.
        reason: ``[B, T]`` uint8, a `Reason`, as of `global_motion`.
    """

    values: Tensor
    shift: Tensor
    response: Tensor
    peak: Tensor
    reason: Tensor


def motion_features(
    frames: Tensor, *, valid: Tensor | None = None, radius: int = 4
) -> MotionFeatures:
    """Describe each step of a rollout by how the picture moves and where it changes.

    The global shift is found by `global_motion`, and the flow of blocks around it by `block_flow`;
    zoom and roll are the least-squares fit of ``flow - shift = zoom * c + roll * rotated c`` over
    blocks with a flow, c being a block's place from the middle of the frame. A cell of the grid in
    which no block has a flow moves with the picture.

    Args:
        frames: rollouts ``[B, T + 1, C, H, W]``, ``uint8`` or floating point in 0..1, C = 1 or 3.
        valid: bool ``[B, T + 1]``, frames that exist; ``None`` means all.
        radius: pixels around the global shift in which blocks are looked for.

    Raises:
        ValueError: another shape, or an option out of range.
        TypeError: not a tensor of frames.
    """
    check_frames(frames=frames)
    check_rollouts("frames", frames)
    check_channels("frames", frames, (1, 3))
    rows, count = frames.shape[:2]
    if valid is not None:
        check_mask("valid", valid, (rows, count), frames.device, like="the frames")
    motion = global_motion(frames, valid=valid)
    defined = motion.reason == int(Reason.DEFINED)
    of_row = max(1, frames.shape[2:].numel() * (count - 1))
    size = max(1, 8 * piece_elements(frames.device) // of_row)
    # Filled in: small results that stay between large temporaries would scatter the heap.
    rest = torch.empty(
        rows, count - 1, len(MOTION_FEATURES) - 2, dtype=torch.float64, device=frames.device
    )
    for start in range(0, rows, size):
        part = slice(start, start + size)
        rest[part] = _of_blocks(frames[part], motion.shift[part], radius)
    values = torch.cat([motion.shift, rest], -1).masked_fill(~defined[..., None], torch.nan)
    return MotionFeatures(values, values[..., :2], values[..., :4], motion.peak, motion.reason)


def _of_blocks(frames: Tensor, shift: Tensor, radius: int) -> Tensor:
    """All but the shift, `[n, T, D - 2]`."""
    before, after = frames[:, :-1], frames[:, 1:]
    start = shift.nan_to_num(0.0).round().long()
    found = block_flow(before, after, radius=radius, start=start)
    sure = found.reliable
    off = (found.flow - shift[..., None, None, :]).where(sure[..., None], 0.0)  # [n, T, gh, gw, 2]
    tall, wide = sure.shape[-2:]
    y = torch.arange(tall, dtype=torch.float64, device=frames.device) - (tall - 1) / 2
    x = torch.arange(wide, dtype=torch.float64, device=frames.device) - (wide - 1) / 2
    block = 8.0  # the default of `block_flow`
    place = torch.stack(torch.meshgrid(y * block, x * block, indexing="ij"), -1)  # (y, x)
    turned = torch.stack([place[..., 1], -place[..., 0]], -1)  # clockwise: right goes down
    length = (place.square().sum(-1) * sure).sum((-2, -1)).clamp_min(1.0)
    zoom = (off * place).sum((-3, -2, -1)) / length
    roll = torch.rad2deg((off * turned).sum((-3, -2, -1)) / length)

    cell_y = torch.arange(tall, device=frames.device) * _GRID // max(tall, 1)
    cell_x = torch.arange(wide, device=frames.device) * _GRID // max(wide, 1)
    cell = (cell_y[:, None] * _GRID + cell_x).flatten()
    inside = torch.nn.functional.one_hot(cell, _GRID * _GRID).double()  # [gh * gw, 9]
    total = off.flatten(-3, -2).mT @ inside  # [n, T, 2, 9]
    seen = (sure.flatten(-2).double() @ inside).clamp_min(1.0)
    flow = (total / seen[..., None, :]).mT + shift[..., None, :]

    parts = (zoom[..., None], roll[..., None], flow.flatten(-2))
    return torch.cat([*parts, *_of_cells(frames)], -1)


def _of_cells(frames: Tensor) -> tuple[Tensor, Tensor]:
    """Of each cell of the grid the mean |change| and the change of the mean, `[n, T, 9]` each."""
    rows, count, channels, height, width = frames.shape
    # All rollouts as one: the steps from one to the next are computed and left out.
    run = frames.reshape(-1, channels, height, width)
    column = torch.arange(width, device=frames.device)
    unit = 255.0 if frames.dtype == torch.uint8 else 1.0
    means = []
    for top, bottom in _bounds(height):
        band = run[:, :, top:bottom]
        for left, right in _bounds(width):
            inside = ((column >= left) & (column < right)).expand(len(run) - 1, bottom - top, -1)
            found, _ = frame_region_errors(band[1:], band[:-1], inside)
            size = channels * (bottom - top) * (right - left)
            means.append(found[:, :, 0].sum(1).double() / (unit * size))  # inside, over channels
    mean = FrameErrors(*torch.stack(means, 1).unbind(-1))
    change, brighter = (
        torch.nn.functional.pad(values, (0, 0, 1, 0)).view(rows, count, _GRID * _GRID)[:, 1:]
        for values in (mean.absolute_error, mean.preds_sum - mean.target_sum)
    )
    return change, brighter


def _bounds(side: int) -> list[tuple[int, int]]:
    """Where the cells along a side begin and end; they share a line where they do not fit."""
    return [(i * side // _GRID, -(-(i + 1) * side // _GRID)) for i in range(_GRID)]
