"""Frames that are there twice where chunks of a generated video were put together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["SeamDuplicates", "drop_frames", "seam_duplicates"]


@dataclass(frozen=True)
class SeamDuplicates:
    """What was found at the seams of one video.

    Attributes:
        frames: indices of frames that repeat the one before them, at seams.
        elsewhere: indices of such frames that are at no seam: repeats of another origin.
        seams: indices at which a repeat was looked for.
        usual: median mean absolute difference between neighbouring frames away from seams, in
            levels of 255.
        still: nothing moves away from the seams either, so that no repeat can be told.
    """

    frames: tuple[int, ...]
    elsewhere: tuple[int, ...]
    seams: tuple[int, ...]
    usual: float
    still: bool


def seam_duplicates(
    frames: Tensor, chunk: int, *, ratio: float = 0.5, tolerance: float = 0.0
) -> SeamDuplicates:
    """Find frames that are shown twice where chunks of `chunk` new frames meet.

    A model that goes on from its own last frame shows that frame again, as its autoencoder
    rebuilds it, at the beginning of the next chunk. Tools that put chunks together without
    dropping it (or that drop the chunk's last frame instead, as the example of Cosmos Predict 2
    does) leave a repeat: everything after it comes one frame late. It is looked for at both places
    where such tools leave it: after every `chunk + 1` frames (chunks put together whole), and after
    `chunk * k + 1` frames (later chunks without their last frame).

    A frame repeats the one before it if their mean absolute difference is at most `tolerance`, or
    at most `ratio` times the median of the steps away from seams.

    Args:
        frames: `[T, C, H, W]` uint8.
        chunk: new frames per chunk, such as 12.
        ratio: the repeat is rebuilt, not copied: how much smaller than usual its step is.
        tolerance: levels of 255 up to which any step is a repeat, such as a lossy codec's noise.

    Raises:
        TypeError: the frames are not uint8.
        ValueError: another shape, or a chunk below 2.

    Example:
        >>> video = torch.arange(0, 200, 8, dtype=torch.uint8).reshape(-1, 1, 1, 1)
        >>> twice = torch.cat([video[:13], video[12:24]])  # the 13th frame again
        >>> seam_duplicates(twice, 12).frames
        (13,)
    """
    if frames.dtype != torch.uint8:
        raise TypeError(f"frames: expected uint8, got {frames.dtype}")
    if frames.ndim != 4:
        raise ValueError(f"frames: expected [T, C, H, W], got {list(frames.shape)}")
    if chunk < 2:
        raise ValueError(f"chunk: expected at least 2, got {chunk}")
    if not (0 <= ratio < 1 and tolerance >= 0):
        raise ValueError(
            "ratio, tolerance: expected 0 <= ratio < 1 and tolerance >= 0, "
            f"got {ratio} and {tolerance}"
        )
    count = len(frames)
    seams = sorted({*range(chunk + 1, count, chunk), *range(chunk + 1, count, chunk + 1)})
    # One pair at a time: differences of a whole video in floats would be four times its size.
    steps = [
        float((frames[i].to(torch.int16) - frames[i - 1].to(torch.int16)).abs().float().mean())
        for i in range(1, count)
    ]
    other = [step for i, step in enumerate(steps, start=1) if i not in seams]
    usual = float(torch.tensor(other, dtype=torch.float64).median()) if other else 0.0
    still = usual <= tolerance
    bound = max(tolerance, ratio * usual)
    repeats = [] if still else [i for i, step in enumerate(steps, start=1) if step <= bound]
    return SeamDuplicates(
        frames=tuple(i for i in repeats if i in seams),
        elsewhere=tuple(i for i in repeats if i not in seams),
        seams=tuple(seams),
        usual=usual,
        still=still,
    )


def drop_frames(frames: Tensor, which: tuple[int, ...]) -> Tensor:
    """The frames without those at some indices, in order.

    Example:
        >>> drop_frames(torch.tensor([5, 6, 6, 7]), (2,)).tolist()
        [5, 6, 7]
    """
    keep = torch.ones(len(frames), dtype=torch.bool)
    keep[list(which)] = False
    return frames[keep.to(frames.device)]
