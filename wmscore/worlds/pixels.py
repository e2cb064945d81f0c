"""From what models give as pixels to `uint8` frames, without a silent clamp."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["float_frames", "rounded_frames", "uint8_frames"]


def uint8_frames(
    frames: Tensor, *, low: float = 0.0, high: float = 1.0, clamp: bool = False
) -> Tensor:
    """Floating point frames in `low..high` as uint8 in 0..255, rounded to the nearest level.

    Args:
        frames: `[..., C, H, W]` floating point, or uint8, which is returned as it is.
        low: the value that black has, 0 or -1.
        high: the value that white has.
        clamp: cut off what lies outside, where the published code of a model does so with what its
            decoder gives. NaN is refused all the same.

    Raises:
        TypeError: the frames are neither uint8 nor floating point.
        ValueError: a value is not finite, or outside the range by more than half a level of 255.
    """
    if frames.dtype == torch.uint8:
        return frames
    if not frames.is_floating_point():
        raise TypeError(f"frames: expected uint8 or floating point, got {frames.dtype}")
    scaled = (frames.float() - low) * (255 / (high - low))
    least, most = (float(value) for value in scaled.aminmax())
    finite = torch.tensor([least, most]).isfinite().all()
    if not finite or not (clamp or (least >= -0.5 and most <= 255.5)):
        found = [float(value) for value in frames.aminmax()]
        raise ValueError(
            f"frames: expected finite values in {low:g}..{high:g}, got {found[0]:g}..{found[1]:g}"
        )
    return scaled.round_().clamp_(0, 255).to(torch.uint8)


def rounded_frames(
    frames: Tensor, who: str, *, low: float = 0.0, high: float = 1.0, clamp: bool = False
) -> Tensor:
    """`uint8_frames` of an answer `[B, ...]`, with an error that says who and in which rows.

    Raises:
        TypeError: as `uint8_frames`.
        ValueError: likewise.
    """
    try:
        return uint8_frames(frames, low=low, high=high, clamp=clamp)
    except ValueError as error:
        wrong = [i for i, row in enumerate(frames) if not _fits(row, low, high, clamp)]
        raise ValueError(f"{who}: {error} in rows {wrong} of {len(frames)}") from None


def _fits(frames: Tensor, low: float, high: float, clamp: bool) -> bool:
    try:
        uint8_frames(frames, low=low, high=high, clamp=clamp)
    except ValueError:
        return False
    return True


def float_frames(frames: Tensor, *, low: float = 0.0, high: float = 1.0) -> Tensor:
    """uint8 frames as float32 in `low..high`; floating point frames in [0, 1] likewise."""
    unit = frames.float() / 255 if frames.dtype == torch.uint8 else frames.float()
    return unit if (low, high) == (0.0, 1.0) else unit * (high - low) + low
