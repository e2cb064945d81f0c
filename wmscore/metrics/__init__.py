"""Metrics with a state (`torchmetrics.Metric`) over the functions of `wmscore.functional`."""

from wmscore.metrics.frame import FLIP, PSNR, SSIM, HaarPSI, MultiScaleSSIM

__all__ = ["FLIP", "PSNR", "SSIM", "HaarPSI", "MultiScaleSSIM"]
