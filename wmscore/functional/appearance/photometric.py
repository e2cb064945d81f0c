"""Photometric compensation: brightness and contrast of a generated frame, undone per channel."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import avg_pool2d

__all__ = ["Compensation", "compensate"]

_PASSES = 4
_PRIOR = 1.5e-4  # variance (of values in [0, 1]) below which the background says no gain
_GAIN = (0.4, 2.5)


class Compensation(NamedTuple):
    """What :func:`compensate` returns.

    Attributes:
        frames: ``[F, C, H, W]`` float32, the generated frames as the reference would show them.
        gain: ``[F, C]`` float32.
        bias: ``[F, C]`` float32: frames = gain * generated + bias.
        error: ``[F]`` float32, mean squared difference of the background that is left, per channel,
            on means of cells.
    """

    frames: Tensor
    gain: Tensor
    bias: Tensor
    error: Tensor


def compensate(preds: Tensor, target: Tensor, background: Tensor) -> Compensation:
    """Fit ``target = gain * preds + bias`` per frame and channel on the background, robustly.

    Means of cells are compared, so that a pixel of displacement, blur and noise hardly count.
    Weights of cells fall with their error (Cauchy), so that a part of the background that the model
    got wrong has little say. Where the background has no contrast, or the two do not correlate,
    the gain stays 1.

    Args:
        preds: generated frames ``[F, C, H, W]`` float32 in [0, 1].
        target: reference frames of the same shape.
        background: ``[F, H, W]`` float32, weight of each pixel.

    Returns:
        A :class:`Compensation`.
    """
    side = max(1, min(preds.shape[-2:]) // 16)
    weight = _cells(background[:, None], side)  # [F, 1, n]
    weight = weight * (weight > 0.5)
    x, y = _cells(preds, side), _cells(target, side)  # [F, C, n]
    robust = weight
    for _ in range(_PASSES):
        gain, bias = _fit(x, y, robust)
        error = (y - gain * x - bias).square().mean(1, keepdim=True)  # [F, 1, n]
        scale = _mean(error, robust) + 1e-6
        robust = weight / (1 + error / scale)
    left = _mean((y - gain * x - bias).square().mean(1, keepdim=True), robust)[:, 0, 0]
    frames = gain[..., None] * preds + bias[..., None]
    return Compensation(frames, gain[..., 0], bias[..., 0], left)


def _cells(frames: Tensor, side: int) -> Tensor:
    return avg_pool2d(frames, side).flatten(2)


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum(-1, keepdim=True) / weight.sum(-1, keepdim=True).clamp(min=1e-6)


def _fit(x: Tensor, y: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    mean_x, mean_y = _mean(x, weight), _mean(y, weight)
    dx, dy = x - mean_x, y - mean_y
    xx, yy, xy = _mean(dx * dx, weight), _mean(dy * dy, weight), _mean(dx * dy, weight)
    # The geometric mean regression does not shrink with noise; trusted as far as the two correlate.
    slope = ((yy + _PRIOR) / (xx + _PRIOR)).sqrt()
    trust = (xy.clamp(min=0).square() / (xx * yy).clamp(min=1e-12)).clamp(max=1)
    trust = trust * (yy / (yy + _PRIOR))
    gain = (1 + trust * (slope - 1)).clamp(*_GAIN)
    return gain, mean_y - gain * mean_x
