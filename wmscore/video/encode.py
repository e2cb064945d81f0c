"""Write videos: without loss, or as players like them."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor

from wmscore.extras import require
from wmscore.files import atomic_file
from wmscore.video.resize import resize_frames

__all__ = ["ENCODINGS", "Encoding", "encode_video", "write_video"]


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How to encode.

    Attributes:
        encoder: FFmpeg's name of it.
        pixel_format: what it is given.
        lossy: what comes back is not what was given.
        options: of the encoder.
        suffixes: file names that its streams fit into.
        least: smallest height and width.
    """

    encoder: str
    pixel_format: str
    lossy: bool
    options: dict[str, str] = field(default_factory=dict)
    suffixes: tuple[str, ...] = (".mkv",)
    least: int = 1


_PLAYERS = (".mp4", ".mkv", ".mov")

ENCODINGS: dict[str, Encoding] = {
    # The same bytes every time: one thread and no macroblock tree.
    "h264": Encoding(
        encoder="libx264",
        pixel_format="yuv420p",
        lossy=True,
        options={"crf": "18", "x264-params": "mbtree=0"},
        suffixes=_PLAYERS,
    ),
    "h264rgb": Encoding(
        encoder="libx264rgb",
        pixel_format="rgb24",
        lossy=False,
        options={"crf": "0", "preset": "ultrafast"},
        suffixes=_PLAYERS,
    ),
    "ffv1": Encoding(encoder="ffv1", pixel_format="bgr0", lossy=False),
    "hevc": Encoding(
        encoder="libx265",
        pixel_format="yuv420p",
        lossy=True,
        options={"crf": "22", "x265-params": "log-level=none:pools=1:frame-threads=1"},
        suffixes=_PLAYERS,
        least=64,  # x265 writes outside its memory with pictures smaller than its blocks
    ),
    "vp9": Encoding(
        encoder="libvpx-vp9",
        pixel_format="yuv420p",
        lossy=True,
        options={"crf": "32", "b:v": "0", "cpu-used": "6"},
        suffixes=(".webm", ".mkv", ".mp4"),
    ),
    "av1": Encoding(
        encoder="libsvtav1",
        pixel_format="yuv420p",
        lossy=True,
        options={"crf": "35", "preset": "10", "svtav1-params": "lp=1"},
        suffixes=(".mp4", ".mkv", ".webm"),
        least=4,
    ),
}


def write_video(
    path: str | Path,
    frames: Tensor,
    *,
    fps: float,
    encoding: str = "h264",
    options: dict[str, str] | None = None,
    pad: bool = False,
) -> None:
    """Write `[T, 3, H, W]` uint8 RGB frames to a file, atomically.

    Args:
        path: where to; its suffix says the container.
        frames: what to write.
        fps: frames per second.
        encoding: "ffv1" or "h264rgb" give the same pixels back; "h264", "hevc", "vp9" and "av1" do
            not, and are for people and for comparisons.
        options: of the encoder, over those of `ENCODINGS`.
        pad: repeat the last row or column where the encoding takes even sizes only.

    Raises:
        ImportError: PyAV is not installed.
        TypeError: the frames are not uint8.
        ValueError: another shape, an unknown encoding, a container that does not hold it, an odd
            size where only even ones go, or one that is too small.
    """
    how = _encoding(encoding)
    if Path(path).suffix.lower() not in how.suffixes:
        raise ValueError(
            f"path: expected a suffix of {list(how.suffixes)} for {encoding!r}, got {path}"
        )
    with atomic_file(path) as draft:
        encode_video(str(draft), frames, fps=fps, encoding=encoding, options=options, pad=pad)


def encode_video(
    file: object,
    frames: Tensor,
    *,
    fps: float,
    encoding: str = "h264",
    options: dict[str, str] | None = None,
    pad: bool = False,
    pixel_format: str | None = None,
    container: str | None = None,
    size: tuple[int, int] | None = None,
) -> int:
    """`write_video` to a path or an open binary file, as it is.

    Args:
        file: where to.
        frames: see `write_video`.
        fps: likewise.
        encoding: likewise.
        options: likewise.
        pad: likewise.
        pixel_format: what the encoder is given, instead of its usual one.
        container: FFmpeg's name of the format, where no path says it.
        size: (height, width) that each frame is brought to, instead of its own.

    Returns:
        The size of the video's packets in bytes, without the container.
    """
    av = require("av", "harness")
    how = _encoding(encoding)
    if frames.dtype != torch.uint8:
        raise TypeError(f"frames: expected uint8, got {frames.dtype}")
    if frames.ndim != 4 or frames.shape[1] != 3 or not len(frames):
        raise ValueError(f"frames: expected [T, 3, H, W], got {list(frames.shape)}")
    if not fps > 0:
        raise ValueError(f"fps: expected above 0, got {fps}")
    height, width = size or frames.shape[2:]
    if min(height, width) < how.least:
        raise ValueError(
            f"frames: {encoding!r} takes sizes of at least {how.least}, got {height}x{width}"
        )
    stored = pixel_format or how.pixel_format
    if stored == "yuv420p" and (height % 2 or width % 2) and not pad:
        raise ValueError(
            f"frames: {encoding!r} takes even sizes, got {height}x{width}; "
            "choose 'ffv1' or 'h264rgb', or pad=True"
        )
    even = stored == "yuv420p"
    written = 0
    with av.open(file, "w", format=container) as output:
        rate = Fraction(fps).limit_denominator(1001)
        stream = output.add_stream(how.encoder, rate=rate)
        stream.height, stream.width = height + even * (height % 2), width + even * (width % 2)
        stream.pix_fmt = stored
        stream.thread_count = 1
        stream.options = how.options | (options or {})
        for one in range(len(frames)):
            picture = frames[one : one + 1]
            if size is not None and size != tuple(picture.shape[2:]):
                picture = resize_frames(picture, size)
            if even and (height % 2 or width % 2):
                picture = _even(picture)
            pixels = picture[0].permute(1, 2, 0).contiguous().cpu().numpy()
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            for packet in stream.encode(frame):
                written += packet.size
                output.mux(packet)
        for packet in stream.encode():
            written += packet.size
            output.mux(packet)
    return written


def _encoding(name: str) -> Encoding:
    if name not in ENCODINGS:
        raise ValueError(f"encoding: expected one of {list(ENCODINGS)}, got {name!r}")
    return ENCODINGS[name]


def _even(frames: Tensor) -> Tensor:
    height, width = frames.shape[-2:]
    padded = torch.nn.functional.pad(frames.float(), (0, width % 2, 0, height % 2), "replicate")
    return padded.to(torch.uint8)
