"""How the picture moves from frame to frame, and whether it moves as the reference does."""

from wmscore.functional.motion.flow import MIN_MATCH, MIN_TEXTURE, BlockFlow, block_flow

__all__ = ["MIN_MATCH", "MIN_TEXTURE", "BlockFlow", "block_flow"]
"""How the picture moves from frame to frame: global shift, zoom and roll."""

from wmscore.functional.motion.shift import PhaseShift, global_motion, phase_shift

__all__ = ["PhaseShift", "global_motion", "phase_shift"]
