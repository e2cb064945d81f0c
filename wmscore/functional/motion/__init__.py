"""How the picture moves from frame to frame: global shift, zoom and roll."""

from wmscore.functional.motion.shift import PhaseShift, global_motion, phase_shift
from wmscore.functional.motion.zoom import ZoomRoll, global_similarity, zoom_roll

__all__ = [
    "PhaseShift",
    "ZoomRoll",
    "global_motion",
    "global_similarity",
    "phase_shift",
    "zoom_roll",
]
