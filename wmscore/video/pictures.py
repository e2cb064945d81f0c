"""From decoded frames to RGB, colour by colour."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from wmscore.extras import require

__all__ = ["Pictures"]

# Of these FFmpeg makes the same numbers as planes and as pixels, and planes faster, in widths that
# its vector code takes without a rest.
_PLANAR = frozenset(
    ("yuv420p", "yuvj420p", "yuv422p", "yuv444p", "yuvj444p", "gbrp", "bgr0", "rgb0", "bgra")
)


class Pictures:
    """Writes decoded frames into tensors `[3, H, W]` uint8, RGB.

    The matrix and the range of the colours are those that the file names, and BT.601 and limited
    where it names none, as FFmpeg does. Deeper colours are brought to 8 bits. Transparency is left
    out: colours are what they are without it.
    """

    def __init__(self) -> None:
        """Set up nothing yet; the converter is kept from frame to frame."""
        module = require("av.video.reformatter", "harness")
        self._converter = module.VideoReformatter()

    def write(self, frame: Any, out: Tensor) -> None:
        """Convert a frame into `out`, which has its size."""
        planar = frame.format.name in _PLANAR and frame.width % 16 == 0
        found = self._converter.reformat(frame, format="gbrp" if planar else "rgb24")
        height, width = frame.height, frame.width
        if planar:
            for colour, plane in enumerate((found.planes[2], found.planes[0], found.planes[1])):
                rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
                out[colour] = torch.from_numpy(rows[:height, :width])
            return
        plane = found.planes[0]
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        pixels = torch.from_numpy(rows[:height, : 3 * width]).view(height, width, 3)
        out.copy_(pixels.permute(2, 0, 1))
