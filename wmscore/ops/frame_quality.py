"""What a frame says about its own quality, without a reference, in one read."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.ops._check import check_frames
from wmscore.ops._library import op

__all__ = ["QualitySums", "frame_quality"]

_LUMA = (
    77,
    150,
    29,
)  # BT.601's 0.299, 0.587, 0.114 times 256: 255 of each gives 65280, no rounding
_GRID = 8


class QualitySums(NamedTuple):
    """The columns of `frame_quality`: `QualitySums(*frame_quality(frames).unbind(-1))`."""

    red: Tensor
    green: Tensor
    blue: Tensor
    red_red: Tensor
    green_green: Tensor
    blue_blue: Tensor
    red_green: Tensor
    green_blue: Tensor
    blue_red: Tensor
    chroma: Tensor
    low: Tensor
    high: Tensor
    gradient: Tensor
    laplacian: Tensor
    border: Tensor
    inner: Tensor
    absolute_change: Tensor
    squared_change: Tensor


@op(check_frames)
def frame_quality(frames: Tensor, previous: Tensor | None = None) -> Tensor:
    """Sum what sharpness, contrast, colour, clipping, blocking and change are made of.

    Over the pixels of each frame, with luma `Y = 77 R + 150 G + 29 B`, `dY` the differences of the
    luma of horizontal and of vertical neighbours, and p the frame before:

    - red, green, blue: `ΣR`, `ΣG`, `ΣB`; red_red ... blue_red: `ΣRR`, `ΣGG`, `ΣBB`, `ΣRG`, `ΣGB`,
      `ΣBR`
    - chroma: `Σ(max(R, G, B) - min(R, G, B))`
    - low, high: how many values of all channels are at most 0, and at least 255 (1 for floats)
    - gradient: `ΣdY²`
    - laplacian: `Σ(4 Y - left - right - above - below)²` over pixels with all four neighbours
    - border, inner: `Σ|dY|` between neighbours in different cells of the 8 x 8 grid that starts at
      the first pixel, and between the others
    - absolute_change, squared_change: `Σ|x - p|` and `Σ(x - p)²` over all channels, 0 without
      `previous`

    Args:
        frames: `[N, C, H, W]`, uint8 or floating, any strides; C is 3 (RGB) or 1, which counts as
            three equal channels.
        previous: the frames before, of the same shape, dtype and device; None leaves out change.

    Returns:
        `[N, 18]`, the columns of `QualitySums`. Exact int64 for uint8 frames of up to 10^8 pixels;
        float64 sums of float64 terms for floating ones, equal between kernels up to rounding. A NaN
        makes the sums that contain it NaN, and is neither low nor high. It has no gradient.

    Raises:
        TypeError: not tensors, or not of one supported dtype.
        ValueError: the shapes or the devices differ, or the shape is not `[N, C, H, W]` with C of
            1 or 3.
        RuntimeError: an argument requires a gradient.

    Example:
        >>> frames = torch.tensor([0, 1, 1, 0], dtype=torch.uint8).view(1, 1, 2, 2)
        >>> QualitySums(*frame_quality(frames).unbind(-1)).gradient  # four steps of 256
        tensor([262144])
    """
    # Integers of 64 bits hold every sum of uint8 frames; halves would overflow.
    wide = torch.int64 if frames.dtype == torch.uint8 else torch.float64
    top = 255 if frames.dtype == torch.uint8 else 1
    rgb = frames.to(wide).expand(-1, 3, -1, -1)
    red, green, blue = rgb.unbind(1)  # [N, H, W] each
    luma = _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue
    across = luma[:, :, 1:] - luma[:, :, :-1]
    down = luma[:, 1:] - luma[:, :-1]
    inside = luma[:, 1:-1, 1:-1]
    laplacian = (
        (4 * inside - luma[:, 1:-1, :-2] - luma[:, 1:-1, 2:])
        - luma[:, :-2, 1:-1]
        - luma[:, 2:, 1:-1]
    )
    across_border, across_inner = _split(across.abs())
    down_border, down_inner = _split(down.abs().mT)
    change = torch.zeros_like(rgb) if previous is None else rgb - previous.to(wide)
    columns = QualitySums(
        red=_sum(red),
        green=_sum(green),
        blue=_sum(blue),
        red_red=_sum(red * red),
        green_green=_sum(green * green),
        blue_blue=_sum(blue * blue),
        red_green=_sum(red * green),
        green_blue=_sum(green * blue),
        blue_red=_sum(blue * red),
        chroma=_halve(_sum((red - green).abs() + (green - blue).abs() + (blue - red).abs())),
        low=_sum(rgb <= 0),
        high=_sum(rgb >= top),
        gradient=_sum(across * across) + _sum(down * down),
        laplacian=_sum(laplacian * laplacian),
        border=across_border + down_border,
        inner=across_inner + down_inner,
        absolute_change=_sum(change.abs()),
        squared_change=_sum(change * change),
    )
    return torch.stack([column.to(wide) for column in columns], dim=-1)


def _halve(even: Tensor) -> Tensor:
    return even / 2 if even.is_floating_point() else even // 2


def _split(steps: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of `[N, ., L]`, where element x is the step from x to x + 1: across the grid, within."""
    is_border = torch.arange(steps.shape[2], device=steps.device) % _GRID == _GRID - 1
    return _sum(steps.where(is_border, 0)), _sum(steps.where(~is_border, 0))


def _sum(terms: Tensor) -> Tensor:
    """Over all but the first dim, `[N]`."""
    return terms.flatten(1).sum(1)
