"""Metrics as pure functions on tensors: per frame, per rollout, never pooled over time."""

from __future__ import annotations

from wmscore.functional import distributions
from wmscore.functional.distributions import (
    FeatureMoments,
    cmmd,
    frechet_distance,
    frechet_distance_from_features,
    jedi,
    kernel_distance,
    windowed_distance,
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

__all__ = [
    "FLIP_PIXELS_PER_DEGREE",
    "MIN_RESPONSE",
    "MS_SSIM_WEIGHTS",
    "PSNR_QUANTISATION_DB",
    "CounterfactualResponse",
    "Encoder",
    "FeatureMoments",
    "FirstCrossing",
    "FrameQuality",
    "IdentityState",
    "LabelOverlap",
    "MultiScaleSsim",
    "ObjectIdentity",
    "Reason",
    "RegionError",
    "RegionErrors",
    "UsableHorizon",
    "cmmd",
    "controllability",
    "counterfactual_response",
    "delta_psnr",
    "distributions",
    "feature_distances",
    "first_crossing",
    "first_run",
    "frame_quality",
    "frechet_distance",
    "frechet_distance_from_features",
    "haarpsi",
    "haarpsi_name",
    "haarpsi_reason",
    "flip",
    "flip_map",
    "jedi",
    "kernel_distance",
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
    "ssim",
    "ssim_map",
    "usable_horizon",
    "windowed_distance",
]
