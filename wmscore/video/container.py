"""What a video file's container says, without decoding: its stream, times, length and codec."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wmscore.extras import require
from wmscore.video.facts import CodecFacts, VideoError, is_lossy

__all__ = [
    "Packets",
    "check_whole",
    "codec_facts",
    "expected_text",
    "open_video",
    "packet_times",
    "stored_facts",
    "stream_length",
    "video_stream",
]


@dataclass
class Packets:
    """What was read of a stream.

    Attributes:
        count: packets.
        size: their bytes.
        first: the first one, in which encoders may leave their settings.
        broken: what is wrong with the rest, or nothing.
        readable: frames that were decoded.
        times: seconds of the frames.
    """

    count: int = 0
    size: int = 0
    first: bytes = b""
    broken: str = ""
    readable: int = 0
    times: list[float] = field(default_factory=list)


def packet_times(path: str | Path) -> tuple[Tensor, CodecFacts]:
    """Seconds of all frames from the start of the video stream, without decoding them.

    Raises:
        VideoError: the file ends before its header says.
    """
    av = require("av", "harness")
    packets = Packets()
    with open_video(av, path) as container:
        stream = video_stream(container, path)
        zero = float((stream.start_time or 0) * stream.time_base)
        last_end = 0.0
        try:
            for packet in container.demux(stream):
                if not packet.size:
                    continue
                packets.first = packets.first or bytes(packet)
                packets.count += 1
                packets.size += packet.size
                if packet.is_discard:
                    continue
                if packet.pts is None or packet.is_corrupt:
                    raise VideoError(
                        f"{path}: broken after {packets.readable} frames{expected_text(stream)}",
                        packets.readable,
                    )
                time = float(packet.pts * stream.time_base) - zero
                packets.times.append(time)
                packets.readable += 1
                length = float((packet.duration or 0) * stream.time_base)
                last_end = max(last_end, time + length)
        except av.FFmpegError as error:
            raise VideoError(
                f"{path}: broken after {packets.readable} frames ({error.strerror})"
                f"{expected_text(stream)}",
                packets.readable,
            ) from None
        packets.times.sort()
        check_whole(path, stream, container, packets, last_end)
        if not packets.times:
            raise VideoError(f"{path}: expected at least one frame, got none")
        facts = codec_facts(container, stream, packets, 0)
    return torch.tensor(packets.times, dtype=torch.float64), facts


def stored_facts(path: str | Path) -> CodecFacts:
    """How a file is stored, over its whole length, without decoding it.

    Raises:
        VideoError: the file cannot be read, or ends before its header says.
    """
    return packet_times(path)[1]


def open_video(av: Any, path: str | Path) -> Any:
    """PyAV's container of a file, or an error that says what is wrong with it."""
    if not Path(path).is_file():
        raise VideoError(f"{path}: expected a video file, there is none")
    try:
        return av.open(str(path), metadata_errors="replace")
    except av.FFmpegError as error:
        size = Path(path).stat().st_size
        raise VideoError(
            f"{path}: cannot be opened as a video ({error.strerror}); it may be cut off or of "
            f"another kind, at {size} bytes"
        ) from None


def video_stream(container: Any, path: str | Path) -> Any:
    """The first stream of moving pictures."""
    # A cover picture is a video stream too, of one frame.
    streams = [s for s in container.streams.video if not _is_cover(s)]
    if not streams:
        raise VideoError(f"{path}: expected a video stream, there is none")
    if streams[0].codec_context is None:
        raise VideoError(f"{path}: no decoder for its codec here")
    return streams[0]


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition.value & 0x400)  # AV_DISPOSITION_ATTACHED_PIC


def expected_text(stream: Any) -> str:
    """What the header promises, for errors."""
    if stream.frames:
        return f"; expected {stream.frames} frames by its header"
    length = stream_length(stream)
    return "" if length is None else f"; expected {length:.3g} s by its header"


def stream_length(stream: Any) -> float | None:
    """Seconds of the video stream by the header, or None where it does not say."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    if text := stream.metadata.get("DURATION"):  # Matroska: 00:00:01.250000000
        hours, minutes, seconds = text.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    return None


def check_whole(
    path: str | Path, stream: Any, container: Any, packets: Packets, last_end: float
) -> None:
    """Refuse a file that ends before its header says."""
    length = stream_length(stream)
    if length is None and container.duration and not container.streams.audio:
        length = container.duration / 1e6
    if length is None or not packets.times:
        return
    times = packets.times
    gap = max((b - a for a, b in itertools.pairwise(times)), default=0.0)
    rate = float(stream.average_rate or stream.guessed_rate or 1)
    if last_end < length - 1.5 * max(gap, 1 / rate):
        raise VideoError(
            f"{path}: ends after {packets.readable} frames, at {last_end:.3g} s"
            f"{expected_text(stream)}",
            packets.readable,
        )


def codec_facts(container: Any, stream: Any, packets: Packets, rotation: int) -> CodecFacts:
    """How a stream is stored, by the header and the packets that were read."""
    context = stream.codec_context
    pixels = packets.count * context.width * context.height
    rate = stream.average_rate or stream.guessed_rate
    return CodecFacts(
        container=container.format.name,
        codec=context.codec.canonical_name,
        pixel_format=context.pix_fmt or "unknown",
        width=context.width,
        height=context.height,
        fps=float(rate) if rate else 0.0,
        bits_per_pixel=8 * packets.size / pixels,
        lossy=is_lossy(context.codec.canonical_name, context.pix_fmt or "", packets.first),
        rotation=rotation,
        audio=bool(container.streams.audio),
    )
