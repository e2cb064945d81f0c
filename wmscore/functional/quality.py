"""Quality of frames on their own, without a reference: what drifts over a long rollout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from wmscore import ops
from wmscore.functional._check import (
    check_channels,
    check_frames,
    check_rollouts,
    data_range_of,
)
from wmscore.functional._chunks import call_frames, frame_chunks, is_one_run
from wmscore.functional.reasons import Reason
from wmscore.ops import QualitySums

__all__ = ["FrameQuality", "frame_quality", "rollout_quality"]

_LUMA = (77, 150, 29)  # the op's weights of red, green and blue
_GRID = 8  # side of its cells
_MEAN_WEIGHT = 0.3  # of opponent colours against their spread: Hasler and Süsstrunk


@dataclass(frozen=True)
class FrameQuality:
    r"""What a frame says about itself. Each value is a tensor ``[...]``, float64.

    Values are in data ranges R: 255 for ``uint8``, 1 for floats; luma is
    :math:`Y = (77 r + 150 g + 29 b) / 256` (BT.601 to 1/256, so that ``uint8`` sums are exact). Few
    have a good direction of their own: compare a rollout's curve with its reference's, or with its
    own start.

    Attributes:
        brightness: mean of Y, 0..1.
        contrast: standard deviation of Y, 0..0.5, 0 for a constant luma; low for washed-out frames.
        channel_mean: ``[..., C]``, mean of each channel, 0..1.
        channel_variance: ``[..., C]``, variance of each channel, 0..0.25, in :math:`R^2`.
        saturation: mean of max(r, g, b) - min(r, g, b), 0..1: 0 for grey, 1 for pure colours.
            Unlike HSV's quotient it does not make dark noise colourful (Hanbury, "Constructing
            cylindrical coordinate colour spaces", Pattern Recognition Letters 2008).
        colourfulness: :math:`\sqrt{\sigma_{rg}^2 + \sigma_{yb}^2} + 0.3
            \sqrt{\mu_{rg}^2 + \mu_{yb}^2}` of r - g and (r + g) / 2 - b, 0 for grey;
            times 255 it is the measure of Hasler and Süsstrunk, "Measuring colourfulness in natural
            images", SPIE 2003, where 15 is slightly and 109 extremely colourful.
        clipped_low: share of the values of all channels that are 0 or less, 0..1.
        clipped_high: share that are R or more, 0..1.
        sharpness_gradient: mean squared difference of Y between neighbours, horizontal and
            vertical ones pooled, in :math:`R^2`, 0..1; lower is blurrier, noise raises it.
        sharpness_laplacian: mean squared :math:`4 Y - Y_{left} - Y_{right} - Y_{above} - Y_{below}`
            over pixels that have all four, in :math:`R^2`, 0..16; more sensitive to fine detail and
            to noise. Both are focus measures (energy of the gradient, energy of the Laplacian) in
            Pertuz, Puig and Garcia, "Analysis of focus measure operators for shape-from-focus",
            Pattern Recognition 2013.
        blockiness: mean absolute difference of Y between neighbours in different cells of the 8 x 8
            grid that starts at the first pixel, less that between the others, in R, -1..1; about 0
            without blocks, higher is worse. After Wang, Sheikh and Bovik, "No-reference perceptual
            quality assessment of JPEG compressed images", ICIP 2002, who compare the same two.
        change: mean absolute difference to the frame before, all channels, in R, 0..1; exactly 0
            for a frozen frame, and a flickering curve for flickering frames.
        change_squared: mean squared difference to it, in :math:`R^2`, 0..1.
        reason: name of a value -> uint8 ``[...]``, a :class:`Reason`: NON_FINITE where the frame
            (for changes, also the one before) holds NaN or infinite values, TOO_SMALL where no
            pixels have the neighbours that the value needs, NO_PREVIOUS where there is no frame
            before. The value is then NaN.
    """

    brightness: Tensor
    contrast: Tensor
    channel_mean: Tensor
    channel_variance: Tensor
    saturation: Tensor
    colourfulness: Tensor
    clipped_low: Tensor
    clipped_high: Tensor
    sharpness_gradient: Tensor
    sharpness_laplacian: Tensor
    blockiness: Tensor
    change: Tensor
    change_squared: Tensor
    reason: Mapping[str, Tensor]


def frame_quality(frames: Tensor, *, previous: Tensor | None = None) -> FrameQuality:
    """Sharpness, contrast, colour, clipping, blocking and change of each frame, in one read of it.

    Args:
        frames: ``[..., C, H, W]``, ``uint8`` or floating point; C is 3 (RGB) or 1 (grey: three
            equal channels).
        previous: the frame before each, of the same shape, dtype and device. None: the change is
            undefined.

    Returns:
        A :class:`FrameQuality` of ``[...]`` tensors.

    Raises:
        ValueError: shapes or devices differ, a frame is empty, or C is neither 1 nor 3.
        TypeError: not tensors, or dtypes differ or are not supported.
    """
    given = {"frames": frames} if previous is None else {"frames": frames, "previous": previous}
    check_frames(**given)
    check_channels("frames", frames, (1, 3))
    pieces = [
        ops.frame_quality(*piece)
        for piece in frame_chunks(
            *given.values(), size=call_frames("frame_quality", *given.values())
        )
    ]
    return _from_sums(_join(pieces, frames), frames, has_previous=previous is not None)


def rollout_quality(frames: Tensor) -> FrameQuality:
    """:func:`frame_quality` of steps 1..T, each with the frame before it, without copies of frames.

    Args:
        frames: rollouts ``[B, T + 1, C, H, W]``, ``uint8`` or floating point, with C of 1 or 3.

    Returns:
        A :class:`FrameQuality` of ``[B, T]`` tensors.

    Raises:
        ValueError: another shape, a frame is empty, or C is neither 1 nor 3.
        TypeError: not a tensor, or its dtype is not supported.
    """
    check_frames(frames=frames)
    check_rollouts("frames", frames)
    check_channels("frames", frames, (1, 3))
    size = call_frames("frame_quality", frames)
    if frames.shape[1] < size and is_one_run(frames):
        # Short rollouts as one: a few large calls, although the first frame of each is scored too.
        runs: tuple[Tensor, ...] = (frames.reshape(-1, *frames.shape[2:]),)
    else:
        runs = frames.unbind(0)
    pieces = []
    for run in runs:
        pieces.append(
            run.new_zeros(min(1, len(run)), len(QualitySums._fields), dtype=_sum_dtype(run))
        )
        for start in range(1, len(run), size):
            stop = min(start + size, len(run))
            pieces.append(ops.frame_quality(run[start:stop], run[start - 1 : stop - 1]))
    return _from_sums(_join(pieces, frames)[:, 1:], frames[:, 1:], has_previous=True)


def _sum_dtype(frames: Tensor) -> torch.dtype:
    return torch.int64 if frames.dtype == torch.uint8 else torch.float64


def _join(pieces: list[Tensor], frames: Tensor) -> Tensor:
    shape = (*frames.shape[:-3], len(QualitySums._fields))
    if not pieces:
        return torch.empty(shape, dtype=_sum_dtype(frames), device=frames.device)
    return torch.cat(pieces).reshape(shape)


def _from_sums(sums: Tensor, frames: Tensor, *, has_previous: bool) -> FrameQuality:
    """Divide sums ``[..., 18]`` by the numbers of their terms and by the data range."""
    channels, height, width = frames.shape[-3:]
    pixels = height * width
    value_range = data_range_of(frames.dtype, None)
    luma_range = sum(_LUMA) * value_range  # the op's luma is not divided by the sum of its weights
    steps = height * (width - 1) + (height - 1) * width
    borders = height * ((width - 1) // _GRID) + (height - 1) // _GRID * width
    inside = max(0, height - 2) * max(0, width - 2)

    mean, covariance = _moments(sums, pixels, value_range)
    column = QualitySums(*sums.double().unbind(-1))
    # Where there are no terms, 0 / 0 is NaN.
    values = {
        "brightness": _luma_of(mean),
        "contrast": _luma_variance(covariance).clamp(min=0).sqrt(),
        "channel_mean": mean[..., :channels],
        "channel_variance": covariance[..., :channels].clamp(min=0),
        "saturation": column.chroma / (pixels * value_range),
        "colourfulness": _colourfulness(mean, covariance),
        "clipped_low": column.low / (3 * pixels),
        "clipped_high": column.high / (3 * pixels),
        "sharpness_gradient": column.gradient / luma_range**2 / steps,
        "sharpness_laplacian": column.laplacian / luma_range**2 / inside,
        "blockiness": (column.border / borders - column.inner / (steps - borders)) / luma_range,
        "change": column.absolute_change / (3 * pixels * value_range),
        "change_squared": column.squared_change / (3 * pixels * value_range**2),
    }
    never = {
        "sharpness_gradient": Reason.TOO_SMALL if steps == 0 else None,
        "sharpness_laplacian": Reason.TOO_SMALL if inside == 0 else None,
        "blockiness": Reason.TOO_SMALL if borders == 0 else None,
        "change": None if has_previous else Reason.NO_PREVIOUS,
        "change_squared": None if has_previous else Reason.NO_PREVIOUS,
    }
    of_frame = len(QualitySums._fields) - 2  # the two sums of change come last
    is_finite = sums[..., :of_frame].isfinite().all(-1)
    both_are_finite = sums.isfinite().all(-1)
    reason = {}
    for name, value in values.items():
        finite = both_are_finite if name.startswith("change") else is_finite
        code = finite.logical_not().to(torch.uint8) * int(Reason.NON_FINITE)
        why = never.get(name)
        reason[name] = code if why is None else torch.full_like(code, int(why))
        undefined = reason[name] != int(Reason.DEFINED)
        shape = undefined.shape + (1,) * (value.ndim - undefined.ndim)
        values[name] = value.masked_fill(undefined.reshape(shape), torch.nan)
    return FrameQuality(**values, reason=reason)


def _moments(sums: Tensor, pixels: int, value_range: float) -> tuple[Tensor, Tensor]:
    """Means ``[..., 3]`` and covariances rr, gg, bb, rg, gb, br ``[..., 6]``, in data ranges.

    Sums are moved to a centre near the mean before they are divided: exact for integers, where
    ``E[xy] - E[x] E[y]`` would cancel.
    """
    first, products = sums[..., :3], sums[..., 3:9]
    centre = torch.div(first, pixels, rounding_mode="floor")
    centre_left, centre_right = _pairs(centre)
    left, right = _pairs(first)
    about_centre = products - centre_left * right - centre_right * left
    about_centre = about_centre + pixels * centre_left * centre_right
    offset = (first - pixels * centre).double() / pixels  # of the mean from the centre, 0..1
    offset_left, offset_right = _pairs(offset)
    covariance = about_centre.double() / pixels - offset_left * offset_right
    return (centre.double() + offset) / value_range, covariance / value_range**2


def _pairs(channels: Tensor) -> tuple[Tensor, Tensor]:
    """The left and the right channels of rr, gg, bb, rg, gb, br."""
    return torch.cat([channels, channels], -1), torch.cat([channels, channels.roll(-1, -1)], -1)


def _luma_of(mean: Tensor) -> Tensor:
    red, green, blue = mean.unbind(-1)
    return (_LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue) / sum(_LUMA)


def _luma_variance(covariance: Tensor) -> Tensor:
    rr, gg, bb, rg, gb, br = covariance.unbind(-1)
    r, g, b = _LUMA
    own = r * r * rr + g * g * gg + b * b * bb
    return (own + 2 * (r * g * rg + g * b * gb + b * r * br)) / sum(_LUMA) ** 2


def _colourfulness(mean: Tensor, covariance: Tensor) -> Tensor:
    red, green, blue = mean.unbind(-1)
    rr, gg, bb, rg, gb, br = covariance.unbind(-1)
    rg_variance = rr + gg - 2 * rg
    yb_variance = (rr + gg + 2 * rg) / 4 + bb - br - gb
    spread = (rg_variance + yb_variance).clamp(min=0).sqrt()
    return spread + _MEAN_WEIGHT * torch.hypot(red - green, (red + green) / 2 - blue)
