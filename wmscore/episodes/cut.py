"""From a clip as it was recorded to frames at a panel's rate and size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from wmscore.episodes.episode import EpisodeError, EpisodeTooShortError
from wmscore.episodes.seams import seam_duplicates
from wmscore.video import Video, VideoError, read_video, to_constant_rate
from wmscore.video.resize import resize_frames

__all__ = ["Box", "ClipCut", "cut_clip", "repeated_frames"]

Box = tuple[int, int, int, int]
"""top, left, bottom, right in pixels; the last two are just outside."""

_REPEAT = 0.1  # grey levels on average by which a repeated frame may differ after a lossy codec
_BEFORE = 5.0  # seconds read before the offset, so that what is shown at the offset is known
_AFTER = 2  # frames


@dataclass(frozen=True, kw_only=True)
class ClipCut:
    """What is done to a clip, in this order; nothing by default.

    Attributes:
        fps: the rate of the frames that come out.
        offset: seconds at which frame 0 is shown.
        start_frame: the same as a number of frames, instead of `offset`.
        drop_repeats: the most times that whoever recorded repeated a frame, as a screen recorder
            of 60 Hz does with a game of 24. Repeats are dropped, and what is left counts as being
            at `fps`, whatever the file's times say. A picture that stands still for longer keeps
            one frame of each `drop_repeats + 1`.
        seam_chunk: new frames per chunk of a chunked model: frames that repeat the one before at
            the seams (`wmscore.episodes.seams`) are dropped, and what is left counts as being at
            `fps`.
        resample: bring another or a variable rate to `fps` by time; without it, that is an error.
        crop: (top, left, bottom, right), say without the bars and buttons around the picture.
        size: (height, width) to which it is resized, bilinear with antialiasing.
    """

    fps: float
    offset: float = 0.0
    start_frame: int | None = None
    drop_repeats: int = 0
    seam_chunk: int | None = None
    resample: bool = False
    crop: Box | None = None
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Refuse what makes no cut."""
        if not self.fps > 0 or self.offset < 0 or self.drop_repeats < 0:
            raise ValueError(
                "fps, offset, drop_repeats: expected above 0, at least 0 and at least 0, got "
                f"{self.fps}, {self.offset} and {self.drop_repeats}"
            )
        if self.start_frame is not None and (self.offset or self.start_frame < 0):
            raise ValueError(
                "start_frame: expected a number of frames instead of an offset, got "
                f"{self.start_frame} with an offset of {self.offset} s"
            )
        if self.crop is not None:
            top, left, bottom, right = self.crop
            if not (0 <= top < bottom and 0 <= left < right):
                raise ValueError(
                    f"crop: expected (top, left, bottom, right) in order, got {self.crop}"
                )
        if self.size is not None and min(self.size) < 1:
            raise ValueError(f"size: expected (height, width) of at least 1, got {self.size}")
        if (self.drops and self.resample) or (self.drop_repeats and self.seam_chunk):
            raise ValueError("drop_repeats, seam_chunk, resample: expected one of them, got two")

    @property
    def drops(self) -> bool:
        """Frames are left out, so that the file's times say nothing about the rest."""
        return bool(self.drop_repeats or self.seam_chunk)


def cut_clip(
    path: str | Path, cut: ClipCut, *, start: int = 0, frames: int | None = None, threads: int = 0
) -> Video:
    """Read frames `start .. start + frames - 1` of what a cut makes of a clip.

    Raises:
        VideoError: the clip cannot be read.
        EpisodeTooShortError: it ends before.
        EpisodeError: its rate is not the cut's, or the crop leaves its picture.
    """
    reach = None if frames is None else start + frames
    video = _read(path, cut, reach, threads)
    if cut.drops:
        video = _without_repeats(video, cut)
    elif cut.resample:
        video = _resampled(path, video, cut, reach, threads)
    else:
        video = _from_offset(path, video, cut, reach)
    count = len(video.times)
    if count <= start or (reach is not None and count < reach):
        raise EpisodeTooShortError(
            f"{path}: expected at least {reach or start + 1} frames at {cut.fps:g} fps from "
            f"{_begin(cut)} on, got {count}",
            count,
        )
    stop = count if reach is None else reach
    return _framed(path, video.span(start, stop, cut.fps), cut)


def _read(path: str | Path, cut: ClipCut, reach: int | None, threads: int) -> Video:
    """As little of the clip as the cut needs."""
    if cut.start_frame is not None or cut.drops:
        since = None
    else:
        since = max(cut.offset - _BEFORE, 0.0) or None
    until = None
    if reach is not None and not cut.drops and cut.start_frame is None:
        until = cut.offset + (reach + _AFTER) / cut.fps
    limit = None
    if reach is not None and cut.start_frame is not None and not (cut.drops or cut.resample):
        limit = cut.start_frame + reach
    try:
        return read_video(path, since=since, until=until, frames=limit, threads=threads)
    except VideoError as error:
        if limit is None or error.readable <= (cut.start_frame or 0):
            raise
        # Whole, but too short: what is there can be read. Otherwise this says what is wrong.
        return read_video(path, threads=threads)


