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
    "ends_early",
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
        stored: seconds at which the packets are shown, as they come.
        end: the second at which the last of these is over.
    """

    count: int = 0
    size: int = 0
    first: bytes = b""
    broken: str = ""
    readable: int = 0
    times: list[float] = field(default_factory=list)
    stored: list[float] = field(default_factory=list)
    end: float = 0.0

    def note(self, packet: Any, stream: Any) -> None:
        """Keep when a packet is shown."""
        if packet.pts is not None:
            time = float((packet.pts - (stream.start_time or 0)) * stream.time_base)
            self.stored.append(time)
            self.end = max(self.end, time + float((packet.duration or 0) * stream.time_base))


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
        end = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        return end - float((stream.start_time or 0) * stream.time_base)
    return None


def check_whole(
    path: str | Path, stream: Any, container: Any, packets: Packets, last_end: float
) -> None:
    """Refuse a file that ends before its header says."""
    if ends_early(stream, container, packets.times, last_end):
        raise VideoError(
            f"{path}: ends after {packets.readable} frames, at {last_end:.3g} s"
            f"{expected_text(stream)}",
            packets.readable,
        )
    if container.format.name == "gif" and not Path(path).read_bytes().rstrip(b"\0").endswith(b";"):
        raise VideoError(
            f"{path}: broken after {max(packets.readable - 1, 0)} frames (its end mark is missing)",
            max(packets.readable - 1, 0),
        )


def ends_early(stream: Any, container: Any, times: list[float], end: float) -> bool:
    """The last of the frames shown at `times` is over, at `end`, before the header says."""
    length = stream_length(stream)
    if length is None and container.duration and not container.streams.audio:
        length = container.duration / 1e6
        if "matroska" in container.format.name:  # it says when the last frame ends
            length -= float((stream.start_time or 0) * stream.time_base)
    if length is None or not times:
        return False
    times = sorted(times)
    gap = max((b - a for a, b in itertools.pairwise(times)), default=0.0)
    rate = float(stream.average_rate or stream.guessed_rate or 1)
    # Some files do not say how long their last frame stays.
    spare = 0.6 if end > times[-1] else 1.5
    return end < length - spare * max(gap, 1 / rate)


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
