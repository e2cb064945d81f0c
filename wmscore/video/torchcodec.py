"""Read a video by torchcodec, which decodes on a GPU too."""

from __future__ import annotations

from pathlib import Path

import torch

from wmscore.video.container import packet_times
from wmscore.video.decode import probe_video
from wmscore.video.facts import Video, VideoError
from wmscore.video.grain import time_slack

__all__ = ["deep_colour", "read_with_torchcodec", "torchcodec_lack"]


def torchcodec_lack() -> str:
    """Why torchcodec cannot be used here, or nothing.

    It is a package without FFmpeg of its own: installed beside none that fits, it does not load.
    """
    try:
        from torchcodec.decoders import VideoDecoder  # noqa: F401
    except ImportError as error:
        return f"torchcodec is not installed ({error}): pip install torchcodec"
    except (RuntimeError, OSError) as error:
        return f"torchcodec does not load; it needs FFmpeg's shared libraries ({_line(error)})"
    return ""


def read_with_torchcodec(
    path: str | Path,
    *,
    start: int = 0,
    frames: int | None = None,
    since: float | None = None,
    until: float | None = None,
    device: torch.device | str = "cpu",
    threads: int = 0,
) -> Video:
    """See `read_video`. What the file is, its times and whether it is whole, PyAV says.

    Raises:
        ValueError: colours of more than 8 bits, which torchcodec rounds in another way than PyAV.
    """
    if lack := torchcodec_lack():
        raise ImportError(lack)
    from torchcodec.decoders import VideoDecoder

    head = probe_video(path)
    if deep_colour(head.codec.pixel_format):
        raise ValueError(
            f"{path}: backend 'torchcodec' would give other pixels than 'pyav' for colours of more "
            f"than 8 bits ({head.codec.pixel_format}); use 'pyav'"
        )
    shown, codec = packet_times(path)
    grain = time_slack(head.tick, 1 / (head.fps or 30))
    chosen = torch.ones(len(shown), dtype=torch.bool)
    if since is not None:
        chosen &= shown >= since - grain
    if until is not None:
        chosen &= shown < until - grain
    index = chosen.nonzero()[:, 0][start:]
    if not len(index) or (frames is not None and len(index) < frames):
        raise VideoError(
            f"{path}: expected at least {start + (frames or 1)} frames, got {len(index) + start}",
            len(shown),
        )
    index = index[:frames]
    first, last = int(index[0]), int(index[-1])
    try:
        decoder = VideoDecoder(
            str(path),
            device=str(device),
            dimension_order="NCHW",
            num_ffmpeg_threads=threads,
            seek_mode="exact",
        )
        found = decoder.get_frames_in_range(first, last + 1)
    except (RuntimeError, IndexError) as error:
        raise VideoError(f"{path}: broken ({_line(error)})") from None
    gap = (found.pts_seconds.cpu() - found.pts_seconds[0].cpu()) - (shown[index] - shown[first])
    if bool((gap.abs() > grain).any()):
        raise VideoError(f"{path}: torchcodec gives other frames than the file's times say", first)
    return Video(frames=found.data, times=shown[index], fps=head.fps, tick=head.tick, codec=codec)


def deep_colour(pixel_format: str) -> bool:
    """More than 8 bits for each colour."""
    return any(depth in pixel_format for depth in ("9", "10", "12", "14", "16", "48", "64", "f32"))


def _line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
