"""Metrics with a state (`torchmetrics.Metric`) over the functions of `wmscore.functional`."""

from wmscore.metrics.frame import FLIP, PSNR, SSIM, HaarPSI, MultiScaleSSIM
from wmscore.metrics.lpips import LPIPS

__all__ = ["FLIP", "LPIPS", "PSNR", "SSIM", "HaarPSI", "MultiScaleSSIM"]
