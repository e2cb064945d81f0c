"""Metrics with a state (`torchmetrics.Metric`) over the functions of `wmscore.functional`."""

from __future__ import annotations

from wmscore.metrics.distributions import (
    FrechetDistance,
    KernelDistance,
)
from wmscore.metrics.frame import (
    FLIP,
    PSNR,
    SSIM,
    HaarPSI,
    MultiScaleSSIM,
)
from wmscore.metrics.horizon import (
    UsableHorizon,
)
from wmscore.metrics.identity import (
    IdentityPersistence,
)
from wmscore.metrics.lpips import (
    LPIPS,
)
from wmscore.metrics.response import (
    ActionLatency,
    ActionResponse,
)
from wmscore.metrics.returns import (
    ResetConsistency,
)

__all__ = [
    "FLIP",
    "LPIPS",
    "PSNR",
    "SSIM",
    "ActionLatency",
    "ActionResponse",
    "FrechetDistance",
    "HaarPSI",
    "IdentityPersistence",
    "KernelDistance",
    "MultiScaleSSIM",
    "ResetConsistency",
    "UsableHorizon",
]
