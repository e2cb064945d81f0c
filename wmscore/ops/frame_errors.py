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
    # Widened before the subtraction: uint8 wraps, and half overflows. Sums of squared uint8 are
    # integers, which float64 holds exactly up to 2^53: planes of 10^11 pixels.
    p = preds.double().flatten(2)  # [N, C, H * W]
    t = target.double().flatten(2)
    error = p - t
    sums = torch.stack(
        [
            (error * error).sum(-1),
            error.abs().sum(-1),
            p.sum(-1),
            t.sum(-1),
            (p * p).sum(-1),
            (t * t).sum(-1),
        ],
        dim=-1,
    )
    return sums.to(torch.int64) if preds.dtype == torch.uint8 else sums
