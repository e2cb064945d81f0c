"""What generated frames look like on their own, without a reference."""

from __future__ import annotations

from dataclasses import fields

import torch
from torch import Tensor

from wmscore import functional as F
from wmscore.functional import FrameQuality
from wmscore.scorer.axes import Curves, blank
from wmscore.scorer.groups import Groups

__all__ = ["frame_quality"]

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
_DECAYS = ("brightness", "contrast", "saturation", "sharpness_gradient")


def frame_quality(groups: Groups) -> Curves:
    """The reference-free companions of the generated frames; none for frames that are not colours.

    Over-saturation, blur, clipping, blocking and freezing show here without a reference; the
    simulator's own rows are what they should look like. `<quality>_ratio` is that to the given
    frame: the slow decay of long rollouts.
    """
    frames = groups.commanded.frames
    if frames.shape[2] not in (1, 3):
        return {}
    found = F.rollout_quality(frames)
    drift = F.quality_drift(_joined(F.frame_quality(frames[:, :1]), found))
    curves: Curves = {}

    def add(name: str, values: Tensor, lack: Tensor) -> None:
        reason = torch.where(groups.reason == 0, lack, groups.reason)
        curves[name] = (blank(values, reason), reason)

    for name in _QUALITIES:
        add(name, getattr(found, name), found.reason[name])
    for name in _DECAYS:
        add(f"{name}_ratio", drift.ratio[name], drift.ratio_reason[name])
    return curves


def _joined(given: FrameQuality, steps: FrameQuality) -> FrameQuality:
    """Qualities `[G, 1]` and `[G, T]` as `[G, T + 1]`."""
    values = {
        f.name: torch.cat([getattr(given, f.name), getattr(steps, f.name)], 1)
        for f in fields(FrameQuality)
        if f.name != "reason"
    }
    reason = {name: torch.cat([given.reason[name], steps.reason[name]], 1) for name in steps.reason}
    return FrameQuality(**values, reason=reason)
