"""How far two frames, or two rollouts, are apart, for tests of equality."""

from __future__ import annotations

import torch
from torch import Tensor

from wmscore.rollouts import Rollouts

__all__ = ["frame_gap", "levels", "pixel_range", "pixels", "rollout_gap"]


def pixels(frames: Tensor) -> Tensor:
    """Frames of either dtype as float64 in 0..255."""
    return frames.double() if frames.dtype == torch.uint8 else frames.double() * 255


def frame_gap(mine: Tensor, theirs: Tensor) -> float:
    """Largest difference in 0..255; NaN in one and not in the other counts as infinite."""
    theirs = theirs.to(mine.device)
    gap = (pixels(mine) - pixels(theirs)).abs()
    same = torch.isnan(mine) & torch.isnan(theirs)
    return float(torch.where(same, 0.0, gap.nan_to_num(nan=torch.inf)).max())


def rollout_gap(mine: Rollouts, theirs: Rollouts, until: int | None = None) -> float:
    """Largest difference between frames up to step `until`; infinite for other labels, shapes."""
    if mine.frames.dtype != theirs.frames.dtype:
        return float("inf")
    if mine.frames[:, :until].shape != theirs.frames[:, :until].shape:
        return float("inf")
    if (mine.labels is None) != (theirs.labels is None):
        return float("inf")
    for a, b in ((mine.valid, theirs.valid), (mine.labels, theirs.labels)):
        if a is not None and b is not None and not torch.equal(a[:, :until], b[:, :until]):
            return float("inf")
    return frame_gap(mine.frames[:, :until], theirs.frames[:, :until])


def pixel_range(frames: Tensor, top: float) -> tuple[str, list[str]]:
    """The range of all frames, and of each row `[B, ...]` with values outside 0..`top` or NaN."""
    if frames.dtype == torch.uint8:
        low, high = frames.aminmax()
        return f"{int(low)}..{int(high)}", []
    wrong = []
    finite = frames[frames.isfinite()]
    extent = f"{float(finite.min()):g}..{float(finite.max()):g}" if len(finite) else "not finite"
    for row, frame in enumerate(frames):
        lost = int((~frame.isfinite()).sum())
        inside = frame[frame.isfinite()]
        if lost:
            wrong.append(f"row {row}: {lost} values are not finite")
        if len(inside) and not 0 <= float(inside.min()) <= float(inside.max()) <= top:
            wrong.append(f"row {row}: {float(inside.min()):g}..{float(inside.max()):g}")
    return extent, wrong


def levels(value: float) -> str:
    """A gap in words."""
    return "bitwise equal" if value == 0 else f"up to {value:.4g} of 255"
