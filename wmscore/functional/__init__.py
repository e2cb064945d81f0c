"""Metrics as pure functions on tensors: per frame, per rollout, never pooled over time."""

from __future__ import annotations

from wmscore.functional.flip import FLIP_PIXELS_PER_DEGREE, flip, flip_map
from wmscore.functional.horizon import (
    FirstCrossing,
    UsableHorizon,
    first_crossing,
    first_run,
    usable_horizon,
)
from wmscore.functional.identity import IdentityState, ObjectIdentity, object_identity
from wmscore.functional.overlap import LabelOverlap, label_ids, label_overlap
from wmscore.functional.perceptual import PSNR_QUANTISATION_DB, mse, psnr, ssim
from wmscore.functional.reasons import Reason
from wmscore.functional.response import (
    MIN_RESPONSE,
    CounterfactualResponse,
    controllability,
    counterfactual_response,
    delta_psnr,
    response_from_products,
    response_products,
)

__all__ = [
    "FLIP_PIXELS_PER_DEGREE",
    "MIN_RESPONSE",
    "PSNR_QUANTISATION_DB",
    "CounterfactualResponse",
    "FirstCrossing",
    "IdentityState",
    "LabelOverlap",
    "ObjectIdentity",
    "Reason",
    "UsableHorizon",
    "controllability",
    "counterfactual_response",
    "delta_psnr",
    "first_crossing",
    "first_run",
    "flip",
    "flip_map",
    "label_ids",
    "label_overlap",
    "mse",
    "object_identity",
    "psnr",
    "response_from_products",
    "response_products",
    "ssim",
    "usable_horizon",
]
