"""Error sums of predicted frames inside and outside a region, in one read of all tensors."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from wmscore.ops._check import check_frame_pair
from wmscore.ops._library import op
from wmscore.ops.frame_errors import error_sums, widened

__all__ = ["frame_region_errors"]


def check_region(
    preds: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    previous: Tensor | None = None,
    threshold: float = 0.0,
) -> None:
    """Refuse frames, a mask, previous frames or a threshold that do not fit each other.

    Raises:
        TypeError: an argument is of the wrong type or dtype.
        ValueError: shapes or devices differ, `threshold` is not finite or negative, or there is
            nothing that says what the region is.
    """
    check_frame_pair(preds, target)
    if mask is None and previous is None:
        raise ValueError("frame_region_errors needs a mask, previous frames or both, got neither")
    if mask is not None:
        if not isinstance(mask, Tensor):
            raise TypeError(f"mask must be a torch.Tensor or None, got {type(mask).__name__}")
        if mask.dtype != torch.bool:
            raise TypeError(f"mask must be bool, got {mask.dtype}")
        expected = (preds.shape[0], *preds.shape[2:])
        if mask.shape != expected:
            raise ValueError(
                f"mask must have the shape [N, H, W] = {expected} of the frames, "
                f"got {tuple(mask.shape)}"
            )
        if mask.device != preds.device:
            raise ValueError(f"mask must be on {preds.device} like the frames, got {mask.device}")
    if previous is not None:
        if not isinstance(previous, Tensor):
            raise TypeError(
                f"previous must be a torch.Tensor or None, got {type(previous).__name__}"
            )
        if previous.dtype != target.dtype:
            raise TypeError(
                f"previous must have the dtype of target, {target.dtype}, got {previous.dtype}"
            )
        if previous.shape != target.shape:
            raise ValueError(
                f"previous must have the shape [N, C, H, W] = {tuple(target.shape)} of target, "
                f"got {tuple(previous.shape)}"
            )
        if previous.device != target.device:
            raise ValueError(
                f"previous must be on {target.device} like target, got {previous.device}"
            )
    if isinstance(threshold, bool) or not isinstance(threshold, int | float):
        raise TypeError(f"threshold must be a number, got {type(threshold).__name__}")
    if not 0 <= threshold < math.inf:
        raise ValueError(f"threshold must be finite and at least 0, got {threshold}")
    if threshold > 0 and previous is None:
        raise ValueError(f"threshold {threshold} needs previous frames to compare with, got None")


@op(check_region)
def frame_region_errors(
    preds: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    previous: Tensor | None = None,
    threshold: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """The sums of `frame_errors` inside and outside a region, and the pixels of each.

    A pixel moves where any channel of `|target - previous|` exceeds `threshold`. The region is the
    mask, or where pixels move, or where both hold. A NaN does not move.

    Args:
        preds: frames `[N, C, H, W]`, uint8 or floating, any strides.
        target: frames of the same shape, dtype and device.
        mask: bool `[N, H, W]`, any strides, may be expanded.
        previous: the frames before `target`, of its shape, dtype and device.
        threshold: 0 or more, in units of the frames: grey levels for uint8.

    Returns:
        `[N, C, 2, 6]`, inside and outside, each the columns of `FrameErrors`, exact int64 for uint8
        frames and float64 for floating ones; and int64 `[N, 2]`, the pixels inside and outside.
        Inside and outside add up to `frame_errors`, for floating frames up to the order of
        summation. A NaN reaches the sums of its own side alone. There is no gradient.

    Raises:
        TypeError: not tensors, or not of one supported dtype; `mask` not bool.
        ValueError: shapes or devices differ, `threshold` is negative or not finite, or neither
            `mask` nor `previous` is given.
        RuntimeError: an argument requires a gradient.

    Example:
        >>> preds, target = torch.tensor([[[[[0, 9, 0]]]], [[[[5, 9, 2]]]]], dtype=torch.uint8)
        >>> sums, pixels = frame_region_errors(preds, target, previous=torch.full_like(target, 9))
        >>> sums[0, 0, :, :2]  # squared and absolute error
        tensor([[29,  7],
                [ 0,  0]])
        >>> pixels
        tensor([[2, 1]])
    """
    if previous is not None:
        # float64, so that no kernel rounds a difference to the other side of the threshold.
        moves = ((target.double() - previous.double()).abs() > threshold).any(1)
        inside = moves if mask is None else moves & mask
    else:
        assert mask is not None
        inside = mask
    p, t = widened(preds, target)
    # Chosen, not multiplied: 0 * NaN is NaN.
    sides = [side[:, None] for side in (inside, ~inside)]
    sums = torch.stack([error_sums(p.where(side, 0), t.where(side, 0)) for side in sides], dim=2)
    pixels = torch.stack([side.sum((1, 2, 3)) for side in sides], dim=1)
    return sums.to(torch.int64) if preds.dtype == torch.uint8 else sums, pixels
