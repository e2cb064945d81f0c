"""Metrics as pure functions on tensors: per frame, per rollout, never pooled over time."""

from __future__ import annotations

from wmscore.functional import (
    distributions,
    tracking,
)
from wmscore.functional.accumulation import (
    ErrorAccumulation,
    error_accumulation,
)
from wmscore.functional.appearance import (
    AppearanceStates,
    identity_from_appearance,
)
from wmscore.functional.carry import CarriedLabels, carry_labels
from wmscore.functional.distributions import (
    FeatureMoments,
    cmmd,
    frechet_distance,
    frechet_distance_from_features,
    jedi,
    kernel_distance,
    windowed_distance,
)
from wmscore.functional.drift import (
    DRIFT_SEGMENTS,
    DriftSlope,
    EndDrift,
    SegmentDrift,
    drift_slope,
    end_drift,
    segment_drift,
)
from wmscore.functional.embedding import (
    embed,
    feature_cosine,
    feature_l2,
    feature_reason,
)
from wmscore.functional.embedding_drift import (
    LagSimilarity,
    SimilarityCurve,
    adjacent_similarity,
    first_frame_similarity,
    similarity_by_lag,
    subject_consistency,
)
from wmscore.functional.features import (
    Encoder,
    feature_distances,
)
from wmscore.functional.first_labels import labels_from_boxes, labels_from_points
from wmscore.functional.flip import (
    FLIP_PIXELS_PER_DEGREE,
    flip,
    flip_map,
)
from wmscore.functional.haar import (
    haarpsi,
    haarpsi_name,
    haarpsi_reason,
)
from wmscore.functional.horizon import (
    FirstCrossing,
    UsableHorizon,
    first_crossing,
    first_run,
    usable_horizon,
)
from wmscore.functional.identity import (
    APPEARANCE_MIN_SIDE,
    SENSITIVITY,
    BreakAgreement,
    IdentityEvents,
    IdentityState,
    IdStability,
    ObjectIdentity,
    break_agreement,
    carried_identity,
    id_stability,
    identity_events,
    lone_identity,
    object_identity,
    share_ids,
)
from wmscore.functional.label_ids import label_ids
from wmscore.functional.latents import (
    latent_cosine,
    latent_l2,
    latent_reason,
)
from wmscore.functional.lpips import (
    LpipsEncoder,
    lpips,
    lpips_map,
)
from wmscore.functional.motion import (
    MIN_ISOTROPY,
    MIN_MATCH,
    MIN_MOTION,
    MIN_TEXTURE,
    BlockFlow,
    MotionAgreement,
    MotionByAction,
    block_flow,
    motion_agreement,
    motion_by_action,
)
from wmscore.functional.onset import (
    ONSET_EVIDENCE,
    DriftOnset,
    drift_onset,
)
from wmscore.functional.overlap import LabelOverlap, label_overlap
from wmscore.functional.perceptual import (
    PSNR_QUANTISATION_DB,
    mse,
    psnr,
)
from wmscore.functional.quality import (
    FrameQuality,
    frame_quality,
    rollout_quality,
)
from wmscore.functional.quality_drift import (
    QualityDrift,
    quality_drift,
)
from wmscore.functional.reasons import (
    Reason,
)
from wmscore.functional.references import (
    ReferenceFeatures,
)
from wmscore.functional.regions import (
    RegionError,
    RegionErrors,
    region_errors,
)
from wmscore.functional.response import (
    MIN_RESPONSE,
    CounterfactualResponse,
    controllability,
    counterfactual_response,
    delta_psnr,
    response_from_products,
    response_products,
)
from wmscore.functional.shape import (
    DriftShape,
    drift_shape,
)
from wmscore.functional.similarity import (
    MS_SSIM_WEIGHTS,
    MultiScaleSsim,
    ms_ssim,
    ms_ssim_scales,
    ssim,
    ssim_map,
)
from wmscore.functional.skill import (
    Skill,
    skill,
)
from wmscore.functional.tolerant import (
    FrameDistance,
    ShiftTolerant,
    TimeTolerant,
    shift_tolerant,
    time_tolerant,
)
from wmscore.functional.tracking import (
    TrackingSummary,
    tracking_summary,
)

__all__ = [
    "APPEARANCE_MIN_SIDE",
    "DRIFT_SEGMENTS",
    "FLIP_PIXELS_PER_DEGREE",
    "MIN_ISOTROPY",
    "MIN_MATCH",
    "MIN_MOTION",
    "MIN_RESPONSE",
    "MIN_TEXTURE",
    "MS_SSIM_WEIGHTS",
    "ONSET_EVIDENCE",
    "PSNR_QUANTISATION_DB",
    "SENSITIVITY",
    "AppearanceStates",
    "BlockFlow",
    "BreakAgreement",
    "CarriedLabels",
    "CounterfactualResponse",
    "DriftOnset",
    "DriftShape",
    "DriftSlope",
    "Encoder",
    "EndDrift",
    "ErrorAccumulation",
    "FeatureMoments",
    "FirstCrossing",
    "FrameDistance",
    "FrameQuality",
    "IdStability",
    "IdentityEvents",
    "IdentityState",
    "LabelOverlap",
    "LagSimilarity",
    "LpipsEncoder",
    "MotionAgreement",
    "MotionByAction",
    "MultiScaleSsim",
    "ObjectIdentity",
    "QualityDrift",
    "Reason",
    "ReferenceFeatures",
    "RegionError",
    "RegionErrors",
    "SegmentDrift",
    "ShiftTolerant",
    "SimilarityCurve",
    "Skill",
    "TimeTolerant",
    "TrackingSummary",
    "UsableHorizon",
    "adjacent_similarity",
    "block_flow",
    "break_agreement",
    "carried_identity",
    "carry_labels",
    "cmmd",
    "controllability",
    "counterfactual_response",
    "delta_psnr",
    "distributions",
    "drift_onset",
    "drift_shape",
    "drift_slope",
    "embed",
    "end_drift",
    "error_accumulation",
    "feature_cosine",
    "feature_distances",
    "feature_l2",
    "feature_reason",
    "first_crossing",
    "first_frame_similarity",
    "first_run",
    "flip",
    "flip_map",
    "frame_quality",
    "frechet_distance",
    "frechet_distance_from_features",
    "haarpsi",
    "haarpsi_name",
    "haarpsi_reason",
    "id_stability",
    "identity_events",
    "identity_from_appearance",
    "jedi",
    "kernel_distance",
    "label_ids",
    "label_overlap",
    "labels_from_boxes",
    "labels_from_points",
    "latent_cosine",
    "latent_l2",
    "latent_reason",
    "lone_identity",
    "lpips",
    "lpips_map",
    "motion_agreement",
    "motion_by_action",
    "ms_ssim",
    "ms_ssim_scales",
    "mse",
    "object_identity",
    "psnr",
    "quality_drift",
    "region_errors",
    "response_from_products",
    "response_products",
    "rollout_quality",
    "segment_drift",
    "share_ids",
    "shift_tolerant",
    "similarity_by_lag",
    "skill",
    "ssim",
    "ssim_map",
    "subject_consistency",
    "time_tolerant",
    "tracking",
    "tracking_summary",
    "usable_horizon",
    "windowed_distance",
]
