"""Errors of generated frames against reference frames, per frame."""

from __future__ import annotations

from math import log10

from torch import Tensor

from wmscore.functional._check import check_frames, data_range_of
from wmscore.functional._chunks import call_frames, frame_chunks, join_pieces
from wmscore.functional.regions import region_errors
from wmscore.ops import FrameErrors, frame_errors

__all__ = ["PSNR_QUANTISATION_DB", "mse", "psnr"]

PSNR_QUANTISATION_DB = 10 * log10(12 * 255**2)
"""PSNR of the rounding to uint8, whose error has the variance (1/255)^2 / 12: 58.92 dB."""


def mse(
    preds: Tensor,
    target: Tensor,
    *,
    data_range: float | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    r"""Mean squared error per frame, in units of the squared data range.

    .. math:: \mathrm{MSE} = \frac{1}{CHW R^2} \sum_{chw} (\hat x_{chw} - x_{chw})^2

    The sum is exact for ``uint8`` and in float64 for floats.

    Args:
        preds: generated frames ``[..., C, H, W]``, ``uint8`` or floating point.
        target: reference frames, of the same shape, dtype and device.
        data_range: R; ``None`` means 255 for ``uint8`` and 1.0 for floats.
        mask: bool that broadcasts to ``[..., H, W]``; the mean is over the pixels where it is set.
            For the error of what moves, and for both sides at once, see :func:`region_errors`.

    Returns:
        ``[...]`` float64, 0 or more, 0 for identical frames, lower is better. NaN where a frame
        holds NaN (under the mask, where there is one) and where the mask is set nowhere.

    Raises:
        ValueError: shapes or devices differ, or a frame is empty.
        TypeError: not tensors, dtypes differ or are not supported, or ``mask`` is not bool.
    """
    if mask is not None:
        return region_errors(preds, target, mask=mask, data_range=data_range).inside.mse
    check_frames(preds=preds, target=target)
    value_range = data_range_of(preds.dtype, data_range)
    return _sum_squared_error(preds, target) / (preds.shape[-3:].numel() * value_range**2)


def psnr(
    preds: Tensor,
    target: Tensor,
    *,
    data_range: float | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    r"""Peak signal-to-noise ratio per frame: neither capped nor offset by an epsilon.

    .. math:: \mathrm{PSNR} = 10 \log_{10} \frac{C H W R^2}{\sum_{chw} (\hat x_{chw}-x_{chw})^2}

    A constant offset c (in data ranges) gives :math:`-20 \log_{10} c`; one ``uint8`` level gives
    48.1308 dB.

    Args:
        preds: generated frames ``[..., C, H, W]``, ``uint8`` or floating point.
        target: reference frames, of the same shape, dtype and device.
        data_range: R; ``None`` means 255 for ``uint8`` and 1.0 for floats.
        mask: bool that broadcasts to ``[..., H, W]``; the mean is over the pixels where it is set.
            For the error of what moves, and for both sides at once, see :func:`region_errors`.

    Returns:
        ``[...]`` float64 in dB, higher is better, ``inf`` for identical frames. NaN where a frame
        holds NaN (under the mask, where there is one) and where the mask is set nowhere.

    Raises:
        ValueError: shapes or devices differ, or a frame is empty.
        TypeError: not tensors, dtypes differ or are not supported, or ``mask`` is not bool.
    """
    return -10 * mse(preds, target, data_range=data_range, mask=mask).log10()


def _sum_squared_error(preds: Tensor, target: Tensor) -> Tensor:
    """Sum over channels and pixels, ``[...]`` float64."""
    size = call_frames("frame_errors", preds, target)
    errors = [
        FrameErrors(*frame_errors(*pair).unbind(-1)).squared_error.sum(-1).double()
        for pair in frame_chunks(preds, target, size=size)
    ]
    return join_pieces(errors, preds)
