"""Fused ops on frames: torch functions, overridden by compiled kernels where they were built."""

from wmscore.ops._library import Kernels, kernels, load
from wmscore.ops.frame_errors import FrameErrors, frame_errors
from wmscore.ops.frame_region_errors import frame_region_errors

__all__ = [
    "FrameErrors",
    "Kernels",
    "frame_errors",
    "frame_region_errors",
    "kernels",
]

load()
