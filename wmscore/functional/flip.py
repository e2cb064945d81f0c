"""FLIP: the colour and exposure specialist among the measures of perceptual drift."""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor

from wmscore.functional._check import check_frames, check_number
from wmscore.functional._chunks import frame_chunks, piece_elements
from wmscore.ops import frame_flip, kernels
from wmscore.ops.frame_flip import MAX_PIXELS_PER_DEGREE, MIN_PIXELS_PER_DEGREE, flip_errors

__all__ = ["FLIP_PIXELS_PER_DEGREE", "check_pixels_per_degree", "flip", "flip_map"]

FLIP_PIXELS_PER_DEGREE = 0.7 * (3840 / 0.7) * pi / 180
"""A display 0.7 m wide with 3840 pixels, seen from 0.7 m: 67.02 pixels per degree."""


def flip(
    preds: Tensor, target: Tensor, *, pixels_per_degree: float = FLIP_PIXELS_PER_DEGREE
) -> Tensor:
    r"""Mean FLIP error per frame: what a viewer sees who flips between the two frames.

    .. math:: \mathrm{FLIP} = \operatorname{mean}_{hw} \Delta E_c^{\,1 - \Delta E_f}

    :math:`\Delta E_c` is the difference of colours after both frames are blurred as the eye does at
    this resolution, :math:`\Delta E_f` that of edges and points. LDR-FLIP of the paper with the
    constants and the borders (repeated) of ``flip-evaluator`` 1.7, from which it differs by about
    1e-6 on photographs and at most 3e-5 on flat frames, where that one rounds to float32.

    It sees a change of exposure or colour, to which SSIM and its kind are blind. It is not
    invariant to anything: a shift of the frame counts wherever it shows.

    Args:
        preds: generated sRGB frames ``[..., 3, H, W]``, ``uint8`` (0..255) or floating point
            (0..1; what lies outside is clamped).
        target: reference frames, of the same shape, dtype and device. FLIP is symmetric.
        pixels_per_degree: pixels per degree of visual angle, 1..200. Frames of another size than
            they are shown at need the value of the display divided by the magnification.

    Returns:
        ``[...]`` float64 in [0, 1], 0 for identical frames, lower is better. NaN where a frame
        holds NaN.

    Raises:
        ValueError: shapes or devices differ, a frame is empty, there are not 3 channels, or
            ``pixels_per_degree`` is not in 1..200.
        TypeError: not tensors, or dtypes differ or are not supported.
        RuntimeError: an argument requires a gradient; FLIP has none here.

    Source:
        Andersson, Nilsson, Akenine-Möller, Oskarsson, Åström and Fairchild, "FLIP: A Difference
        Evaluator for Alternating Images", HPG 2020.
    """
    _check(preds, target, pixels_per_degree)
    frame_bytes = preds.shape[-3:].numel() * preds.element_size()
    if preds.device.type in kernels().ops["frame_flip"]:
        # A kernel has no temporaries to speak of; pieces bound what is gathered for it.
        size = (1 << 22 if preds.device.type == "cpu" else 1 << 26) // frame_bytes
    else:
        size = piece_elements(preds.device) // preds.shape[-3:].numel()
    means = [
        frame_flip(some_preds, some_target, float(pixels_per_degree))
        for some_preds, some_target in frame_chunks(preds, target, size=size)
    ]
    if not means:
        return torch.empty(preds.shape[:-3], dtype=torch.float64, device=preds.device)
    return torch.cat(means).reshape(preds.shape[:-3])


@torch.no_grad()
def flip_map(
    preds: Tensor, target: Tensor, *, pixels_per_degree: float = FLIP_PIXELS_PER_DEGREE
) -> Tensor:
    """FLIP error of each pixel, for pictures: where the frames differ to the eye.

    Plain torch; `flip` is the mean of this map, and much quicker where there is a kernel.

    Args:
        preds: generated sRGB frames ``[..., 3, H, W]``, as for `flip`.
        target: reference frames, of the same shape, dtype and device.
        pixels_per_degree: pixels per degree of visual angle, 1..200.

    Returns:
        ``[..., H, W]`` float32 in [0, 1], 0 where the frames look the same. Without a gradient.

    Raises:
        ValueError, TypeError: as `flip`.
    """
    _check(preds, target, pixels_per_degree)
    size = piece_elements(preds.device) // preds.shape[-3:].numel()
    maps = [
        flip_errors(some_preds, some_target, pixels_per_degree).float()
        for some_preds, some_target in frame_chunks(preds, target, size=size)
    ]
    shape = preds.shape[:-3] + preds.shape[-2:]
    if not maps:
        return torch.empty(shape, dtype=torch.float32, device=preds.device)
    return torch.cat(maps).reshape(shape)


def check_pixels_per_degree(pixels_per_degree: float) -> None:
    """A number for which the filters are defined."""
    check_number(
        "pixels_per_degree",
        pixels_per_degree,
        low=MIN_PIXELS_PER_DEGREE,
        high=MAX_PIXELS_PER_DEGREE,
    )


def _check(preds: Tensor, target: Tensor, pixels_per_degree: float) -> None:
    check_frames(preds=preds, target=target)
    if preds.shape[-3] != 3:
        raise ValueError(
            "preds and target must have 3 channels (sRGB), [..., 3, H, W], "
            f"got {tuple(preds.shape)}: FLIP is not defined for others"
        )
    check_pixels_per_degree(pixels_per_degree)
