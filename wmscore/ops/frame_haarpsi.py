"""The two sums that HaarPSI is made of, straight from the frames."""

from __future__ import annotations

from math import exp
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from wmscore.ops._check import check_frame_pair
from wmscore.ops._library import op

__all__ = ["HAARPSI_ALPHA", "FrameHaarpsi", "frame_haarpsi"]

HAARPSI_ALPHA = 4.2
"""Steepness of the sigmoid, as the authors fitted it."""

_C = 30.0
_YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))
_BEFORE, _AFTER = 3, 4  # what the largest window, 8 x 8, reaches before and after its pixel


class FrameHaarpsi(NamedTuple):
    """The columns of `frame_haarpsi`: `FrameHaarpsi(*frame_haarpsi(p, t, True).unbind(-1))`."""

    weight: Tensor
    loss: Tensor


def _check(preds: Tensor, target: Tensor, subsample: bool) -> None:
    check_frame_pair(preds, target)
    if preds.shape[1] not in (1, 3):
        raise ValueError(
            f"preds and target must have 1 channel (luma) or 3 (RGB), got {preds.shape[1]}"
        )
    if 0 in preds.shape[2:]:
        raise ValueError(
            "preds and target must have at least one pixel, "
            f"got {preds.shape[2]} x {preds.shape[3]}"
        )


@op(_check)
def frame_haarpsi(preds: Tensor, target: Tensor, subsample: bool) -> Tensor:
    """Sum the weights of HaarPSI and the weighted losses of its local similarities.

    Frames are taken in levels 0..255 and, if they have three channels, as YIQ. With `subsample`
    each plane is first reduced to the means of its blocks of 2 x 2 pixels. Everything outside a
    frame is 0, as in the authors' code: an odd last row or column is averaged with zeros, and the
    borders respond unless they are black.

    At each pixel, with `Vₛ` and `Hₛ` the Haar responses (the difference of the halves of a window
    of 2ˢ x 2ˢ pixels, divided by 2ˢ) and `S(a, b) = (2 |a b| + C) / (a² + b² + C)`, C = 30:
    the local similarity of the orientation V is the mean of `S` of `V₁` and of `V₂`, its weight
    `max(|V₃(preds)|, |V₃(target)|)`, and likewise H. The local similarity of chroma is the mean of
    `S` of the 2 x 2 means of I and of Q, its weight the mean of the weights of V and H.

    The score is `logit(Σ w σ(αs) / Σ w)² / α²`, α = 4.2, and `Σ w σ(αs) / Σ w` is
    `σ(α) - loss / weight`.

    Args:
        preds: frames `[N, C, H, W]`, uint8 in 0..255 or floating in 0..1, any strides; 1 channel
            (luma) or 3 (RGB).
        target: frames of the same shape, dtype and device.
        subsample: reduce the frames by 2 x 2 first, as the authors always do.

    Returns:
        `[N, 2]` float64, the columns of `FrameHaarpsi`: `weight = Σ w` in levels, 0 only where both
        frames have no luma at all (which for frames in range means black), and
        `loss = Σ w (σ(α) - σ(αs))`, 0 for equal frames. Kernels compute in float32 and sum in
        float64: the weight is within 1e-6 of the float64 function relatively, the loss within 1e-6
        of itself plus 1e-9 of the weight, and the score within 1e-6. A NaN or infinite value makes
        the loss NaN. It has no gradient.

    Raises:
        TypeError: not tensors, or not of one supported dtype.
        ValueError: shapes or devices differ, the shape is not `[N, C, H, W]`, C is neither 1 nor 3,
            or a frame is empty.
        RuntimeError: an argument requires a gradient.

    Source:
        Reisenhofer, Bosse, Kutyniok and Wiegand, "A Haar wavelet-based perceptual similarity index
        for image quality assessment", Signal Processing: Image Communication 61, 2018, section 3,
        and the authors' code.

    Example:
        >>> black = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
        >>> frame_haarpsi(black, black, False)
        tensor([[0., 0.]], dtype=torch.float64)
    """
    planes = [_planes(frames, subsample) for frames in (preds, target)]
    luma = [_haar(plane[:, 0]) for plane in planes]  # of each frame: scale -> (V, H)
    weights, losses = [], []
    for orientation in (0, 1):
        fine, middle, coarse = ([haar[scale][orientation] for haar in luma] for scale in range(3))
        weights.append(torch.maximum(*(response.abs() for response in coarse)))
        losses.append(_loss(_dissimilarity(*fine), _dissimilarity(*middle)))
    if preds.shape[1] == 3:
        i, q = ([_blocks(pad(plane[:, k], (0, 1, 0, 1))) / 4 for plane in planes] for k in (1, 2))
        weights.append((weights[0] + weights[1]) / 2)
        losses.append(_loss(_dissimilarity(*i), _dissimilarity(*q)))
    weight, loss = torch.stack(weights, 1), torch.stack(losses, 1)  # [N, 2 or 3, H, W]
    return torch.stack([weight.sum((1, 2, 3)), (weight * loss).sum((1, 2, 3))], -1)


