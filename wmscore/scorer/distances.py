"""The measures of generated frames against their reference, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from wmscore import functional as F
from wmscore.functional import Reason
from wmscore.scorer.learned import Learned
from wmscore.scorer.measures import measure_of

__all__ = ["Found", "Pair", "check_measure", "measure_frames", "to_distance"]

# Channels that a measure is defined for; the others take any.
_CHANNELS = {"haarpsi": (1, 3), "haarpsi_shift1": (1, 3), "flip": (3,)}


@dataclass(frozen=True, kw_only=True, eq=False)
class Pair:
    """Steps 1..T of generated frames and of their reference, which several rollouts may share.

    Attributes:
        preds: `[G, T, C, H, W]`.
        reference: `[S, T, C, H, W]`.
        index: `[G]` int64 on the host, the row of `reference` for each rollout.
        target: `[G, T, C, H, W]`, the reference row by row.
    """

    preds: Tensor
    reference: Tensor
    index: Tensor
    target: Tensor


class Found(NamedTuple):
    """A measure's name with its variant, its values `[G, T]`, and why they lack where they do."""

    name: str
    values: Tensor
    reason: Tensor


def check_measure(measure: str, channels: int) -> None:
    """Refuse frames that a panel's measure is not defined for; too small ones are undefined."""
    kind = "lpips" if measure.startswith("lpips_") else measure
    allowed = {**_CHANNELS, "lpips": (3,)}.get(kind, (channels,))
    if channels not in allowed:
        raise ValueError(
            f"rollouts.frames: the panel's measure of perceptual_drift, {measure!r}, needs "
            f"{' or '.join(map(str, allowed))} channels, got {channels}; ssim takes any"
        )


def measure_frames(measure: str, pair: Pair, learned: Learned) -> Found:
    """One measure of every frame. Frames that are too small or not finite give NaN and why.

    The name says which variant the size of the frames allows (`haarpsi_full`, `ms_ssim_3`).
    """
    preds, target = pair.preds, pair.target
    height, width = preds.shape[-2:]
    name, lack = measure, Reason.NON_FINITE
    if measure in ("haarpsi", "haarpsi_shift1"):
        shift = int(measure.endswith("shift1"))
        name = F.haarpsi_name(height, width, shift=shift)
        values = F.haarpsi(preds, target, shift=shift)
        small = F.haarpsi_reason(values, height, width, shift=shift)
        return Found(name, values, torch.where(small == 0, _silent(values, lack), small))
    if measure in ("ssim", "ms_ssim") and not F.ms_ssim_scales(height, width):
        name, values = ("ms_ssim_0" if measure == "ms_ssim" else measure), _nothing(preds)
        lack = Reason.TOO_SMALL
    elif measure == "ms_ssim":
        found = F.ms_ssim(preds, target)
        name, values = found.name, found.values
    elif measure.startswith(("lpips", "feature_")):
        if learned.is_too_small(measure, height, width):
            values, lack = _nothing(preds), Reason.TOO_SMALL
        else:
            values = learned.distance(measure, pair.preds, pair.reference, pair.index)
            why = F.feature_reason(values, preds, pair.reference, target_index=pair.index)
            return Found(name, values, why.masked_fill(~values.isnan(), 0))
    else:
        pixelwise: dict[str, Callable[[Tensor, Tensor], Tensor]]
        pixelwise = {"ssim": F.ssim, "flip": F.flip, "psnr": F.psnr}
        values = pixelwise[measure](preds, target)
    return Found(name, values, _silent(values, lack))


def to_distance(name: str, values: Tensor) -> Tensor:
    """A measure as a distance to the reference, 0 for identical frames."""
    return 1 - values if measure_of(name).higher_is_better else values


def _nothing(frames: Tensor) -> Tensor:
    return torch.full(frames.shape[:2], torch.nan, dtype=torch.float64, device=frames.device)


def _silent(values: Tensor, reason: Reason) -> Tensor:
    """`[G, T]` uint8: the reason where there is no value."""
    lack = torch.zeros_like(values, dtype=torch.uint8)
    return lack.masked_fill(values.isnan(), int(reason))
