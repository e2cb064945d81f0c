"""Metrics with a state (`torchmetrics.Metric`) over the functions of `wmscore.functional`."""

from wmscore.metrics.distributions import FrechetDistance, KernelDistance
from wmscore.metrics.frame import FLIP, PSNR, SSIM, HaarPSI, MultiScaleSSIM

__all__ = [
    "FLIP",
    "PSNR",
    "SSIM",
    "FrechetDistance",
    "HaarPSI",
    "KernelDistance",
    "MultiScaleSSIM",
]
