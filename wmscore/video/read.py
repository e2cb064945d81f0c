"""Read a video: by PyAV on the CPU, by torchcodec on a GPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from wmscore.video.decode import probe_video, read_with_pyav
from wmscore.video.facts import Video
from wmscore.video.torchcodec import deep_colour, read_with_torchcodec, torchcodec_lack

__all__ = ["read_video"]

Backend = Literal["auto", "pyav", "torchcodec"]


def read_video(
    path: str | Path,
    *,
    start: int = 0,
    frames: int | None = None,
    since: float | None = None,
    until: float | None = None,
    backend: Backend = "auto",
    device: torch.device | str = "cpu",
    threads: int = 0,
) -> Video:
    """Decode a video, or a part of it, to upright RGB frames with their times.

    Sound and transparency are left out. Colours are made by the matrix and the range that the file
    names, and by BT.601 and limited range where it names none, as FFmpeg does; deeper ones are
    brought to 8 bits. No frame is repeated or left out: of a file with a variable frame rate come
    the frames that it has, at its own times (`to_constant_rate` makes them even).

    Args:
        path: a file that FFmpeg can read (mp4, mov, mkv, webm, gif, ...).
        start: the first frame to return, counted from `since`'s where both are given.
        frames: how many; all to the end by default. Fewer are an error.
        since: seconds from the start of the video stream; earlier frames are skipped by seeking.
        until: seconds; the frame that is shown then is the first that is left out.
        backend: "pyav" decodes on the CPU, "torchcodec" on the device; "auto" takes PyAV on the
            CPU, and torchcodec on a GPU where it is installed and gives the same pixels.
        device: where to decode and leave the frames.
        threads: of the decoder; 0 for as many as there are cores.

    Raises:
        ImportError: the backend is not installed or does not load.
        VideoError: no video, or a damaged or truncated one; `readable` says how many frames can be
            read, and `frames=` reads just them.
        ValueError: arguments that make no range.

    Example:
        >>> video = read_video("clip.mp4", frames=61)                     # doctest: +SKIP
        >>> video.frames.shape, video.codec.lossy                         # doctest: +SKIP
        (torch.Size([61, 3, 720, 1280]), True)
    """
    if start < 0 or (frames is not None and frames < 1):
        raise ValueError(f"start, frames: expected at least 0 and 1, got {start} and {frames}")
    if since is not None and until is not None and until <= since:
        raise ValueError(f"until: expected more than since = {since}, got {until}")
    place = torch.device(device)
    if backend == "auto":
        on_gpu = place.type != "cpu" and not torchcodec_lack()
        deep = on_gpu and deep_colour(probe_video(path).codec.pixel_format)
        backend = "torchcodec" if on_gpu and not deep else "pyav"
    if backend == "torchcodec":
        return read_with_torchcodec(
            path,
            start=start,
            frames=frames,
            since=since,
            until=until,
            device=place,
            threads=threads,
        )
    if backend != "pyav":
        raise ValueError(f"backend: expected 'auto', 'pyav' or 'torchcodec', got {backend!r}")
    video = read_with_pyav(
        path, start=start, frames=frames, since=since, until=until, threads=threads
    )
    if place.type == "cpu":
        return video
    return replace(video, frames=video.frames.to(place))
