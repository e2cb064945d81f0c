"""How the picture moves from frame to frame, and whether it moves as the reference does."""

from wmscore.functional.motion.compare import (
    MIN_MOTION,
    MotionAgreement,
    MotionByAction,
    motion_agreement,
    motion_by_action,
)
from wmscore.functional.motion.features import MOTION_FEATURES, MotionFeatures, motion_features
from wmscore.functional.motion.flow import (
    MIN_ISOTROPY,
    MIN_MATCH,
    MIN_TEXTURE,
    BlockFlow,
    block_flow,
)
from wmscore.functional.motion.shift import PhaseShift, global_motion, phase_shift

__all__ = [
    "MIN_ISOTROPY",
    "MIN_MATCH",
    "MIN_MOTION",
    "MIN_TEXTURE",
    "MOTION_FEATURES",
    "BlockFlow",
    "MotionAgreement",
    "MotionByAction",
    "MotionFeatures",
    "PhaseShift",
    "block_flow",
    "global_motion",
    "motion_agreement",
    "motion_by_action",
    "motion_features",
    "phase_shift",
]
