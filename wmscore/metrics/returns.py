"""Reset consistency as a `torchmetrics.Metric`."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from wmscore import functional as F

__all__ = ["ResetConsistency"]


class ResetConsistency(Metric):
    """Whether rollouts come back to what they showed before, where their references do.

    See `wmscore.functional.loop_closure`. State is 16 bytes a rollout and step.

    Args:
        share: see `wmscore.functional.returns_of`.
        departure: likewise, in data ranges.
        kwargs: passed to `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> target = torch.tensor([0, 90, 180, 90, 0], dtype=torch.uint8).view(1, 5, 1, 1, 1)
        >>> metric = ResetConsistency()
        >>> metric.update(target.expand(2, -1, -1, -1, -1), target, torch.tensor([0, 0]))
        >>> metric.compute()["score"].nanmean(1).tolist()
        [1.0, 1.0]
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    score: list[Tensor]
    stability: list[Tensor]

    def __init__(
        self,
        *,
        share: float = F.RETURN_SHARE,
        departure: float = F.LEAST_DEPARTURE,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.share = share
        self.departure = departure
        self.add_state("score", default=[], dist_reduce_fx="cat")
        self.add_state("stability", default=[], dist_reduce_fx="cat")

    def update(self, preds: Tensor, target: Tensor, target_index: Tensor | None = None) -> None:
        """Add rollouts.

        Args:
            preds: ``[B, T+1, C, H, W]``, the given frame first.
            target: ``[S, T+1, C, H, W]``, references.
            target_index: int64 ``[B]``, which reference is whose; by default row by row.

        Raises:
            TypeError: not tensors of frames.
            ValueError: shapes do not fit.
        """
        returns = F.returns_of(target, share=self.share, departure=self.departure)
        if target_index is not None:
            target = target[target_index]
            returns = F.Returns(*(part[target_index] for part in returns))
        found = F.loop_closure(preds, target, returns)
        self.score.append(found.score)
        self.stability.append(found.stability)

    def compute(self) -> dict[str, Tensor]:
        """`score` and `stability` (World Stability), float64 ``[N, T]``; NaN where undefined."""
        return {
            "score": dim_zero_cat(self.score),
            "stability": dim_zero_cat(self.stability),
        }
