"""Structural similarity of generated frames to reference frames, at one or several scales."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from wmscore.functional._check import (
    check_choice,
    check_count,
    check_frames,
    check_side,
    data_range_of,
)
from wmscore.functional._chunks import call_frames, frame_chunks, join_pieces, piece_elements
from wmscore.ops import FrameSsim, frame_ssim
from wmscore.ops.frame_ssim import similarity_maps

__all__ = ["MS_SSIM_WEIGHTS", "MultiScaleSsim", "ms_ssim", "ms_ssim_scales", "ssim", "ssim_map"]

Window = Literal["gaussian", "uniform"]

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales, from the finest to the coarsest, as published (sum 1.0001)."""

_WINDOWS = ("gaussian", "uniform")
_SIDES = {"gaussian": 11, "uniform": 7}


class MultiScaleSsim(NamedTuple):
    """What `ms_ssim` returns.

    Attributes:
        values: ``[...]`` float64 in [0, 1], 1 for identical frames, higher is better.
        scales: how many scales the frames had room for.
        name: ``"ms_ssim"`` for the five scales of the paper, ``"ms_ssim_3"`` for three, and so on:
            values under different names are different measures.
    """

    values: Tensor
    scales: int
    name: str


def ssim(
    preds: Tensor,
    target: Tensor,
    *,
    data_range: float | None = None,
    window: Window = "gaussian",
) -> Tensor:
    r"""Structural similarity per frame, over the region where the whole window fits.

    .. math:: \mathrm{SSIM} = \operatorname{mean}_{c,h,w}
        \frac{(2\mu_x\mu_y + C_1)(2\sigma_{xy} + C_2)}
             {(\mu_x^2 + \mu_y^2 + C_1)(\sigma_x^2 + \sigma_y^2 + C_2)},
        \quad C_i = (K_i R)^2

    11 x 11 Gaussian window with sigma 1.5 (or 7 x 7 uniform), population covariance, K = (0.01,
    0.03), per channel and then the mean over channels; no padding, no down-sampling, no grey
    conversion. The Gaussian one is the definition of the paper, of
    ``skimage.metrics.structural_similarity(gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False)`` and of ``piq.ssim(downsample=False)``; the uniform one is
    skimage's default but for its sample covariance.

    Within 1e-6 of float64 arithmetic, also for nearly flat frames, where :math:`E[x^2] - \mu^2` in
    float32 loses 1e-5 to 1e-3. Differentiable for floats: a loss is ``1 - ssim(...).mean()``.

    Args:
        preds: generated frames ``[..., C, H, W]``, ``uint8`` or floating point.
        target: reference frames, of the same shape, dtype and device.
        data_range: R; ``None`` means 255 for ``uint8`` and 1.0 for floats.
        window: ``"gaussian"`` or ``"uniform"``.

    Returns:
        ``[...]`` float64 in [-1, 1], 1 for identical frames, higher is better. NaN where a frame
        holds NaN.

    Raises:
        ValueError: shapes or devices differ, or a side is shorter than the window.
        TypeError: not tensors, or dtypes differ or are not supported.

    Source:
        Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to
        structural similarity", IEEE TIP 2004, section III.C.
    """
    value_range = _check("ssim", preds, target, data_range, window)
    size = call_frames("frame_ssim", preds, target)
    pieces = [
        frame_ssim(x, y, value_range, window == "uniform")[:, :, 0, 0].mean(1)
        for x, y in frame_chunks(preds, target, size=size)
    ]
    return join_pieces(pieces, preds)


def ms_ssim_scales(height: int, width: int, *, window: Window = "gaussian") -> int:
    """How many scales `ms_ssim` takes by default: the window must fit at the coarsest, 5 at most.

    A side is halved and rounded up from scale to scale. With the Gaussian window sides of 161
    pixels and more have 5 scales, of 81 and more 4, of 41 and more 3, of 21 and more 2, of 11 and
    more 1, smaller ones 0.
    """
    check_choice("window", window, _WINDOWS)
    reach = _SIDES[window] - 1
    room = (
        max(0, min(height, width) - 1) // reach
    )  # the coarsest side is ceil(side / 2^(scales - 1))
    return min(len(MS_SSIM_WEIGHTS), room.bit_length())


