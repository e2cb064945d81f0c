"""Drift of colour and quality against a rollout's own first frames: no reference is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from wmscore.functional._check import check_count
from wmscore.functional.quality import FrameQuality
from wmscore.functional.reasons import Reason

__all__ = ["QualityDrift", "quality_drift"]

# Amounts with a natural zero, of which a ratio means something.
_AMOUNTS = (
    "brightness",
    "contrast",
    "saturation",
    "colourfulness",
    "sharpness_gradient",
    "sharpness_laplacian",
)
_DIFFERENCES = (*_AMOUNTS, "clipped_low", "clipped_high", "blockiness")


@dataclass(frozen=True)
class QualityDrift:
    """How far qualities moved away from those of the given frames. See :func:`quality_drift`.

    Each mapping goes from the name of a quality in :class:`FrameQuality` to a tensor ``[B, T]``.

    Attributes:
        ratio: float64, quality over that of the given frames, 0 or more, 1 = unchanged:
            brightness, contrast, saturation, colourfulness and both kinds of sharpness.
        difference: float64, quality less that of the given frames, in the quality's unit, 0 =
            unchanged: these, and the clipped shares and blockiness.
        ratio_reason: uint8, a :class:`Reason` for each NaN of a ratio: NO_SCALE where the given
            frames' quality is 0, as the saturation of grey frames; else as ``difference_reason``.
        difference_reason: uint8: the step's own reason, or else that of the given frames.
    """

    ratio: Mapping[str, Tensor]
    difference: Mapping[str, Tensor]
    ratio_reason: Mapping[str, Tensor]
    difference_reason: Mapping[str, Tensor]


def quality_drift(quality: FrameQuality, *, context: int = 1) -> QualityDrift:
    r"""Colour, contrast and sharpness of steps 1..T against those of the given frames.

    .. math:: q_t / \bar q, \quad q_t - \bar q, \quad \bar q = \frac1k \sum_{i=0}^{k-1} q_i

    The slow changes by which long rollouts decay: they darken, saturate, blur. A scene may change
    them rightly; the same curve of the reference tells.

    Args:
        quality: of all frames ``[B, T + 1]``, including the given ones: what ``frame_quality``
            gives for ``[B, T + 1, C, H, W]``. (``rollout_quality`` leaves the first one out.)
        context: k, how many frames count as given; all of their qualities must be defined.

    Returns:
        A :class:`QualityDrift` of ``[B, T]`` tensors.

    Raises:
        ValueError: the quality is not of rollouts, or context is not in 1..T + 1.
        TypeError: context is not an int.

    Example:
        >>> from wmscore.functional import frame_quality
        >>> frames = torch.full((1, 3, 3, 8, 8), 200, dtype=torch.uint8)
        >>> frames[:, 2] = 50
        >>> drift = quality_drift(frame_quality(frames))
        >>> drift.ratio["brightness"]
        tensor([[1.0000, 0.2500]], dtype=torch.float64)
        >>> drift.ratio["contrast"], drift.ratio_reason["contrast"]  # flat frames have none
        (tensor([[nan, nan]], dtype=torch.float64), tensor([[21, 21]], dtype=torch.uint8))
    """
    check_count("context", context)
    shape = quality.brightness.shape
    if len(shape) != 2:
        raise ValueError(f"quality must be of rollouts, [B, T + 1], got {tuple(shape)}")
    if context > shape[1]:
        raise ValueError(f"context must be at most the {shape[1]} frames there are, got {context}")
    ratio, difference, ratio_reason, difference_reason = {}, {}, {}, {}
    for name in _DIFFERENCES:
        value: Tensor = getattr(quality, name)
        own = quality.reason[name]
        given = value[:, :context].mean(1, keepdim=True)  # NaN if one of them is
        given_code = own[:, :context].amax(1, keepdim=True)
        code = torch.where(own[:, 1:] != 0, own[:, 1:], given_code)
        difference[name] = value[:, 1:] - given
        difference_reason[name] = code
        if name in _AMOUNTS:
            no_scale = (given == 0) & (code == 0)
            ratio[name] = (value[:, 1:] / given).masked_fill(no_scale, torch.nan)
            ratio_reason[name] = code.masked_fill(no_scale, int(Reason.NO_SCALE))
    return QualityDrift(ratio, difference, ratio_reason, difference_reason)
