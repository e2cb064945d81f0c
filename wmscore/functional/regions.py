"""Errors inside and outside a region of the frame: a mask, or what moves in the reference."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wmscore.functional._check import check_frames, check_mask, check_number, data_range_of
from wmscore.functional._chunks import call_frames, frame_chunks
from wmscore.functional.reasons import Reason
from wmscore.ops import FrameErrors, frame_region_errors

__all__ = ["RegionError", "RegionErrors", "region_errors"]


@dataclass(frozen=True)
class RegionError:
    """Error of the pixels on one side of a region. Each tensor is ``[...]``, one value per frame.

    Attributes:
        mse: float64, 0 or more, mean squared error over the side's pixels and all channels, in
            squared data ranges. Lower is better.
        pixels: int64, how many pixels the side has.
        reason: uint8, a :class:`Reason` for each NaN: NO_REGION where the side has no pixel,
            NON_FINITE where it holds NaN.
    """

    mse: Tensor
    pixels: Tensor
    reason: Tensor

    @property
    def psnr(self) -> Tensor:
        """Float64 in dB, higher is better: ``inf`` for an identical side, NaN where ``mse`` is."""
        return -10 * self.mse.log10()


@dataclass(frozen=True)
class RegionErrors:
    """Errors on both sides of a region. See :func:`region_errors`.

    Attributes:
        inside: of the pixels that lie in the region.
        outside: of all the others.
        share: ``[...]`` float64 in [0, 1], the share of the frame's pixels that lie in the region.
    """

    inside: RegionError
    outside: RegionError
    share: Tensor


def region_errors(
    preds: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    previous: Tensor | None = None,
    threshold: float = 0.0,
    data_range: float | None = None,
) -> RegionErrors:
    r"""Errors inside and outside a region, per frame, in one read of the frames.

    The region is where ``mask`` is set; or, with ``previous``, where the reference moves: where any
    channel changes by more than ``threshold`` since the previous reference frame,

    .. math:: \max_c |x_{chw} - x^{\mathrm{prev}}_{chw}| > \theta

    or, with both, where both hold. A static background can hide that what moves is wrong: over the
    whole frame, a model that repeats the first frame scores well where little moves. The reference
    alone says what moves, so that no model chooses what it is measured on; what a model moves that
    should stand still is an error outside. For rollouts ``frames [B, T+1, C, H, W]``, the reference
    is ``frames[:, 1:]`` and ``previous`` is ``frames[:, :-1]``.

    Both sides come from the same read and belong together: an error inside says little without its
    ``share`` of the frame, and weighted with their pixels the two ``mse`` give that of the frame.
    Where only a masked value is asked for, ``mse`` and ``psnr`` take ``mask`` too.

    Args:
        preds: generated frames ``[..., C, H, W]``, ``uint8`` or floating point.
        target: reference frames, of the same shape, dtype and device.
        mask: bool that broadcasts to ``[..., H, W]``, say ``[H, W]`` for one region in all frames.
        previous: the reference frames one step before ``target``, of its shape, dtype and device.
        threshold: 0 or more, in units of the frames: grey levels for ``uint8``. Lossy video changes
            a little everywhere; a threshold above that noise leaves what moves.
        data_range: R; ``None`` means 255 for ``uint8`` and 1.0 for floats.

    Returns:
        :class:`RegionErrors` of ``[...]`` tensors. A side without a pixel is NaN, with a reason.

    Raises:
        ValueError: shapes or devices differ, a frame is empty, an option is out of range, or
            neither ``mask`` nor ``previous`` is given.
        TypeError: not tensors, or dtypes differ or are not supported.

    Example:
        >>> target = torch.zeros(3, 3, 8, 8, dtype=torch.uint8)
        >>> target[1:, :, 2:4] = 100  # something appears in the second frame, and stays
        >>> errors = region_errors(target[:1].expand(2, -1, -1, -1), target[1:],
        ...                        previous=target[:-1])
        >>> errors.inside.psnr, errors.inside.reason, errors.outside.psnr
        (tensor([8.1308,    nan], dtype=torch.float64),
         tensor([ 0, 16], dtype=torch.uint8),
         tensor([    inf, 14.1514], dtype=torch.float64))
    """
    frames = {"preds": preds, "target": target}
    check_frames(**frames, **({} if previous is None else {"previous": previous}))
    if mask is None and previous is None:
        raise ValueError("region_errors needs a mask, previous frames or both, got neither")
    check_number("threshold", threshold, low=0.0)
    if threshold > 0 and previous is None:
        raise ValueError(f"threshold {threshold} needs previous frames to compare with, got None")
    value_range = data_range_of(preds.dtype, data_range)
    *leading, channels, height, width = preds.shape
    tensors = [preds, target]
    if mask is not None:
        sides = (*leading, height, width)
        check_mask("mask", mask, sides, preds.device, like="the frames")
        tensors.append(mask.expand(sides).unsqueeze(-3))
    if previous is not None:
        tensors.append(previous)

    squared, counts = [], []
    for piece in frame_chunks(*tensors, size=call_frames("frame_region_errors", *tensors)):
        some_mask = None if mask is None else piece[2].squeeze(1)
        some_previous = None if previous is None else piece[-1]
        sums, pixels = frame_region_errors(
            piece[0], piece[1], some_mask, some_previous, float(threshold)
        )
        squared.append(FrameErrors(*sums.unbind(-1)).squared_error.sum(1))  # [n, 2]
        counts.append(pixels)
    if not squared:
        squared = [torch.zeros(0, 2, dtype=torch.float64, device=preds.device)]
        counts = [torch.zeros(0, 2, dtype=torch.int64, device=preds.device)]
    error = torch.cat(squared).double().view(*leading, 2)
    count = torch.cat(counts).view(*leading, 2)
    inside, outside = (
        _side(some_error, some_count, channels * value_range**2)
        for some_error, some_count in zip(error.unbind(-1), count.unbind(-1), strict=True)
    )
    return RegionErrors(inside, outside, inside.pixels.double() / (height * width))


def _side(error: Tensor, pixels: Tensor, unit: float) -> RegionError:
    mse = error / (pixels.double() * unit)  # 0 / 0 is NaN
    reason = torch.zeros_like(pixels, dtype=torch.uint8)
    reason.masked_fill_(mse.isnan(), Reason.NON_FINITE).masked_fill_(pixels == 0, Reason.NO_REGION)
    return RegionError(mse, pixels, reason)
