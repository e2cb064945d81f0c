"""A video of a trace to look at: reference on the left, generated on the right."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor

from wmscore.extras import require
from wmscore.files import atomic_file

__all__ = ["write_video"]


def write_video(path: Path, left: Tensor, right: Tensor, *, fps: float) -> None:
    """Write two `[T+1, 3, H, W]` uint8 videos side by side as an H.264 MP4.

    Lossy, for people only: numbers come from the tensors beside it.
    """
    av = require("av", "harness")
    frames = torch.cat([left, right], dim=3)
    # The encoder takes even sizes only: repeat the last row or column.
    height, width = frames.shape[-2:]
    frames = torch.nn.functional.pad(frames.float(), (0, width % 2, 0, height % 2), "replicate")
    frames = frames.to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu()
    with atomic_file(path) as draft, av.open(str(draft), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        stream.thread_count = 1  # this and mbtree=0: the same bytes every time
        stream.options = {"crf": "12", "x264-params": "mbtree=0"}
        for frame in frames.numpy():
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
