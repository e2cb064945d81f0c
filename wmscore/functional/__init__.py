"""Metrics as pure functions on tensors: per frame, per rollout, never pooled over time."""

from __future__ import annotations

from wmscore.functional.accumulation import ErrorAccumulation, error_accumulation
from wmscore.functional.drift import (
    DRIFT_SEGMENTS,
    DriftSlope,
    EndDrift,
    SegmentDrift,
    drift_slope,
    end_drift,
    segment_drift,
)
from wmscore.functional.features import Encoder, feature_distances
from wmscore.functional.flip import FLIP_PIXELS_PER_DEGREE, flip, flip_map
from wmscore.functional.haar import haarpsi, haarpsi_name, haarpsi_reason
from wmscore.functional.horizon import (
    FirstCrossing,
    UsableHorizon,
    first_crossing,
    first_run,
    usable_horizon,
)
from wmscore.functional.identity import IdentityState, ObjectIdentity, object_identity
from wmscore.functional.onset import ONSET_EVIDENCE, DriftOnset, drift_onset
from wmscore.functional.overlap import LabelOverlap, label_ids, label_overlap
from wmscore.functional.perceptual import PSNR_QUANTISATION_DB, mse, psnr
from wmscore.functional.quality import FrameQuality, frame_quality, rollout_quality
from wmscore.functional.reasons import Reason
from wmscore.functional.regions import RegionError, RegionErrors, region_errors
from wmscore.functional.response import (
    MIN_RESPONSE,
    CounterfactualResponse,
    controllability,
    counterfactual_response,
    delta_psnr,
    response_from_products,
    response_products,
)
from wmscore.functional.similarity import (
    MS_SSIM_WEIGHTS,
    MultiScaleSsim,
    ms_ssim,
    ms_ssim_scales,
    ssim,
    ssim_map,
)
from wmscore.functional.skill import Skill, skill
from wmscore.functional.tolerant import (
    FrameDistance,
    ShiftTolerant,
    TimeTolerant,
    shift_tolerant,
    time_tolerant,
)

__all__ = [
    "DRIFT_SEGMENTS",
    "FLIP_PIXELS_PER_DEGREE",
    "MIN_RESPONSE",
    "MS_SSIM_WEIGHTS",
    "ONSET_EVIDENCE",
    "PSNR_QUANTISATION_DB",
    "CounterfactualResponse",
    "DriftOnset",
    "DriftSlope",
    "Encoder",
    "EndDrift",
    "ErrorAccumulation",
    "FirstCrossing",
    "FrameDistance",
    "FrameQuality",
    "IdentityState",
    "LabelOverlap",
    "MultiScaleSsim",
    "ObjectIdentity",
    "Reason",
    "RegionError",
    "RegionErrors",
    "SegmentDrift",
    "ShiftTolerant",
    "Skill",
    "TimeTolerant",
    "UsableHorizon",
    "controllability",
    "counterfactual_response",
    "delta_psnr",
    "drift_onset",
    "drift_slope",
    "end_drift",
    "error_accumulation",
    "feature_distances",
    "first_crossing",
    "first_run",
    "frame_quality",
    "haarpsi",
    "haarpsi_name",
    "haarpsi_reason",
    "flip",
    "flip_map",
    "label_ids",
    "label_overlap",
    "ms_ssim",
    "ms_ssim_scales",
    "mse",
    "object_identity",
    "psnr",
    "region_errors",
    "response_from_products",
    "response_products",
    "rollout_quality",
    "segment_drift",
    "shift_tolerant",
    "skill",
    "ssim",
    "ssim_map",
    "time_tolerant",
    "usable_horizon",
]
