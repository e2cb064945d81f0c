"""Identity persistence as a `torchmetrics.Metric`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from wmscore import functional as F

__all__ = ["IdentityPersistence"]


class IdentityPersistence(Metric):
    """Share of objects that are still themselves, and where identity first breaks, per rollout.

    See `wmscore.functional.object_identity`. State is 16 bytes a rollout.

    Args:
        options: of `object_identity`: `min_area`, `iou_gate`, `patience`.
        by_area: weight each object by its pixels in the reference.
        kwargs: passed to `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> target = torch.zeros(2, 4, 12, 24, dtype=torch.uint8)
        >>> target[..., 3:9, 3:9], target[..., 3:9, 15:21] = 1, 2
        >>> preds = target.clone()
        >>> preds[0, 2:] = preds[0, 2:].flip(-1)  # both exchange their places at step 3
        >>> metric = IdentityPersistence()
        >>> metric.update(preds, target)
        >>> {name: value.tolist() for name, value in metric.compute().items()}
        {'score': [0.5, 1.0], 'first_break': [3, 0]}
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    score: list[Tensor]
    first_break: list[Tensor]

    def __init__(
        self,
        *,
        options: dict[str, Any] | None = None,
        by_area: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.options = dict(options or {})
        self.by_area = by_area
        self.add_state("score", default=[], dist_reduce_fx="cat")
        self.add_state("first_break", default=[], dist_reduce_fx="cat")

    def update(
        self,
        preds_labels: Tensor,
        target_labels: Tensor,
        *,
        valid: Tensor | None = None,
        first_labels: Tensor | None = None,
    ) -> None:
        """Add rollouts: label maps `[B, T, H, W]` of the generated and of the reference frames."""
        found = F.object_identity(
            preds_labels, target_labels, valid=valid, first_labels=first_labels, **self.options
        )
        score = found.area_score if self.by_area else found.score
        self.score.append(score.nanmean(1))
        self.first_break.append(found.first_break)

    def compute(self) -> dict[str, Tensor]:
        """Of each rollout `[N]`, in the order of the updates.

        `score`: mean over the steps at which it is defined, NaN where it never is; `first_break`:
        1-based step, 0 = none.
        """
        if isinstance(self.score, list) and not self.score:  # a tensor once ranks are joined
            return {
                "score": torch.zeros(0, dtype=torch.float64),
                "first_break": torch.zeros(0, dtype=torch.int64),
            }
        return {
            "score": dim_zero_cat(self.score),
            "first_break": dim_zero_cat(self.first_break),
        }
