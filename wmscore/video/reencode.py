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
from wmscore.video.resize import resize_frames

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
    """Encode frames at the size and about the bits per pixel of `codec`, and decode them.

    Clips that are larger than what is scored of them lose less: frames are brought to the clips'
    size before they are encoded, and back.

    Args:
        frames: `[T, 3, H, W]` uint8. Odd sizes of clips are padded for the encoder, cropped after.
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
    size = (codec.height, codec.width)
    if codec.rotation % 180:
        size = size[::-1]
    if min(size) < ENCODINGS[encoding].least:
        encoding = "h264"
    least, most, quality, halving = _QUALITY[encoding]
    pixels = len(frames) * size[0] * size[1]
    tried: dict[int, tuple[float, bytes]] = {}
    over, under = least - 1, most + 1  # qualities known to give too many, and too few bits
    for _ in range(_TRIES):
        tried[quality] = _encoded(frames, size, encoding, quality, codec.pixel_format, fps)
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
    written, data = tried[best]
    return Reencoding(
        frames=_decoded(data, size, (frames.shape[2], frames.shape[3])),
        encoding=encoding,
        quality=best,
        bits_per_pixel=8 * written / pixels,
    )


def _encoded(
    frames: Tensor,
    size: tuple[int, int],
    encoding: str,
    quality: int,
    pixel_format: str,
    fps: float,
) -> tuple[float, bytes]:
    buffer = io.BytesIO()
    written = encode_video(
        buffer,
        frames,
        fps=fps,
        encoding=encoding,
        options={"crf": str(quality)},
        pixel_format="yuv444p" if pixel_format.startswith("yuv444") else "yuv420p",
        pad=True,
        container="matroska",
        size=size,
    )
    return written, buffer.getvalue()


def _decoded(data: bytes, stored: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Frames of the stored size, without what it was padded by, brought to another."""
    av = require("av", "harness")
    frames = []
    with av.open(io.BytesIO(data)) as container:
        for shown in container.decode(video=0):
            frame = torch.from_numpy(shown.to_ndarray(format="rgb24")).permute(2, 0, 1)
            frame = frame[None, :, : stored[0], : stored[1]]
            frames.append(frame.clone() if stored == size else resize_frames(frame, size))
    return torch.cat(frames)
