"""What a codec alone does to frames: encode them as strongly as a clip was, and decode again."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from wmscore.extras import require
from wmscore.video.encode import ENCODINGS, encode_video
from wmscore.video.facts import CodecFacts

__all__ = ["Reencoding", "reencode"]

# How strongly each compresses: least and most of its constant quality, where to begin, and by how
# much the size halves.
_QUALITY = {
    "h264": (0, 51, 23, 6),
    "hevc": (0, 51, 26, 6),
    "vp9": (0, 63, 32, 9),
    "av1": (1, 63, 35, 9),
}
_NEAR = math.log2(1.1)
_TRIES = 7


@dataclass(frozen=True, kw_only=True, eq=False)
class Reencoding:
    """Frames after a codec.

    Attributes:
        frames: `[T, 3, H, W]` uint8.
        encoding: of `wmscore.video.ENCODINGS`.
        quality: its constant quality (crf).
        bits_per_pixel: size of its packets by pixels.
    """

    frames: Tensor
    encoding: str
    quality: int
    bits_per_pixel: float


def reencode(frames: Tensor, codec: CodecFacts, *, fps: float) -> Reencoding:
    """Encode frames at about as many bits per pixel as `codec` says, and decode them.

    Args:
        frames: `[T, 3, H, W]` uint8; odd sizes are padded for the encoder and cropped after.
        codec: of the clips to compare with. A codec that cannot be written here, or not at this
            size, is stood for by H.264, which needs fewer bits than older ones and more than newer
            ones.
        fps: frames per second.

    Returns:
        The frames at the constant quality whose size comes closest, up to 10 % where there is one:
        plain pictures need fewer bits at the best quality, and busy ones more at the worst.

    Raises:
        ImportError: PyAV is not installed.
    """
    encoding = codec.codec if codec.codec in _QUALITY else "h264"
    if min(frames.shape[2:]) < ENCODINGS[encoding].least:
        encoding = "h264"
    least, most, quality, halving = _QUALITY[encoding]
    pixels = frames.shape[0] * frames.shape[2] * frames.shape[3]
    tried: dict[int, tuple[float, bytes]] = {}
    over, under = least - 1, most + 1  # qualities known to give too many, and too few bits
    for _ in range(_TRIES):
        tried[quality] = _encoded(frames, encoding, quality, codec.pixel_format, fps)
        bits = 8 * tried[quality][0] / pixels
        off = math.log2(max(bits, 1e-9) / max(codec.bits_per_pixel, 1e-9))
        if off > 0:
            over = quality
        else:
            under = quality
        if abs(off) <= _NEAR or under - over < 2:
            break
        step = round(off * halving) or (1 if off > 0 else -1)
        quality = min(max(quality + step, least), most)
        if not over < quality < under:  # the size does not halve so evenly
            quality = (over + under) // 2
    target = codec.bits_per_pixel * pixels / 8
    best = min(tried, key=lambda q: abs(math.log2(max(tried[q][0], 1) / max(target, 1))))
    size, data = tried[best]
    decoded = _decoded(data)[:, :, : frames.shape[2], : frames.shape[3]]
    return Reencoding(
        frames=decoded.contiguous(),
        encoding=encoding,
        quality=best,
        bits_per_pixel=8 * size / pixels,
    )


def _encoded(
    frames: Tensor, encoding: str, quality: int, pixel_format: str, fps: float
) -> tuple[float, bytes]:
    buffer = io.BytesIO()
    size = encode_video(
        buffer,
        frames,
        fps=fps,
        encoding=encoding,
        options={"crf": str(quality)},
        pixel_format="yuv444p" if pixel_format.startswith("yuv444") else "yuv420p",
        pad=True,
        container="matroska",
    )
    return size, buffer.getvalue()


def _decoded(data: bytes) -> Tensor:
    av = require("av", "harness")
    with av.open(io.BytesIO(data)) as container:
        pictures = [
            torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)
            for frame in container.decode(video=0)
        ]
    return torch.stack(pictures)
