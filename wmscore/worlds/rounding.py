"""What a model decodes as 8-bit frames, with errors that name the model and its rows."""

from __future__ import annotations

from torch import Tensor

from wmscore.worlds.pixels import uint8_frames

__all__ = ["rounded_frames"]


def rounded_frames(
    frames: Tensor, name: str, *, low: float, high: float, clamp: bool = False
) -> Tensor:
    """`uint8_frames` of a model's answer `[B, 3, H, W]`, with an error that names model and rows.

    Raises:
        ValueError: a value is not finite, or out of range where nothing is cut off.
    """
    wrong = [i for i, frame in enumerate(frames) if not _is_fine(frame, low, high, clamp)]
    if wrong:
        least, most = (float(value) for value in frames[wrong].aminmax())
        raise ValueError(
            f"model {name!r}: expected finite values in {low:g}..{high:g}, got {least:g}..{most:g} "
            f"in rows {wrong} of {len(frames)}"
        )
    return uint8_frames(frames, low=low, high=high, clamp=clamp)


def _is_fine(frame: Tensor, low: float, high: float, clamp: bool) -> bool:
    level = (high - low) / 510  # half of one of 255
    inside = clamp or bool(((frame >= low - level) & (frame <= high + level)).all())
    return inside and bool(frame.isfinite().all())
