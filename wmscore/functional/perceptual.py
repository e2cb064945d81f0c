"""Perceptual drift: how far a generated frame is from the reference frame, per frame."""

from __future__ import annotations

from math import log10
from typing import Literal

import torch
from torch import Tensor

from wmscore.functional._check import check_choice, check_frames, check_side, data_range_of
from wmscore.functional._chunks import frame_chunks, piece_elements
from wmscore.ops import FrameErrors, frame_errors

__all__ = ["PSNR_QUANTISATION_DB", "mse", "psnr", "ssim"]

PSNR_QUANTISATION_DB = 10 * log10(12 * 255**2)
"""PSNR of the rounding to uint8, whose error has the variance (1/255)^2 / 12: 58.92 dB."""


_SSIM_WINDOW = 11
_SSIM_SIGMA = 1.5
_SSIM_K1, _SSIM_K2 = 0.01, 0.03
_SSIM_BAND = 32  # output columns per matrix product: the band is 42 x 32, so that little is zero


def mse(preds: Tensor, target: Tensor, *, data_range: float | None = None) -> Tensor:
    r"""Mean squared error per frame, in units of the squared data range.

    .. math:: \mathrm{MSE} = \frac{1}{CHW R^2} \sum_{chw} (\hat x_{chw} - x_{chw})^2

    The sum is exact for ``uint8`` and in float64 for floats.

    Args:
        preds: generated frames ``[..., C, H, W]``, ``uint8`` or floating point.
        target: reference frames, of the same shape, dtype and device.
        data_range: R; ``None`` means 255 for ``uint8`` and 1.0 for floats.

    Returns:
        ``[...]`` float64, 0 or more, 0 for identical frames, lower is better. NaN where a frame
        holds NaN.

    Raises:
        ValueError: shapes or devices differ, or a frame is empty.
        TypeError: not tensors, or dtypes differ or are not supported.
    """
    check_frames(preds=preds, target=target)
    value_range = data_range_of(preds.dtype, data_range)
    return _sum_squared_error(preds, target) / (preds.shape[-3:].numel() * value_range**2)


def psnr(preds: Tensor, target: Tensor, *, data_range: float | None = None) -> Tensor:
    r"""Peak signal-to-noise ratio per frame: neither capped nor offset by an epsilon.

    .. math:: \mathrm{PSNR} = 10 \log_{10} \frac{C H W R^2}{\sum_{chw} (\hat x_{chw}-x_{chw})^2}

    A constant offset c (in data ranges) gives :math:`-20 \log_{10} c`; one ``uint8`` level gives
    48.1308 dB.

    Args:
        preds: generated frames ``[..., C, H, W]``, ``uint8`` or floating point.
        target: reference frames, of the same shape, dtype and device.
        data_range: R; ``None`` means 255 for ``uint8`` and 1.0 for floats.

    Returns:
        ``[...]`` float64 in dB, higher is better, ``inf`` for identical frames. NaN where a frame
        holds NaN.

    Raises:
        ValueError: shapes or devices differ, or a frame is empty.
        TypeError: not tensors, or dtypes differ or are not supported.
    """
    return -10 * mse(preds, target, data_range=data_range).log10()


