"""Structural similarity of predicted frames at one or several scales, and its gradient."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from wmscore.ops._check import check_frame_pair
from wmscore.ops._library import op

__all__ = ["FrameSsim", "frame_ssim", "frame_ssim_backward", "similarity_maps"]

_GAUSSIAN_WINDOW, _GAUSSIAN_SIGMA = 11, 1.5
_UNIFORM_WINDOW = 7
_K1, _K2 = 0.01, 0.03
_MAX_SCALES = 5
_BAND = 32  # outputs of a matrix product: the band is 42 x 32, so that little of it is zero


class FrameSsim(NamedTuple):
    """The columns of `frame_ssim`: `FrameSsim(*frame_ssim(preds, target, 1.0).unbind(-1))`."""

    ssim: Tensor
    contrast_structure: Tensor
    squared_error: Tensor


def _check(
    preds: Tensor, target: Tensor, data_range: float, uniform: bool = False, scales: int = 1
) -> None:
    check_frame_pair(preds, target)
    if not data_range > 0:
        raise ValueError(f"data_range must be above 0, got {data_range}")
    if not 1 <= scales <= _MAX_SCALES:
        raise ValueError(f"scales must be in 1..{_MAX_SCALES}, got {scales}")
    window = _UNIFORM_WINDOW if uniform else _GAUSSIAN_WINDOW
    least = (window - 1) * 2 ** (scales - 1) + 1
    if min(preds.shape[2:]) < least:
        raise ValueError(
            f"preds and target must be at least {least} x {least} pixels for a window of {window} "
            f"at {scales} scale(s), got {preds.shape[2]} x {preds.shape[3]}"
        )


def _check_backward(
    gradient: Tensor,
    preds: Tensor,
    target: Tensor,
    data_range: float,
    uniform: bool = False,
    scales: int = 1,
) -> None:
    _check(preds, target, data_range, uniform, scales)
    expected = (*preds.shape[:2], scales, len(FrameSsim._fields))
    if gradient.shape != expected or gradient.dtype != torch.float64:
        raise ValueError(
            f"gradient must be float64 of shape {expected}, got {gradient.dtype} of shape "
            f"{tuple(gradient.shape)}"
        )


@op(_check_backward)
def frame_ssim_backward(
    gradient: Tensor,
    preds: Tensor,
    target: Tensor,
    data_range: float,
    uniform: bool = False,
    scales: int = 1,
) -> tuple[Tensor, Tensor]:
    """Take the gradient of `frame_ssim` with respect to both frames.

    Args:
        gradient: with respect to the result of `frame_ssim`, `[N, C, scales, 3]` float64.
        preds: as given to `frame_ssim`, floating.
        target: likewise.
        data_range: likewise.
        uniform: likewise.
        scales: likewise.

    Returns:
        The gradients of `preds` and of `target`, of their shape and dtype; for float32 within 1e-4
        of the largest. They have no gradient themselves.
    """
    pyramid = [(preds.double(), target.double())]
    for _ in range(scales - 1):
        pyramid.append((_halve(pyramid[-1][0]), _halve(pyramid[-1][1])))
    of_preds, of_target = _scale_gradient(gradient[:, :, -1], *pyramid[-1], data_range, uniform)
    for scale in range(scales - 2, -1, -1):
        x, y = pyramid[scale]
        own = _scale_gradient(gradient[:, :, scale], x, y, data_range, uniform)
        of_preds = own[0] + _halve_backward(of_preds, x.shape)
        of_target = own[1] + _halve_backward(of_target, y.shape)
    return of_preds.to(preds.dtype).contiguous(), of_target.to(preds.dtype).contiguous()


def _backward(
    needs: tuple[bool, ...],  # both gradients come from one pass
    gradient: Tensor,
    preds: Tensor,
    target: Tensor,
    data_range: float,
    uniform: bool,
    scales: int,
) -> tuple[Tensor | None, ...]:
    grads = frame_ssim_backward(gradient, preds, target, data_range, uniform, scales)
    return (*grads, None, None, None)


@op(_check, backward=_backward)
def frame_ssim(
    preds: Tensor, target: Tensor, data_range: float, uniform: bool = False, scales: int = 1
) -> Tensor:
    """Average SSIM, its contrast-structure part and the squared error over each plane.

    Of each frame n and channel c, over the positions where the whole window fits: the means of
    `l·cs` and of `cs`, where `l = (2 μx μy + C1) / (μx² + μy² + C1)`,
    `cs = (2 σxy + C2) / (σx² + σy² + C2)`, `C1 = (0.01 R)²`, `C2 = (0.03 R)²`; and the sum of
    `(p - t)²` over all pixels. The window is Gaussian, 11 x 11 with sigma 1.5, or uniform, 7 x 7;
    covariances are those of the population.

    At the next scale both frames are halved: each pixel is the mean of 2 x 2, or of those that
    exist at the end of an odd side (which is the edge repeated, as in the authors' code).

    Args:
        preds: frames `[N, C, H, W]`, uint8 or floating, any strides.
        target: frames of the same shape, dtype and device.
        data_range: R, above 0: 255 for uint8, 1 for floats in 0..1.
        uniform: the uniform window instead of the Gaussian one.
        scales: how many, 1 to 5, from the full size down. Sides must be at least
            `(window - 1) * 2^(scales - 1) + 1` pixels.

    Returns:
        `[N, C, scales, 3]` float64, the columns of `FrameSsim`: SSIM in [-1, 1], contrast-structure
        in [-1, 1] (1 for equal frames, higher is better) and a sum in units of the data, 0 or more
        (exact for uint8). Of uint8 frames and photographs within the range, kernels compute the
        first two within 1e-6 (worst known: 2e-5, float32 noise near black against noise near
        white), and for floating frames the third within 1e-5 of itself. A NaN makes its plane NaN.
        Differentiable for floating frames.

    Raises:
        TypeError: not tensors, or not of one supported dtype.
        ValueError: shapes or devices differ, the shape is not `[N, C, H, W]`, a side is too short,
            or data_range or scales is out of range.

    Source:
        Wang, Bovik, Sheikh, Simoncelli, IEEE TIP 13(4), 2004, section III.C; Wang, Simoncelli,
        Bovik, "Multiscale structural similarity", Asilomar 2003, section 3.

    Example:
        >>> frames = torch.full((1, 1, 11, 11), 100, dtype=torch.uint8)
        >>> frame_ssim(frames, frames + 10, 255.0)[0, 0, 0].tolist()  # cs of flat frames is 1
        [0.9954764440915066, 1.0, 12100.0]
    """
    x, y = preds.double(), target.double()
    rows = []
    for scale in range(scales):
        if scale:
            x, y = _halve(x), _halve(y)
        luminance, contrast_structure = similarity_maps(x, y, data_range, uniform)
        columns = [
            (luminance * contrast_structure).mean((2, 3)),
            contrast_structure.mean((2, 3)),
            (x - y).square().sum((2, 3)),
        ]
        rows.append(torch.stack(columns, dim=-1))
    return torch.stack(rows, dim=2)


def similarity_maps(
    x: Tensor, y: Tensor, data_range: float, uniform: bool
) -> tuple[Tensor, Tensor]:
    """Luminance and contrast-structure of frames `[N, C, H, W]` in float64, where windows fit."""
    return _similarity(_moments(x, y, uniform), data_range)


def _moments(x: Tensor, y: Tensor, uniform: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Window means and variances of sum and difference: μs, μd, Vs, Vd.

    They say the same as those of x and y: `σx² + σy² = (Vs + Vd) / 2`, `2 σxy = (Vs - Vd) / 2`; but
    frames that are nearly equal, where precision counts, have a small difference.
    """
    s, d = x + y, x - y
    mean_s, mean_d, energy_s, energy_d = _blur(torch.stack([s, d, s * s, d * d]), uniform).unbind()
    return mean_s, mean_d, energy_s - mean_s * mean_s, energy_d - mean_d * mean_d


def _similarity(
    moments: tuple[Tensor, Tensor, Tensor, Tensor], data_range: float
) -> tuple[Tensor, Tensor]:
    """Luminance and contrast-structure, `[N, C, H', W']`."""
    mean_s, mean_d, var_s, var_d = moments
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    luminance = 1 - 2 * mean_d * mean_d / (mean_s * mean_s + mean_d * mean_d + 2 * c1)
    return luminance, 1 - 2 * var_d / (var_s + var_d + 2 * c2)


def _scale_gradient(
    gradient: Tensor, x: Tensor, y: Tensor, data_range: float, uniform: bool
) -> tuple[Tensor, Tensor]:
    """Gradients of x and y at one scale; `gradient` is `[N, C, 3]`."""
    moments = mean_s, mean_d, var_s, var_d = _moments(x, y, uniform)
    luminance, contrast_structure = _similarity(moments, data_range)
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    of_ssim, of_cs, of_error = gradient[..., None, None].unbind(2)
    positions = mean_s.shape[2] * mean_s.shape[3]
    of_ssim, of_cs = of_ssim / positions, of_cs / positions

    brightness = mean_s * mean_s + mean_d * mean_d + 2 * c1
    contrast = var_s + var_d + 2 * c2
    of_luminance = of_ssim * contrast_structure * 4 * mean_d / brightness**2
    of_mean_s = of_luminance * mean_s * mean_d
    of_mean_d = -of_luminance * (mean_s * mean_s + 2 * c1)
    of_contrast = (of_ssim * luminance + of_cs) * 2 / contrast**2
    of_var_s = of_contrast * var_d
    of_var_d = -of_contrast * (var_s + 2 * c2)

    maps = torch.stack(
        [of_mean_s - 2 * mean_s * of_var_s, of_var_s, of_mean_d - 2 * mean_d * of_var_d, of_var_d]
    )
    plain_s, times_s, plain_d, times_d = _blur_backward(maps, uniform).unbind()
    of_s = plain_s + 2 * (x + y) * times_s
    of_d = plain_d + 2 * (x - y) * (times_d + of_error)
    return of_s + of_d, of_s - of_d


def _halve(frames: Tensor) -> Tensor:
    """`[N, C, H, W]` to `[N, C, ceil(H / 2), ceil(W / 2)]`."""
    planes = frames.flatten(0, 1)[:, None]  # so that there may be no channels
    halved = avg_pool2d(planes, 2, ceil_mode=True, count_include_pad=False)
    return halved.view(*frames.shape[:2], *halved.shape[2:])


def _halve_backward(gradient: Tensor, shape: torch.Size) -> Tensor:
    """Each pixel gets its share of the mean that it went into."""
    height, width = shape[2:]
    shares = gradient.new_full(gradient.shape[2:], 0.25)
    if height % 2:
        shares[-1] *= 2
    if width % 2:
        shares[:, -1] *= 2
    every = (gradient * shares).repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    return every[..., :height, :width]


def _blur(maps: Tensor, uniform: bool) -> Tensor:
    """Window means of `[..., H, W]` where the window fits, `[..., H - window + 1, ...]`.

    Two banded matrix products: on a CPU faster than separable convolutions or sums of shifts.
    """
    band = _band(maps, uniform)
    return _blur_rows(_blur_rows(maps, band).mT, band).mT


def _blur_rows(maps: Tensor, band: Tensor) -> Tensor:
    reach = band.shape[0] - band.shape[1]
    pieces = []
    for start in range(0, maps.shape[-1] - reach, _BAND):
        piece = maps[..., start : start + band.shape[0]]
        columns = piece.shape[-1] - reach
        pieces.append(piece @ band[: columns + reach, :columns])
    return torch.cat(pieces, -1)


def _blur_backward(gradient: Tensor, uniform: bool) -> Tensor:
    """The transpose of `_blur`: a blur of the map with a margin of zeros."""
    window = _UNIFORM_WINDOW if uniform else _GAUSSIAN_WINDOW
    return _blur(torch.nn.functional.pad(gradient, (window - 1,) * 4), uniform)


def _band(maps: Tensor, uniform: bool) -> Tensor:
    """`[32 + window - 1, 32]` float64: column j holds the window at rows j, j + 1, ..."""
    window = _UNIFORM_WINDOW if uniform else _GAUSSIAN_WINDOW
    row = torch.arange(_BAND + window - 1, dtype=torch.float64, device=maps.device)
    offset = row[:, None] - row[:_BAND] - window // 2
    weight = torch.exp(-(offset**2) / (2 * _GAUSSIAN_SIGMA**2))
    weight = torch.ones_like(weight) if uniform else weight
    band = weight.where(offset.abs() <= window // 2, 0.0)
    return band / band[:, :1].sum()
