"""Error sums of predicted frames, in one read of both tensors."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.ops._check import check_frame_pair
from wmscore.ops._library import op

__all__ = ["FrameErrors", "frame_errors"]


class FrameErrors(NamedTuple):
    """The columns of `frame_errors`: `FrameErrors(*frame_errors(preds, target).unbind(-1))`."""

    squared_error: Tensor
    absolute_error: Tensor
    preds_sum: Tensor
    target_sum: Tensor
    preds_energy: Tensor
    target_energy: Tensor


@op(check_frame_pair)
def frame_errors(preds: Tensor, target: Tensor) -> Tensor:
    """Sum squared error, absolute error, both frames and their squares over each plane.

    Of each frame n and channel c, over its pixels i: `Σ(pᵢ-tᵢ)²`, `Σ|pᵢ-tᵢ|`, `Σpᵢ`, `Σtᵢ`, `Σpᵢ²`,
    `Σtᵢ²`. Errors, means, variances and the sums of several channels follow from them.

    Args:
        preds: frames `[N, C, H, W]`, uint8 or floating, any strides.
        target: frames of the same shape, dtype and device.

    Returns:
        `[N, C, 6]`, the columns of `FrameErrors`. Exact int64 for uint8 frames; float64 sums of
        float64 terms for floating ones, equal between kernels up to the order of summation. A NaN
        makes the sums that contain it NaN. It has no gradient.

    Raises:
        TypeError: not tensors, or not of one supported dtype.
        ValueError: the shapes or the devices differ, or the shape is not `[N, C, H, W]`.
        RuntimeError: an argument requires a gradient.

    Example:
        >>> preds = torch.tensor([[[[0, 255]]]], dtype=torch.uint8)
        >>> target = torch.tensor([[[[255, 250]]]], dtype=torch.uint8)
        >>> frame_errors(preds, target)
        tensor([[[ 65050,    260,    255,    505,  65025, 127525]]])
    """
    sums = error_sums(*widened(preds, target))
    return sums.to(torch.int64) if preds.dtype == torch.uint8 else sums


def widened(*frames: Tensor) -> tuple[Tensor, ...]:
    """Frames in a dtype whose differences and sums over a row are right: uint8 exactly.

    uint8 would wrap and half overflow. A row of 256 squares of 255 stays below 2^24, up to which
    float32 holds integers; float64 does up to 2^53, planes of 10^11 pixels.
    """
    first = frames[0]
    is_short = first.dtype == torch.uint8 and first.shape[-1] <= 256
    return tuple(each.to(torch.float32 if is_short else torch.float64) for each in frames)


def error_sums(preds: Tensor, target: Tensor) -> Tensor:
    """`[N, C, 6]` float64, the columns of `FrameErrors`, of widened frames `[N, C, H, W]`."""
    error = preds - target
    rows = (
        (error * error).sum(-1),
        error.abs_().sum(-1),
        preds.sum(-1),
        target.sum(-1),
        (preds * preds).sum(-1),
        (target * target).sum(-1),
    )
    return torch.stack([row.sum(-1, dtype=torch.float64) for row in rows], dim=-1)