def _sum_squared_error(preds: Tensor, target: Tensor) -> Tensor:
    """Sum over channels and pixels, ``[...]`` float64."""
    # Bytes of frames per call. Without a compiled kernel, temporaries take 20 times as much; on a
    # device, smaller pieces would be lost in launches.
    piece = 1 << 22 if preds.device.type == "cpu" else 1 << 26
    frame_bytes = preds.shape[-3:].numel() * preds.element_size()
    errors = [
        FrameErrors(*frame_errors(*pair).unbind(-1)).squared_error.sum(-1).double()
        for pair in frame_chunks(preds, target, size=piece // frame_bytes)
    ]
    return _join(errors, preds, torch.float64)


def ssim(
    preds: Tensor,
    target: Tensor,
    *,
    data_range: float | None = None,
    window: Literal["gaussian"] = "gaussian",
) -> Tensor:
    r"""Structural similarity per frame, over the region where the whole window fits.

    .. math:: \mathrm{SSIM} = \operatorname{mean}_{c,h,w}
        \frac{(2\mu_x\mu_y + C_1)(2\sigma_{xy} + C_2)}
             {(\mu_x^2 + \mu_y^2 + C_1)(\sigma_x^2 + \sigma_y^2 + C_2)},
        \quad C_i = (K_i R)^2

    11 x 11 Gaussian window with sigma 1.5, population covariance, K = (0.01, 0.03), per channel
    and then the mean over channels; no padding, no down-sampling, no grey conversion. That is
    the definition of the paper, of ``skimage.metrics.structural_similarity(gaussian_weights=True,
    sigma=1.5, use_sample_covariance=False)`` and of ``piq.ssim(downsample=False)``.

    Moments are taken in float64: :math:`E[x^2] - \mu^2` cannot cancel, and neither TF32 nor
    autocast, which apply to float32 products, can change a score. Differentiable for floats.

    Args:
        preds: generated frames ``[..., C, H, W]``, ``uint8`` or floating point.
        target: reference frames, of the same shape, dtype and device.
        data_range: R; ``None`` means 255 for ``uint8`` and 1.0 for floats.
        window: the only window there is.

    Returns:
        ``[...]`` float32 (float64 for float64 frames) in [-1, 1], 1 for identical frames, higher is
        better. NaN where a frame holds NaN.

    Raises:
        ValueError: shapes or devices differ, or a side is shorter than 11 pixels.
        TypeError: not tensors, or dtypes differ or are not supported.

    Source:
        Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to
        structural similarity", IEEE TIP 2004, section III.C.
    """
    check_frames(preds=preds, target=target)
    check_side(preds, _SSIM_WINDOW, "ssim")
    check_choice("window", window, ("gaussian",))
    value_range = data_range_of(preds.dtype, data_range)
    size = piece_elements(preds.device) // preds.shape[-3:].numel()
    band = _gaussian_band(preds.device)
    means = [
        _frame_ssim(some_preds, some_target, band, value_range)
        for some_preds, some_target in frame_chunks(preds, target, size=size)
    ]
    return _join(means, preds, torch.promote_types(preds.dtype, torch.float32))


def _frame_ssim(preds: Tensor, target: Tensor, band: Tensor, value_range: float) -> Tensor:
    """SSIM of a few frames ``[n, C, H, W]``, ``[n]`` float64."""
    c1, c2 = (_SSIM_K1 * value_range) ** 2, (_SSIM_K2 * value_range) ** 2
    preds, target = preds.double(), target.double()
    # Both variances only ever occur as their sum: four moments do, not five.
    moments = torch.stack([preds, target, preds * preds + target * target, preds * target])
    mean_preds, mean_target, energy, product = _gaussian_blur(moments, band).unbind()
    means = 2 * mean_preds * mean_target
    mean_energy = mean_preds * mean_preds + mean_target * mean_target
    similarity = ((means + c1) * (2 * product - means + c2)) / (
        (mean_energy + c1) * (energy - mean_energy + c2)
    )
    return similarity.flatten(1).mean(1)


def _gaussian_blur(maps: Tensor, band: Tensor) -> Tensor:
    """Window means of ``[..., H, W]`` float64 over the valid region, ``[..., H - 10, W - 10]``.

    Two banded matrix products: on a CPU faster than separable convolutions or sums of shifts.
    """
    return _blur_rows(_blur_rows(maps, band).mT, band).mT


def _blur_rows(maps: Tensor, band: Tensor) -> Tensor:
    """``[..., H, W]`` to ``[..., H, W - 10]``, in pieces of at most 32 columns."""
    reach = _SSIM_WINDOW - 1
    pieces = []
    for start in range(0, maps.shape[-1] - reach, _SSIM_BAND):
        piece = maps[..., start : start + _SSIM_BAND + reach]
        columns = piece.shape[-1] - reach
        pieces.append(piece @ band[: columns + reach, :columns])
    return torch.cat(pieces, -1)


def _gaussian_band(device: torch.device) -> Tensor:
    """``[42, 32]`` float64: column j holds the window at rows j .. j + 10."""
    row = torch.arange(_SSIM_BAND + _SSIM_WINDOW - 1, dtype=torch.float64, device=device)
    offset = row[:, None] - row[:_SSIM_BAND] - _SSIM_WINDOW // 2
    weight = torch.exp(-(offset**2) / (2 * _SSIM_SIGMA**2))
    band = weight.where(offset.abs() <= _SSIM_WINDOW // 2, 0.0)
    return band / band[:, :1].sum()


def _join(pieces: list[Tensor], frames: Tensor, dtype: torch.dtype) -> Tensor:
    if not pieces:
        return torch.empty(frames.shape[:-3], dtype=dtype, device=frames.device)
    return torch.cat(pieces).to(dtype).reshape(frames.shape[:-3])
