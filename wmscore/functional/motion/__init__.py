"""How the picture moves from frame to frame, and whether it moves as the reference does."""

from wmscore.functional.motion.compare import (
    MIN_MOTION,
    MotionAgreement,
    MotionByAction,
    motion_agreement,
    motion_by_action,
)
from wmscore.functional.motion.flow import (
    MIN_ISOTROPY,
    MIN_MATCH,
    MIN_TEXTURE,
    BlockFlow,
    block_flow,
)

__all__ = [
    "MIN_ISOTROPY",
    "MIN_MATCH",
    "MIN_MOTION",
    "MIN_TEXTURE",
    "BlockFlow",
    "MotionAgreement",
    "MotionByAction",
    "block_flow",
    "motion_agreement",
    "motion_by_action",
]
