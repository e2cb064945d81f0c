"""Usable horizon over a panel as a `torchmetrics.Metric`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from wmscore import functional as F
from wmscore.metrics._scenarios import OWN_SCENARIO, scenario_numbers
from wmscore.stats import (
    cluster_restricted_mean,
    cluster_survival,
    cumulative_incidence,
    pool_tables,
    risk_table,
    survival_quantile,
    table_shares,
)

__all__ = ["UsableHorizon"]


class UsableHorizon(Metric):
    """How far rollouts stay usable, which axis ends them, and how sure that is, over scenarios.

    See `wmscore.functional.usable_horizon`, and of `wmscore.stats` `cluster_survival`,
    `cluster_restricted_mean` and `cumulative_incidence`. State is 24 bytes a rollout. Rollouts may
    have different lengths: each is censored at its own, and the longest is T.

    Args:
        thresholds: per axis; a step fails where its score is below.
        patience: failing steps in a row that end the horizon, one number or one per axis.
        gated: per axis, whether it counts; ``None`` means all.
        options: further ones of `usable_horizon`.
        until: steps over which the horizon is averaged; ``None`` means T.
        level: of confidence, in (0, 1).
        kwargs: passed to `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> scores = torch.ones(2, 6, 8)  # two axes, three scenarios of two seeds, eight steps
        >>> scores[0, 0, 2:] = 0.0
        >>> scores[1, 3, 5:] = 0.0
        >>> metric = UsableHorizon([0.5, 0.5])
        >>> metric.update(scores, torch.tensor([0, 0, 1, 1, 2, 2]))
        >>> found = metric.compute()
        >>> round(found["mean"].item(), 3), found["steps"].tolist(), found["median"].item()
        (6.5, [2, 8, 8, 5, 8, 8], inf)
        >>> [round(share, 3) for share in found["incidence"][:, -1].tolist()]
        [0.167, 0.167]
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    steps: list[Tensor]
    cause: list[Tensor]
    scenario: list[Tensor]
    length: Tensor

    def __init__(
        self,
        thresholds: Sequence[float] | Tensor,
        *,
        patience: int | Sequence[int] = 3,
        gated: Sequence[bool] | None = None,
        options: dict[str, Any] | None = None,
        until: int | None = None,
        level: float = 0.95,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.thresholds = torch.as_tensor(thresholds, dtype=torch.float64)
        if self.thresholds.ndim != 1 or not len(self.thresholds):
            raise ValueError(
                f"thresholds must have one number per axis, got {tuple(self.thresholds.shape)}"
            )
        self.patience = patience if isinstance(patience, int) else torch.tensor(list(patience))
        self.gated = None if gated is None else torch.tensor(list(gated))
        self.options = dict(options or {})
        self.until = until
        self.level = level
        for name in ("steps", "cause", "scenario"):
            self.add_state(name, default=[], dist_reduce_fx="cat")
        self.add_state("length", default=torch.zeros((), dtype=torch.int64), dist_reduce_fx="max")

    def update(
        self, scores: Tensor, scenario: Tensor | None = None, *, valid: Tensor | None = None
    ) -> None:
        """Add rollouts: scores `[A, B, T]` in [0, 1], 1 = perfect.

        Args:
            scores: per axis, rollout and step; NaN where undefined.
            scenario: int64 `[B]`, 0 or more; rollouts of one scenario (its seeds) share a number,
                in all updates and on all ranks. ``None``: each rollout is a scenario by itself.
            valid: bool `[B, T]`, steps that exist; ``None`` means all.

        Raises:
            ValueError: shapes do not fit, or a scenario is negative.
            TypeError: not tensors, or of the wrong dtype.
        """
        device = getattr(scores, "device", "cpu")
        patience, gated = self.patience, self.gated
        found = F.usable_horizon(
            scores,
            self.thresholds.to(device),
            patience=patience if isinstance(patience, int) else patience.to(device),
            gated=None if gated is None else gated.to(device),
            valid=valid,
            **self.options,
        )
        own = scenario_numbers(scenario, len(found.steps), found.steps.device)
        self.steps.append(found.steps)
        self.cause.append(found.axis + 1)
        self.scenario.append(own)
        self.length = self.length.clamp(min=scores.shape[-1])

    def compute(self) -> dict[str, Tensor]:
        """Of all rollouts, and of each `[N]` in the order of the updates.

        `mean`, `low`, `high`, 0-dim: restricted mean horizon in steps and its interval over
        scenarios, each scenario counting alike; NaN without an interval for fewer than two.
        `median`, `median_low`, `median_high`, 0-dim: ``inf`` = beyond T. `survival`,
        `survival_low`, `survival_high` `[T + 1]`: share usable beyond step t = 0..T. `incidence`
        `[A, T + 1]`: share ended by each axis at t or before; it and `survival` sum to 1. `steps`,
        `axis` `[N]`: last usable step, -1 = undefined, and the axis that ends it, -1 = none.
        `undefined`, 0-dim: rollouts without a horizon.

        Raises:
            ValueError: there is no rollout.
        """
        if isinstance(self.steps, list) and not self.steps:  # a tensor once ranks are joined
            raise ValueError("compute: expected at least one rollout, got none")
        steps, cause = dim_zero_cat(self.steps), dim_zero_cat(self.cause)
        scenario = dim_zero_cat(self.scenario)
        number = -1 - torch.arange(len(scenario), device=scenario.device)
        scenario = torch.where(scenario == OWN_SCENARIO, number, scenario)
        names, group = torch.unique(scenario, return_inverse=True)
        table = risk_table(
            steps,
            cause,
            int(self.length),
            causes=len(self.thresholds),
            ties="censored",
            groups=group,
            group_count=len(names),
        )
        curve = cluster_survival(table, level=self.level)
        mean = cluster_restricted_mean(table, self.until, level=self.level)
        median = survival_quantile(curve)
        pooled = pool_tables(table_shares(table))
        return {
            "mean": mean.mean,
            "low": mean.low,
            "high": mean.high,
            "median": median.step,
            "median_low": median.low,
            "median_high": median.high,
            "survival": curve.survival,
            "survival_low": curve.low,
            "survival_high": curve.high,
            "incidence": cumulative_incidence(pooled, level=self.level).incidence,
            "steps": steps,
            "axis": cause - 1,
            "undefined": pooled.missing,
        }
