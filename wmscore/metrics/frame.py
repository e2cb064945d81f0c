"""Per-frame image metrics as `torchmetrics.Metric`: the class door to `wmscore.functional`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from wmscore import functional as F
from wmscore.functional.flip import check_pixels_per_degree

__all__ = ["FLIP", "PSNR", "SSIM", "HaarPSI", "MultiScaleSSIM"]


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
        self.name: str | None = None  # which variant of a measure the size of frames gave
        self.add_state("values", default=[], dist_reduce_fx="cat")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add frames `[..., C, H, W]`; see the functional of the same name for dtypes."""
        self.values.append(self._measure(preds, target).double().flatten())

    def _keep_to(self, name: str) -> None:
        """Refuse to collect values of two measures in one metric."""
        if self.name is not None and name != self.name:
            raise ValueError(
                f"preds: frames of this size give {name}, earlier ones gave {self.name}, which is "
                "another measure; use one metric for each size"
            )
        self.name = name

    def reset(self) -> None:
        """Forget all frames."""
        super().reset()
        self.name = None

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

    With `subsample=None` the size of the frames decides which of two scores this is, and frames
    that would give the other one are refused: `wmscore.functional.haarpsi_name` names it.

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

    def _measure(self, preds: Tensor, target: Tensor) -> Tensor:
        height, width = preds.shape[-2:]
        self._keep_to(F.haarpsi_name(height, width, subsample=self.subsample, shift=self.shift))
        return F.haarpsi(preds, target, subsample=self.subsample, shift=self.shift)


class MultiScaleSSIM(_FrameMetric):
    """Multi-scale structural similarity of every frame, in [0, 1]; see `functional.ms_ssim`.

    Frames below 161 pixels have fewer scales, and then it is another measure: frames of another
    number than the first ones are refused. `wmscore.functional.ms_ssim_scales` tells how many.

    Args:
        scales: 1 to 5; None takes as many as fit.
        reduction: "none" returns one value per frame, "mean" their mean.
        kwargs: passed to `torchmetrics.Metric`.
    """

    def __init__(self, *, scales: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scales = scales

    def _measure(self, preds: Tensor, target: Tensor) -> Tensor:
        found = F.ms_ssim(preds, target, scales=self.scales)
        self._keep_to(found.name)
        return found.values


class FLIP(_FrameMetric):
    """FLIP error of every frame, in [0, 1], lower is better; see `wmscore.functional.flip`.

    Args:
        pixels_per_degree: pixels per degree of visual angle, 1..200.
        reduction: "none" returns one value per frame, "mean" their mean.
        kwargs: passed to `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = FLIP()
        >>> metric.update(torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8))
        >>> round(metric.compute().item(), 4)
        0.9674
    """

    higher_is_better = False

    def __init__(
        self, *, pixels_per_degree: float = F.FLIP_PIXELS_PER_DEGREE, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_pixels_per_degree(pixels_per_degree)
        self.pixels_per_degree = pixels_per_degree

    def _measure(self, preds: Tensor, target: Tensor) -> Tensor:
        return F.flip(preds, target, pixels_per_degree=self.pixels_per_degree)
