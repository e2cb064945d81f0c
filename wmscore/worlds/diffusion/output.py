"""From what pipelines return to `[B, F, 3, H, W]` frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["pipeline_frames"]

_FIELDS = ("frames", "video", "videos", "images")


def pipeline_frames(output: Any, rows: int = 1) -> Tensor:
    """The frames of a pipeline's answer, whatever its form.

    Taken are `.frames`, `.video`, `.videos` or `.images` of an output object or a dictionary, the
    first entry of a tuple, or the answer itself; with or without a batch dimension; as a tensor
    (`[B, F, 3, H, W]` or `[B, 3, F, H, W]`), an array (`[B, F, H, W, 3]`) or lists of images.

    Args:
        output: what the pipeline returned.
        rows: how many rows were asked for.

    Returns:
        `[B, F, 3, H, W]`, floating point in [0, 1] as the pipeline gives it, or uint8.

    Raises:
        ValueError: another form, or another number of rows.

    Example:
        >>> pipeline_frames((np.zeros((1, 9, 32, 48, 3)),)).shape
        torch.Size([1, 9, 3, 32, 48])
    """
    frames = _as_tensor(_field(output))
    if frames.ndim == 4:
        frames = frames[None]
    if frames.ndim != 5 or 3 not in frames.shape[1:]:
        raise ValueError(
            "pipeline: expected frames [B, F, 3, H, W], [B, 3, F, H, W] or [B, F, H, W, 3], "
            f"with or without B, got {list(frames.shape)}"
        )
    if frames.shape[2] == 3:
        pass
    elif frames.shape[4] == 3:  # before the frames, of which there may be three
        frames = frames.movedim(4, 2)
    elif frames.shape[1] == 3:
        frames = frames.transpose(1, 2)
    else:
        raise ValueError(f"pipeline: expected 3 colours, got {list(frames.shape)}")
    if len(frames) != rows:
        raise ValueError(f"pipeline: expected {rows} rows, got {len(frames)}")
    return frames


def _field(output: Any) -> Any:
    """The frames within an answer."""
    for name in _FIELDS:
        if isinstance(output, Mapping):
            if name in output:
                return output[name]
        elif hasattr(output, name):
            return getattr(output, name)
    if isinstance(output, tuple) and output:
        return output[0]
    if isinstance(output, Mapping):
        raise ValueError(f"pipeline: expected one of {list(_FIELDS)}, got {list(output)}")
    return output


def _as_tensor(frames: Any) -> Tensor:
    """Tensors, arrays and (lists of lists of) images; colours stay where they are."""
    if isinstance(frames, Tensor):
        return frames
    if isinstance(frames, list | tuple) and frames:
        return torch.stack([_as_tensor(frame) for frame in frames])
    try:
        array = np.array(frames)
    except (TypeError, ValueError):
        array = np.array(None)
    if array.dtype == object or array.ndim < 3:
        raise ValueError(f"pipeline: expected frames, got {type(frames).__name__}")
    return torch.from_numpy(array)
