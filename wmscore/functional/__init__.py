"""Metrics as pure functions on tensors: per frame, per rollout, never pooled over time."""

from __future__ import annotations

from wmscore.functional.embedding import embed, feature_cosine, feature_l2, feature_reason
from wmscore.functional.embedding_drift import (
    LagSimilarity,
    SimilarityCurve,
    adjacent_similarity,
    first_frame_similarity,
    similarity_by_lag,
    subject_consistency,
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
from wmscore.functional.latents import latent_cosine, latent_l2, latent_reason
from wmscore.functional.lpips import LpipsEncoder, lpips, lpips_map
from wmscore.functional.overlap import LabelOverlap, label_ids, label_overlap
from wmscore.functional.perceptual import PSNR_QUANTISATION_DB, mse, psnr
from wmscore.functional.quality import FrameQuality, frame_quality, rollout_quality
from wmscore.functional.quality_drift import QualityDrift, quality_drift
from wmscore.functional.reasons import Reason
from wmscore.functional.references import ReferenceFeatures
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

__all__ = [
    "FLIP_PIXELS_PER_DEGREE",
    "MIN_RESPONSE",
    "MS_SSIM_WEIGHTS",
    "PSNR_QUANTISATION_DB",
    "CounterfactualResponse",
    "Encoder",
    "FirstCrossing",
    "FrameQuality",
    "IdentityState",
    "LabelOverlap",
    "LagSimilarity",
    "LpipsEncoder",
    "MultiScaleSsim",
    "QualityDrift",
    "SimilarityCurve",
    "adjacent_similarity",
    "embed",
    "feature_cosine",
    "feature_l2",
    "feature_reason",
    "first_frame_similarity",
    "latent_cosine",
    "latent_l2",
    "latent_reason",
    "quality_drift",
    "similarity_by_lag",
    "subject_consistency",
    "ObjectIdentity",
    "Reason",
    "ReferenceFeatures",
    "RegionError",
    "RegionErrors",
    "UsableHorizon",
    "controllability",
    "counterfactual_response",
    "delta_psnr",
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
    "lpips",
    "lpips_map",
    "ms_ssim",
    "ms_ssim_scales",
    "mse",
    "object_identity",
    "psnr",
    "region_errors",
    "response_from_products",
    "response_products",
    "rollout_quality",
    "ssim",
    "ssim_map",
    "usable_horizon",
]
