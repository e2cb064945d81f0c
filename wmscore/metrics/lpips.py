"""LPIPS as `torchmetrics.Metric`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor

from wmscore import functional as F
from wmscore.metrics.frame import _FrameMetric

if TYPE_CHECKING:
    from wmscore.networks import LpipsNetwork

__all__ = ["LPIPS"]


class LPIPS(_FrameMetric):
    """LPIPS of every frame, lower is better; see `wmscore.functional.lpips`.

    Frames are RGB, uint8 or floating in [0, 1]. No graph is kept: as a training loss use the
    function.

    Args:
        network: "alex", "vgg" or "squeeze", whose weights are looked for on this machine; or a
            `wmscore.networks.LpipsNetwork`. It moves with the metric and is in no state dict.
        reduction: "none" returns one value per frame, "mean" their mean.
        kwargs: passed to `torchmetrics.Metric`.

    Raises:
        FileNotFoundError: the weights are not here; the message says where to get and put them.

    Example:
        >>> import torch
        >>> from wmscore.networks import LpipsNetwork
        >>> metric = LPIPS(LpipsNetwork.random("alex"))  # LPIPS("alex") for the real one
        >>> metric.update(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64))
        >>> metric.compute()
        tensor([0.], dtype=torch.float64)
    """

    higher_is_better = False

    def __init__(
        self,
        network: Literal["alex", "vgg", "squeeze"] | LpipsNetwork = "alex",
        *,
        reduction: Literal["none", "mean"] = "none",
        **kwargs: Any,
    ) -> None:
        super().__init__(reduction=reduction, **kwargs)
        if isinstance(network, str):
            from wmscore.networks import LpipsNetwork

            network = LpipsNetwork.load(network)
        self.network = network

    def _measure(self, preds: Tensor, target: Tensor) -> Tensor:
        return F.lpips(preds.detach(), target.detach(), self.network)
