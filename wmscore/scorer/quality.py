"""What generated frames look like on their own, without a reference."""

from __future__ import annotations

import torch

from wmscore import functional as F
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