def _planes(frames: Tensor, subsample: bool) -> Tensor:
    """YIQ or luma in levels, `[N, C, H, W]` float64, H and W halved (rounded up) if subsampled."""
    levels = frames.double() if frames.dtype == torch.uint8 else frames.double() * 255
    if frames.shape[1] == 3:
        red, green, blue = levels.unbind(1)
        levels = torch.stack([r * red + g * green + b * blue for r, g, b in _YIQ], 1)
    if subsample:
        even = pad(levels, (0, frames.shape[3] % 2, 0, frames.shape[2] % 2))
        rows = even[:, :, ::2] + even[:, :, 1::2]
        levels = (rows[..., ::2] + rows[..., 1::2]) / 4
    return levels


def _haar(plane: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Of each scale 1, 2, 3 the responses (V, H) of `[N, H, W]`, up to their sign."""
    height, width = plane.shape[1:]
    boxes = pad(plane, (_BEFORE, _AFTER, _BEFORE, _AFTER))  # sums over windows of side x side
    responses = []
    for side in (1, 2, 4):
        # The quarters of a window of 2 side x 2 side, which reaches side - 1 before its pixel.
        first, second = _BEFORE + 1 - side, _BEFORE + 1
        top, bottom = (boxes[:, start : start + height] for start in (first, second))
        top_left, top_right, bottom_left, bottom_right = (
            half[..., start : start + width] for half in (top, bottom) for start in (first, second)
        )
        vertical = (bottom_left + bottom_right) - (top_left + top_right)
        horizontal = (top_right + bottom_right) - (top_left + bottom_left)
        responses.append((vertical / (2 * side), horizontal / (2 * side)))
        boxes = _blocks(boxes, side)
    return responses


def _blocks(plane: Tensor, side: int = 1) -> Tensor:
    """Sums of four elements `side` apart, `[N, H, W]` to `[N, H - side, W - side]`."""
    rows = plane[:, :-side] + plane[:, side:]
    return rows[..., :-side] + rows[..., side:]


def _dissimilarity(a: Tensor, b: Tensor) -> Tensor:
    """Compute `1 - S(a, b)`, in 0..1, without cancellation: exactly 0 for a = ±b."""
    return (a.abs() - b.abs()) ** 2 / (a * a + b * b + _C)


def _loss(first: Tensor, second: Tensor) -> Tensor:
    """Compute `σ(α) - σ(αs)` of `s = 1 - (first + second) / 2`, exactly 0 for s = 1."""
    distance = HAARPSI_ALPHA * (first + second) / 2
    return torch.expm1(distance) / (
        (1 + exp(HAARPSI_ALPHA)) * (1 + torch.exp(distance - HAARPSI_ALPHA))
    )
