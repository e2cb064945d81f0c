"""Metrics with a state (`torchmetrics.Metric`) over the functions of `wmscore.functional`."""

from wmscore.metrics.frame import PSNR, SSIM, HaarPSI

__all__ = ["PSNR", "SSIM", "HaarPSI"]
