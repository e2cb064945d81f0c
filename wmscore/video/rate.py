"""From frames at their own times to a constant rate, by what a viewer saw at each moment."""

from __future__ import annotations

import torch
from torch import Tensor

from wmscore.video.facts import Video, VideoError
from wmscore.video.grain import time_slack

__all__ = ["constant_rate_index", "to_constant_rate"]


def constant_rate_index(
    times: Tensor, fps: float, *, start: float = 0.0, frames: int, tick: float = 0.0
) -> Tensor:
    """Which frame is shown at `start + k / fps` for k = 0..frames-1: the last one not later.

    Args:
        times: `[T]` seconds, increasing, at which each frame appears.
        fps: the constant rate.
        start: seconds, the time of the first one.
        frames: how many.
        tick: seconds, the grain of `times`: a frame that comes later by no more than 1.5 of it, and
            a quarter of the usual time between frames, counts as there.

    Returns:
        `[frames]` int64; -1 where nothing is shown yet.

    Example:
        >>> constant_rate_index(torch.tensor([0.0, 0.1, 0.4]), 10.0, frames=5).tolist()
        [0, 1, 1, 1, 2]
    """
    if fps <= 0 or frames < 1:
        raise ValueError(f"fps, frames: expected above 0 and at least 1, got {fps} and {frames}")
    if times.ndim != 1 or not len(times) or bool((times.diff() <= 0).any()):
        raise ValueError(f"times: expected [T] in increasing order, got {list(times.shape)}")
    slack = time_slack(tick, _usual_gap(times, 1 / fps))
    wanted = start + torch.arange(frames, dtype=torch.float64) / fps
    return torch.searchsorted(times.double() - slack, wanted, right=True) - 1


def to_constant_rate(
    video: Video, fps: float, *, start: float = 0.0, frames: int | None = None
) -> Video:
    """The video as a viewer saw it at a constant rate: frames are held or left out, none is mixed.

    Args:
        video: frames with their times.
        fps: the rate wanted.
        start: seconds, the time of the first frame.
        frames: how many; by default up to the last frame of the video.

    Returns:
        A video with times `0, 1 / fps, ...`, whose last note says how many of its frames are
        shown for longer than once, and how many frames were left out.

    Raises:
        VideoError: the video does not reach so far, or shows nothing yet at `start`.

    Example:
        >>> to_constant_rate(read_video("phone.mp4"), 24.0).notes         # doctest: +SKIP
        ('resampled by time to 24 fps: 12 of 96 frames repeat the one before, 3 are left out',)
    """
    # The last frame stays for as long as the ones before it did.
    stay = _usual_gap(video.times, 1 / (video.fps or fps))
    slack = time_slack(video.tick, stay)
    first, last = float(video.times[0]), float(video.times[-1])
    if start < first - slack:
        raise VideoError(
            f"start: nothing is shown before {first:.3g} s, expected no earlier start, "
            f"got {start:.3g} s"
        )
    reach = max(int((last + slack - start) * fps + 1e-9) + 1, 1)
    most = int((last + stay + slack - start) * fps - 1e-6) + 1
    if start > last + stay or (frames is not None and frames > max(most, reach)):
        raise VideoError(
            f"expected {frames or 1} frames at {fps:g} fps from {start:.3g} s on, but the video "
            f"ends at {last + stay:.3g} s"
        )
    count = reach if frames is None else frames
    index = constant_rate_index(video.times, fps, start=start, frames=count, tick=video.tick)
    times = torch.arange(count, dtype=torch.float64) / fps
    repeats = int((index.diff() == 0).sum())
    lost = int((index.diff() - 1).clamp_min(0).sum())
    note = (
        f"resampled by time to {fps:g} fps: {repeats} of {count} frames repeat the one before, "
        f"{lost} are left out"
    )
    return video.select(index, times, fps, note)


def _usual_gap(times: Tensor, alone: float) -> float:
    """Seconds from a frame to the next one; `alone` where there is but one."""
    return float(times.diff().median()) if len(times) > 1 else alone
