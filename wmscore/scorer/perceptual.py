"""What frames look like: against the reference (perceptual drift) and on their own (quality)."""

from __future__ import annotations

import torch
from torch import Tensor

from wmscore import functional as F
from wmscore.functional import Reason
from wmscore.scorer.axes import Curves, blank
from wmscore.scorer.groups import Groups

__all__ = ["check_measure", "frame_quality", "perceptual_drift"]

_CHANNELS = {"haarpsi": (1, 3), "flip": (3,)}  # that a measure is defined for; the others take any

_QUALITIES = (
    "brightness",
    "contrast",
    "saturation",
    "colourfulness",
    "clipped_low",
    "clipped_high",
    "sharpness_gradient",
    "sharpness_laplacian",
    "blockiness",
    "change",
)


def check_measure(measure: str, channels: int) -> None:
    """Refuse frames that a panel's measure is not defined for; too small ones are undefined."""
    allowed = _CHANNELS.get(measure, (channels,))
    if channels not in allowed:
        raise ValueError(
            f"rollouts.frames: the panel's measure of perceptual_drift, {measure!r}, needs "
            f"{' or '.join(map(str, allowed))} channels, got {channels}; ssim takes any"
        )


def perceptual_drift(groups: Groups, measure: str) -> tuple[Tensor, Tensor, Curves]:
    """Score, its reasons, and the raw measures: the panel's, and HaarPSI, SSIM and PSNR always.

    (HaarPSI is left out for frames that are neither grey nor RGB.)
    PSNR is infinite for identical frames; `psnr_moving` is that of the pixels that change in the
    reference. Names of raw measures say which variant the size of the frames allows
    (`haarpsi_full`, `ms_ssim_3`).
    """
    preds, target = groups.preds, groups.target[:, 1:]
    channels, height, width = preds.shape[2:]
    curves: Curves = {}

    def add(name: str, values: Tensor, lack: Tensor | None = None) -> tuple[Tensor, Tensor]:
        reason = groups.reason
        if lack is not None:
            reason = torch.where(reason == 0, lack, reason)
        # What is left comes from a reference that is not finite.
        silent = (reason == 0) & values.isnan()
        reason = reason.masked_fill(silent, int(Reason.NON_FINITE))
        curves[name] = (blank(values, reason), reason)
        return curves[name]

    too_small = torch.full_like(groups.reason, int(Reason.TOO_SMALL))
    undefined = torch.full_like(groups.reason, torch.nan, dtype=torch.float64)
    if measure == "haarpsi" or channels in (1, 3):
        haarpsi = F.haarpsi(preds, target)
        lack = F.haarpsi_reason(haarpsi, height, width)
        chosen = add(F.haarpsi_name(height, width), haarpsi, lack)
    scales = F.ms_ssim_scales(height, width)
    ssim = add("ssim", F.ssim(preds, target)) if scales else add("ssim", undefined, too_small)
    add("psnr", F.psnr(preds, target))
    moving = F.region_errors(preds, target, previous=groups.target[:, :-1]).inside
    add("psnr_moving", moving.psnr, moving.reason)
    if measure == "ssim":
        # Frames that anticorrelate with the reference are as useless as unrelated ones.
        chosen = (ssim[0].clamp_min(0.0), ssim[1])
    elif measure == "ms_ssim":
        if scales:
            found = F.ms_ssim(preds, target)
            chosen = add(found.name, found.values)
        else:
            chosen = add("ms_ssim_0", undefined, too_small)
    elif measure == "flip":
        error, reason = add("flip", F.flip(preds, target))
        chosen = (1 - error, reason)
    return (*chosen, curves)


def frame_quality(groups: Groups) -> Curves:
    """The reference-free companions of the generated frames; none for frames that are not colours.

    Over-saturation, blur, clipping, blocking and freezing show here without a reference; the
    simulator's own rows are what they should look like.
    """
    frames = groups.commanded.frames
    if frames.shape[2] not in (1, 3):
        return {}
    found = F.rollout_quality(frames)
    curves: Curves = {}
    for name in _QUALITIES:
        reason = torch.where(groups.reason == 0, found.reason[name], groups.reason)
        curves[name] = (blank(getattr(found, name), reason), reason)
    return curves
