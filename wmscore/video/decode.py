"""Read a video file by PyAV, whole or in part, and never less than was asked for in silence."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wmscore.extras import require
from wmscore.video.container import (
    Packets,
    check_whole,
    codec_facts,
    ends_early,
    expected_text,
    open_video,
    stream_length,
    video_stream,
)
from wmscore.video.facts import Video, VideoError
from wmscore.video.grain import time_slack
from wmscore.video.pictures import Pictures

__all__ = ["probe_video", "read_with_pyav"]

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
        """What was appended, without much room to spare."""
        frames = self.tensor[: self.count]
        return frames if self.count >= 0.9 * len(self.tensor) else frames.clone()


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
    packets, times = Packets(), list[float]()
    with open_video(av, path) as container:
        stream = video_stream(container, path)
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
        kept = _Buffer(_expected_count(stream, start, frames, since, until))
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
                f"{expected_text(stream)}",
                packets.readable,
            )
        if whole:
            check_whole(path, stream, container, packets, last_end)
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
        facts = codec_facts(container, stream, packets, rotation)
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


def probe_video(path: str | Path) -> Video:
    """The first frame alone, and how the file is stored.

    Raises:
        VideoError: not even that can be read.
    """
    return read_with_pyav(path, frames=1, threads=1)


def _decoded(av: Any, container: Any, stream: Any, packets: Packets) -> Iterator[Any]:
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
            elif not packets.broken and ends_early(stream, container, packets.stored, packets.end):
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


def _expected_count(
    stream: Any, start: int, frames: int | None, since: float | None, until: float | None
) -> int:
    """About how many frames will be kept, and a few more."""
    if frames is not None:
        return frames
    rate = float(stream.average_rate or stream.guessed_rate or 30)
    length = stream_length(stream)
    end = min(e for e in (until, length, math.inf) if e is not None)
    if math.isinf(end):
        return 0
    return max(int((end - (since or 0.0)) * rate) + 2 - start, 0)


def _size(height: int, width: int) -> str:
    return f"{height}x{width}"


def _asked(start: int, since: float | None, until: float | None) -> str:
    if since is not None or until is not None:
        return f" from {since or 0:.3g} s to {'the end' if until is None else f'{until:.3g} s'}"
    return f" from number {start} on" if start else ""
