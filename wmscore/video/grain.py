"""How far the times in a file may be from those that were meant."""

from __future__ import annotations

__all__ = ["time_slack"]


def time_slack(tick: float, gap: float) -> float:
    """Seconds by which a frame may come late and still count as there.

    Files round times to a grain: two roundings, of the start and of the frame, make up to 1.5 of
    it. Where the grain is as coarse as the frames (AVI, some mp4) nothing was rounded, and so much
    slack would take the next frame for this one.

    Args:
        tick: seconds, the grain.
        gap: seconds from a frame to the next one.

    Example:
        >>> time_slack(0.001, 1 / 24), time_slack(1 / 24, 1 / 24) < 0.5 / 24
        (0.0015, True)
    """
    return max(min(1.5 * tick, 0.25 * gap), 1e-9)  # 1e-9: the rounding of double precision itself
