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
from wmscore.functional.motion.shift import (
    MOTION_MIN_SIDE,
    PhaseShift,
    global_motion,
    phase_shift,
)
from wmscore.functional.motion.zoom import ZoomRoll, global_similarity, zoom_roll

__all__ = [
    "MIN_ISOTROPY",
    "MIN_MATCH",
    "MIN_MOTION",
    "MIN_TEXTURE",
    "MOTION_FEATURES",
    "MOTION_MIN_SIDE",
    "BlockFlow",
    "MotionAgreement",
    "MotionByAction",
    "MotionFeatures",
    "PhaseShift",
    "ZoomRoll",
    "block_flow",
    "global_motion",
    "global_similarity",
    "motion_agreement",
    "motion_by_action",
    "motion_features",
    "phase_shift",
    "zoom_roll",
]
