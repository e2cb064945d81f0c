"""Read a video file by PyAV, whole or in part, and never less than was asked for in silence."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wmscore.extras import require
from wmscore.video.facts import CodecFacts, Video, VideoError, is_lossy
from wmscore.video.grain import time_slack
from wmscore.video.pictures import Pictures

__all__ = ["packet_times", "probe_video", "read_with_pyav", "stored_facts"]

_MOST_AHEAD = 512  # a header may promise any number of frames
_BACK = (0.0, 10.0, None)  # seconds before the wanted time from which to decode, in turn; all


class _Buffer:
    """Frames one after the other in one tensor, which grows where their number is not known."""

    def __init__(self, expected: int) -> None:
        self.expected, self.count = max(expected, 1), 0
        self.tensor = torch.empty(0)
        self.pictures = Pictures()

    def __len__(self) -> int:
        return self.count

    def append(self, frame: Any) -> None:
        if not self.count:
            shape = (min(self.expected, _MOST_AHEAD), 3, frame.height, frame.width)
            self.tensor = torch.empty(shape, dtype=torch.uint8)
        elif self.count == len(self.tensor):
            more = torch.empty_like(self.tensor)
            self.tensor = torch.cat([self.tensor, more])
        self.pictures.write(frame, self.tensor[self.count])
        self.count += 1

    def taken(self) -> Tensor:
        """What was appended, without room to spare."""
        frames = self.tensor[: self.count]
        return frames if self.count == len(self.tensor) else frames.clone()


@dataclass
class _Packets:
    """What went through the decoder."""

    count: int = 0
    size: int = 0
    first: bytes = b""
    broken: str = ""
    readable: int = 0
    times: list[float] = field(default_factory=list)
    stored: list[float] = field(default_factory=list)  # times of packets, as they come
    end: float = 0.0

    def note(self, packet: Any, stream: Any) -> None:
        """Keep when a packet is shown."""
        if packet.pts is None:
            return
        time = float((packet.pts - (stream.start_time or 0)) * stream.time_base)
        self.stored.append(time)
        self.end = max(self.end, time + float((packet.duration or 0) * stream.time_base))


def read_with_pyav(
    path: str | Path,
    *,
    start: int = 0,
    frames: int | None = None,
    since: float | None = None,
    until: float | None = None,
    threads: int = 0,
) -> Video:
    """See `read_video`; on the CPU."""
    for back in _BACK:
        video = _read(path, start, frames, since, until, threads, back)
        if video is not None:
            break
    assert video is not None
    return video


def _read(
    path: str | Path,
    start: int,
    frames: int | None,
    since: float | None,
    until: float | None,
    threads: int,
    back: float | None,
) -> Video | None:
    """Decode from `back` seconds before `since`; None where seeking came out after it.

    So it does where the first frames at a key frame need those before it (open groups of pictures),
    or where a file has no index.
    """
    av = require("av", "harness")
    packets, times = _Packets(), list[float]()
    with _open(av, path) as container:
        stream = _video_stream(container, path)
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
        kept = _Buffer(frames or max(stream.frames - start, 0) if until is None else 0)
        rotation, last_end = 0, 0.0
        zero = float((stream.start_time or 0) * stream.time_base)
        sought = since is not None and back is not None and since > back
        if since is not None and back is not None and sought:
            container.seek(int((since - back + zero) / stream.time_base), stream=stream)
        # Frames are at or after `since` where rounding to the grain of the file says so.
        gap = 1 / float(stream.average_rate or stream.guessed_rate or 30)
        grain = time_slack(float(stream.time_base), gap)
        whole, seen, passed = True, 0, 0
        for frame in _decoded(av, container, stream, packets):
            if frame.pts is None:
                raise VideoError(
                    f"{path}: frame {seen} has no time; expected times", packets.readable
                )
            time = float(frame.pts * stream.time_base) - zero
            if since is not None and sought and not packets.times and time > since + grain:
                return None
            if (
                packets.broken
                and packets.times
                and time > max(packets.times[-1] + gap, last_end) + gap / 2
            ):
                break  # the decoder gives later frames too, whose neighbours are lost
            last_end = time + float((frame.duration or 0) * stream.time_base)
            packets.times.append(time)
            if until is not None and time >= until - grain:
                whole = False
                break
            seen += 1
            packets.readable = seen
            if since is not None and time < since - grain:
                continue
            passed += 1
            if passed <= start:
                continue
            if rotation != frame.rotation % 360 and kept:
                raise VideoError(f"{path}: turns its picture at frame {seen - 1}", seen - 1)
            rotation = frame.rotation % 360
            if kept and (frame.height, frame.width) != tuple(kept.tensor.shape[2:]):
                raise VideoError(
                    f"{path}: expected frames of {_size(*kept.tensor.shape[2:])}, got "
                    f"{_size(frame.height, frame.width)} from frame {seen - 1} on",
                    seen - 1,
                )
            kept.append(frame)
            times.append(time)
            if frames is not None and len(kept) == frames:
                whole = False
                break
        if sought and not packets.times:
            return None
        if packets.broken and whole:
            raise VideoError(
                f"{path}: broken after {packets.readable} frames ({packets.broken})"
                f"{_expected(stream)}",
                packets.readable,
            )
        if whole:
            _check_whole(path, stream, container, packets, last_end)
        if frames is not None and len(kept) < frames:
            raise VideoError(
                f"{path}: expected at least {start + frames} frames{_asked(0, since, until)}, "
                f"got {passed}",
                seen,
            )
        if not kept:
            raise VideoError(
                f"{path}: expected at least one frame{_asked(start, since, until)}", seen
            )
        facts = _facts(container, stream, packets, rotation)
        fps, tick = facts.fps, float(stream.time_base)
    pixels = kept.taken()
    if rotation:
        pixels = torch.rot90(pixels, rotation // 90, dims=(2, 3)).contiguous()
    return Video(
        frames=pixels,
        times=torch.tensor(times, dtype=torch.float64),
        fps=fps,
        tick=tick,
        codec=facts,
    )


def packet_times(path: str | Path) -> tuple[Tensor, CodecFacts]:
    """Seconds of all frames from the start of the video stream, without decoding them.

    Raises:
        VideoError: the file ends before its header says.
    """
    av = require("av", "harness")
    packets = _Packets()
    with _open(av, path) as container:
        stream = _video_stream(container, path)
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
                        f"{path}: broken after {packets.readable} frames{_expected(stream)}",
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
                f"{_expected(stream)}",
                packets.readable,
            ) from None
        packets.times.sort()
        _check_whole(path, stream, container, packets, last_end)
        if not packets.times:
            raise VideoError(f"{path}: expected at least one frame, got none")
        facts = _facts(container, stream, packets, 0)
    return torch.tensor(packets.times, dtype=torch.float64), facts


def stored_facts(path: str | Path) -> CodecFacts:
    """How a file is stored, over its whole length, without decoding it.

    Raises:
        VideoError: the file cannot be read, or ends before its header says.
    """
    return packet_times(path)[1]


def probe_video(path: str | Path) -> Video:
    """The first frame alone, and how the file is stored.

    Raises:
        VideoError: not even that can be read.
    """
    return read_with_pyav(path, frames=1, threads=1)


def _open(av: Any, path: str | Path) -> Any:
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


def _video_stream(container: Any, path: str | Path) -> Any:
    # A cover picture is a video stream too, of one frame.
    streams = [s for s in container.streams.video if not _is_cover(s)]
    if not streams:
        raise VideoError(f"{path}: expected a video stream, there is none")
    if streams[0].codec_context is None:
        raise VideoError(f"{path}: no decoder for its codec here")
    return streams[0]


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition.value & 0x400)  # AV_DISPOSITION_ATTACHED_PIC


def _decoded(av: Any, container: Any, stream: Any, packets: _Packets) -> Iterator[Any]:
    """Frames in the order of showing; ends, and says so, where the file is broken."""
    try:
        for packet in container.demux(stream):
            if packet.is_corrupt:
                packets.broken = "a packet is cut off"
                break
            if packet.size:
                packets.first = packets.first or bytes(packet)
                packets.count += 1
                packets.size += packet.size
                packets.note(packet, stream)
            elif not packets.broken and _ends_early(stream, container, packets.stored, packets.end):
                packets.broken = "it ends early"
            for frame in packet.decode():
                if frame.is_corrupt:
                    packets.broken = "a frame is damaged"
                    return
                yield frame
    except av.FFmpegError as error:
        packets.broken = error.strerror
        return
    if packets.broken:  # what is whole and still in the decoder
        with contextlib.suppress(av.FFmpegError):
            for frame in stream.codec_context.decode(None):
                if frame.is_corrupt:
                    return
                yield frame


def _expected(stream: Any) -> str:
    if stream.frames:
        return f"; expected {stream.frames} frames by its header"
    length = _length(stream)
    return "" if length is None else f"; expected {length:.3g} s by its header"


def _length(stream: Any) -> float | None:
    """Seconds of the video stream by the header, or None where it does not say."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    if text := stream.metadata.get("DURATION"):  # Matroska: 00:00:01.250000000
        hours, minutes, seconds = text.split(":")
        end = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        return end - float((stream.start_time or 0) * stream.time_base)
    return None


def _check_whole(
    path: str | Path, stream: Any, container: Any, packets: _Packets, last_end: float
) -> None:
    """Refuse a file that ends before its header says."""
    if _ends_early(stream, container, packets.times, last_end):
        raise VideoError(
            f"{path}: ends after {packets.readable} frames, at {last_end:.3g} s{_expected(stream)}",
            packets.readable,
        )
    if container.format.name == "gif" and not Path(path).read_bytes().rstrip(b"\0").endswith(b";"):
        raise VideoError(
            f"{path}: broken after {max(packets.readable - 1, 0)} frames (its end mark is missing)",
            max(packets.readable - 1, 0),
        )


def _ends_early(stream: Any, container: Any, times: list[float], end: float) -> bool:
    """The last of the frames shown at `times` is over before the header says."""
    length = _length(stream)
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


def _facts(container: Any, stream: Any, packets: _Packets, rotation: int) -> CodecFacts:
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


def _size(height: int, width: int) -> str:
    return f"{height}x{width}"


def _asked(start: int, since: float | None, until: float | None) -> str:
    if since is not None or until is not None:
        return f" from {since or 0:.3g} s to {'the end' if until is None else f'{until:.3g} s'}"
    return f" from number {start} on" if start else ""