def ms_ssim(
    preds: Tensor,
    target: Tensor,
    *,
    data_range: float | None = None,
    scales: int | None = None,
    window: Window = "gaussian",
) -> MultiScaleSsim:
    r"""Multi-scale structural similarity per frame.

    .. math:: \mathrm{MS\text{-}SSIM} = \operatorname{mean}_c \mathrm{SSIM}_{c,S}^{w_S}
        \prod_{s<S} \mathrm{CS}_{c,s}^{w_s}

    with the mean contrast-structure of the finer scales and the mean SSIM of the coarsest. A scale
    halves the one before: the mean of 2 x 2 pixels, or of those that exist at an odd edge (the edge
    repeated, as in the authors' code). A mean below 0 (a frame that is the negative of the other)
    counts as 0, for it has no real power; its gradient is 0.

    With the five scales of the paper the weights are `MS_SSIM_WEIGHTS` as published. Frames with a
    side of 160 pixels or less have no room for them, and other libraries refuse those. Here they
    get the S finest scales that fit (`ms_ssim_scales`), with those weights divided by their sum;
    the result says so in its `name`. One scale is SSIM itself, if it is not negative.

    Args:
        preds: generated frames ``[..., C, H, W]``, ``uint8`` or floating point.
        target: reference frames, of the same shape, dtype and device.
        data_range: R; ``None`` means 255 for ``uint8`` and 1.0 for floats.
        scales: S, 1 to 5; ``None`` takes as many as fit.
        window: ``"gaussian"`` or ``"uniform"``.

    Returns:
        `MultiScaleSsim`: values ``[...]`` float64 in [0, 1], 1 for identical frames, higher is
        better, NaN where a frame holds NaN; the number of scales; the name. Differentiable for
        floats.

    Raises:
        ValueError: shapes or devices differ, or a side is too short for the window at `scales`.
        TypeError: not tensors, or dtypes differ or are not supported.

    Source:
        Wang, Simoncelli and Bovik, "Multiscale structural similarity for image quality
        assessment", Asilomar 2003, section 3.
    """
    value_range = _check("ms_ssim", preds, target, data_range, window)
    if scales is None:
        scales = ms_ssim_scales(*preds.shape[-2:], window=window)
    check_count("scales", scales)
    if scales > len(MS_SSIM_WEIGHTS):
        raise ValueError(f"scales must be at most {len(MS_SSIM_WEIGHTS)}, got {scales}")
    least = (_SIDES[window] - 1) * 2 ** (scales - 1) + 1
    check_side(preds, least, f"ms_ssim with {scales} scales")
    size = call_frames("frame_ssim", preds, target)
    pieces = [
        _combine(frame_ssim(x, y, value_range, window == "uniform", scales))
        for x, y in frame_chunks(preds, target, size=size)
    ]
    name = "ms_ssim" if scales == len(MS_SSIM_WEIGHTS) else f"ms_ssim_{scales}"
    return MultiScaleSsim(join_pieces(pieces, preds), scales, name)


def ssim_map(
    preds: Tensor,
    target: Tensor,
    *,
    data_range: float | None = None,
    window: Window = "gaussian",
    stride: int = 1,
) -> Tensor:
    """SSIM at every position of the window, for pictures: the mean of its values is `ssim`.

    Args:
        preds: generated frames ``[..., C, H, W]``, ``uint8`` or floating point.
        target: reference frames, of the same shape, dtype and device.
        data_range: as for `ssim`.
        window: as for `ssim`.
        stride: average blocks of stride x stride positions (or what exists of them at the edge).

    Returns:
        ``[..., ceil((H - w + 1) / stride), ceil((W - w + 1) / stride)]`` float32 in [-1, 1], the
        mean over channels, w the window's side; position (i, j) is centred on pixel
        (i + w // 2, j + w // 2).

    Raises:
        ValueError: as for `ssim`, or stride is below 1.
        TypeError: as for `ssim`.
    """
    value_range = _check("ssim_map", preds, target, data_range, window)
    check_count("stride", stride)
    size = max(1, piece_elements(preds.device) // preds.shape[-3:].numel())
    pieces = []
    for x, y in frame_chunks(preds, target, size=size):
        luminance, structure = similarity_maps(
            x.double(), y.double(), value_range, window == "uniform"
        )
        maps = (luminance * structure).mean(1, keepdim=True)
        maps = avg_pool2d(maps, stride, ceil_mode=True, count_include_pad=False)
        pieces.append(maps[:, 0].float())
    sides = [-(-(side - _SIDES[window] + 1) // stride) for side in preds.shape[-2:]]
    if not pieces:
        return torch.empty(*preds.shape[:-3], *sides, device=preds.device)
    return torch.cat(pieces).view(*preds.shape[:-3], *sides)


def _check(
    what: str, preds: Tensor, target: Tensor, data_range: float | None, window: str
) -> float:
    check_frames(preds=preds, target=target)
    check_choice("window", window, _WINDOWS)
    check_side(preds, _SIDES[window], what)
    return data_range_of(preds.dtype, data_range)


def _combine(sums: Tensor) -> Tensor:
    """`[N, C, S, 3]` to MS-SSIM `[N]`."""
    columns = FrameSsim(*sums.unbind(-1))
    means = torch.cat([columns.contrast_structure[..., :-1], columns.ssim[..., -1:]], -1)
    scales = means.shape[-1]
    weights = means.new_tensor(MS_SSIM_WEIGHTS[:scales])
    if scales < len(MS_SSIM_WEIGHTS):
        weights = weights / weights.sum()
    # Zero has no gradient under a power below 1: it must not become NaN.
    is_lost = means <= 0
    powers = means.masked_fill(is_lost, 1.0) ** weights
    return powers.masked_fill(is_lost, 0.0).prod(-1).mean(-1)
