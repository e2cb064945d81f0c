"""A video of a trace to look at: reference on the left, generated on the right."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from wmscore import video

__all__ = ["write_video"]


def write_video(path: Path, left: Tensor, right: Tensor, *, fps: float) -> None:
    """Write two `[T+1, 3, H, W]` uint8 videos side by side as an H.264 MP4.

    Lossy, for people only: numbers come from the tensors beside it.
    """
    frames = torch.cat([left, right], dim=3)
    video.write_video(path, frames, fps=fps, options={"crf": "12"}, pad=True)
