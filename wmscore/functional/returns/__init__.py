"""Returns of a reference, and whether rollouts come back there too."""

from __future__ import annotations

from wmscore.functional.returns.closure import Closure, loop_closure
from wmscore.functional.returns.distances import frame_distances
from wmscore.functional.returns.find import (
    LEAST_DEPARTURE,
    RETURN_LEVELS,
    RETURN_SHARE,
    Returns,
    returns_of,
)

__all__ = [
    "LEAST_DEPARTURE",
    "RETURN_LEVELS",
    "RETURN_SHARE",
    "Closure",
    "Returns",
    "frame_distances",
    "loop_closure",
    "returns_of",
]
