"""Fused ops on frames: torch functions, overridden by compiled kernels where they were built."""

from wmscore.ops._library import Kernels, kernels, load
from wmscore.ops.frame_errors import FrameErrors, frame_errors
from wmscore.ops.frame_flip import frame_flip

__all__ = ["FrameErrors", "Kernels", "frame_errors", "frame_flip", "kernels"]

load()
