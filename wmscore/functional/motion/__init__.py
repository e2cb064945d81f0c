"""How the picture moves from frame to frame: global shift, zoom and roll."""

from wmscore.functional.motion.shift import PhaseShift, global_motion, phase_shift

__all__ = ["PhaseShift", "global_motion", "phase_shift"]
