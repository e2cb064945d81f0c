"""Per-frame image metrics as `torchmetrics.Metric`: the class door to `wmscore.functional`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from wmscore import functional as F

__all__ = ["PSNR", "SSIM", "HaarPSI"]


class _FrameMetric(Metric):
    """Keeps one value per frame, in order; DDP concatenates them. State is 8 bytes a frame."""

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    values: list[Tensor]
    _measure: Callable[[Tensor, Tensor], Tensor]

    def __init__(self, *, reduction: Literal["none", "mean"] = "none", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if reduction not in ("none", "mean"):
            raise ValueError(f"reduction: expected 'none' or 'mean', got {reduction!r}")
        self.reduction = reduction
        self.add_state("values", default=[], dist_reduce_fx="cat")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add frames `[..., C, H, W]`; see the functional of the same name for dtypes."""
        self.values.append(type(self)._measure(preds, target).double().flatten())

    def compute(self) -> Tensor:
        """All values so far, `[N]` in the order of the updates, or their plain mean."""
        if isinstance(self.values, list) and not self.values:  # a tensor once ranks are joined
            return torch.zeros(0, dtype=torch.float64)
        values = dim_zero_cat(self.values)
        return values if self.reduction == "none" else values.mean()


class PSNR(_FrameMetric):
    """Peak signal-to-noise ratio of every frame, in dB; see `wmscore.functional.psnr`.

    Identical frames are `inf`, and then so is the mean: nothing is capped.

    Args:
        reduction: "none" returns one value per frame, "mean" the mean of the decibels.
        kwargs: passed to `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = PSNR()
        >>> metric.update(torch.full((1, 3, 8, 8), 11, dtype=torch.uint8),
        ...               torch.full((1, 3, 8, 8), 10, dtype=torch.uint8))
        >>> round(metric.compute().item(), 2)
        48.13
    """

    _measure = staticmethod(F.psnr)


class SSIM(_FrameMetric):
    """Structural similarity of every frame, in [-1, 1]; see `wmscore.functional.ssim`.

    Args:
        reduction: "none" returns one value per frame, "mean" their mean.
        kwargs: passed to `torchmetrics.Metric`.
    """

    _measure = staticmethod(F.ssim)


class HaarPSI(_FrameMetric):
    """Perceptual similarity of every frame, in [0, 1]; see `wmscore.functional.haarpsi`.

    With `subsample=None` the size of the frames decides which of two scores this is, so keep to
    one size: `wmscore.functional.haarpsi_name` names it.

    Args:
        subsample: halve the frames first; None means where both sides are 128 or more.
        shift: largest displacement in pixels of which the best counts.
        reduction: "none" returns one value per frame, "mean" their mean.
        kwargs: passed to `torchmetrics.Metric`.
    """

    def __init__(
        self,
        *,
        subsample: bool | None = None,
        shift: int = 0,
        reduction: Literal["none", "mean"] = "none",
        **kwargs: Any,
    ) -> None:
        super().__init__(reduction=reduction, **kwargs)
        self.subsample = subsample
        self.shift = shift

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add frames `[..., C, H, W]`; see the functional of the same name for dtypes."""
        scores = F.haarpsi(preds, target, subsample=self.subsample, shift=self.shift)
        self.values.append(scores.flatten())