def _start(video: Video, cut: ClipCut) -> int:
    """Which of the video's frames is frame 0."""
    if cut.start_frame is not None:
        return cut.start_frame
    return int((video.times - cut.offset).abs().argmin()) if len(video.times) else 0


def _from_offset(path: str | Path, video: Video, cut: ClipCut, reach: int | None) -> Video:
    """Frames one after the other, as they are, if they are at the cut's rate."""
    first = _start(video, cut)
    times = video.times[first:] if reach is None else video.times[first : first + reach]
    if not len(times):
        return video.span(0, 0, cut.fps)
    expected = times[0] + torch.arange(len(times), dtype=torch.float64) / cut.fps
    late = (times - expected).abs()
    if bool((late > 0.25 / cut.fps + 2.5 * video.tick).any()):
        step = int((late > 0.25 / cut.fps + 2.5 * video.tick).int().argmax())
        kind = "a constant" if video.constant_rate else "a variable"
        raise EpisodeError(
            f"{path}: expected {cut.fps:g} frames per second, got {kind} rate of "
            f"{video.measured_fps:.4g} (frame {step} is {float(late[step]):.3g} s off); "
            "resample=True brings it to the rate by time"
        )
    apart = abs(float(times[0]) - cut.offset)
    if cut.start_frame is None and apart > 0.5 / cut.fps + 2.5 * video.tick:
        return video.span(0, 0, cut.fps)  # it ends before the offset
    return video.span(first, first + len(times), cut.fps)


def _resampled(
    path: str | Path, video: Video, cut: ClipCut, reach: int | None, threads: int
) -> Video:
    try:
        return to_constant_rate(video, cut.fps, start=_second(video, cut), frames=reach)
    except VideoError:
        # It ends before, or its last frame before the end of what was read stays for long.
        video = read_video(path, threads=threads)
    try:
        whole = to_constant_rate(video, cut.fps, start=_second(video, cut))
    except VideoError as error:
        raise EpisodeError(f"{path}: {error}") from None
    return whole if reach is None else whole.span(0, min(reach, len(whole.times)), cut.fps)


def _second(video: Video, cut: ClipCut) -> float:
    """When frame 0 is shown."""
    if cut.start_frame is None:
        return cut.offset
    if cut.start_frame < len(video.times):
        return float(video.times[cut.start_frame])
    return float("inf")


def _without_repeats(video: Video, cut: ClipCut) -> Video:
    first = _start(video, cut)
    frames = video.frames[first:]
    if cut.seam_chunk:
        found = seam_duplicates(frames, cut.seam_chunk)
        kept = torch.tensor([t for t in range(len(frames)) if t not in found.frames])
        what = f"at the seams of chunks of {cut.seam_chunk} repeat"
    else:
        kept = (~repeated_frames(frames, cut.drop_repeats)).nonzero()[:, 0]
        what = "repeat"
    times = torch.arange(len(kept), dtype=torch.float64) / cut.fps
    note = (
        f"{len(frames) - len(kept)} of {len(frames)} frames {what} the one before and are dropped"
    )
    return video.select(kept + first, times, cut.fps, note)


def repeated_frames(frames: Tensor, most: int) -> Tensor:
    """`[T]` bool: which frames `[T, 3, H, W]` repeat the one before, at most `most` in a row.

    A frame counts as a repeat up to a mean difference of 0.1 grey levels, which lossy codecs leave.
    """
    repeats = torch.zeros(len(frames), dtype=torch.bool)
    run = 0
    for t in range(1, len(frames)):
        gap = (frames[t].short() - frames[t - 1].short()).abs().float().mean()
        run = run + 1 if float(gap) <= _REPEAT and run < most else 0
        repeats[t] = run > 0
    return repeats


def _framed(path: str | Path, video: Video, cut: ClipCut) -> Video:
    """Crop and resize."""
    frames = video.frames
    notes = []
    if cut.crop is not None:
        top, left, bottom, right = cut.crop
        height, width = frames.shape[-2:]
        if bottom > height or right > width:
            raise EpisodeError(
                f"{path}: expected a picture of at least {bottom}x{right} by the crop "
                f"{list(cut.crop)}, got {height}x{width}"
            )
        frames = frames[..., top:bottom, left:right]
        notes.append(f"cropped to {list(cut.crop)} of {height}x{width}")
    if cut.size is not None and cut.size != tuple(frames.shape[-2:]):
        height, width = frames.shape[-2:]
        frames = resize_frames(frames, cut.size)
        notes.append(
            f"resized from {height}x{width} to {cut.size[0]}x{cut.size[1]}, bilinear with "
            "antialiasing"
        )
    if not notes:
        return video
    return Video(
        frames=frames.contiguous(),
        times=video.times,
        fps=video.fps,
        tick=video.tick,
        codec=video.codec,
        notes=(*video.notes, *notes),
    )


def _begin(cut: ClipCut) -> str:
    return f"{cut.offset:g} s" if cut.start_frame is None else f"frame {cut.start_frame}"
