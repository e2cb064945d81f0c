"""What a probe needs of the reference rollouts: moments of features per fold and action."""

from __future__ import annotations

import torch
from torch import Tensor

from wmscore.functional._check import check_count
from wmscore.functional.distributions.moments import FeatureMoments
from wmscore.functional.recovery._inputs import (
    check_action_ids,
    check_action_vectors,
    check_features,
    check_groups,
    kept_steps,
)
from wmscore.functional.recovery._solve import solve_continuous, solve_discrete
from wmscore.functional.recovery.probe import PROBE_STRENGTHS, ActionProbe

__all__ = ["ProbeStatistics", "fit_probe"]

_PIECE = 1 << 22  # float64 values of one temporary: 32 MiB


class ProbeStatistics:
    r"""Sufficient statistics of an :class:`ActionProbe`, added up batch by batch.

    Per fold and action: how many steps, the mean of their features and the scatter around it,
    merged by the update of Chan, Golub and LeVeque (1983). Frames and features need not be kept,
    and neither the order nor the size of batches changes the probe's coefficients by more than
    1e-9 of the largest one. Steps whose features or actions are not finite are left out.

    The fold of a scenario is ``groups % folds``: it depends on nothing but the scenario's number,
    so that streams and ranks agree. Number the scenarios 0, 1, 2, ... (a panel's indices do), or
    folds will differ in size.

    Args:
        features: number of features D.
        num_actions: number of discrete actions; or ``dimensions``, of a continuous action.
        dimensions: number A of values of a continuous action.
        folds: groups of scenarios that are held out in turn, at least 2.
        device: where to add up; a batch must be there too.

    Attributes:
        moments: a :class:`FeatureMoments`, ``[folds, num_actions]`` of D features, or ``[folds,
            1]`` of features and actions together, D + A values.

    Example:
        >>> statistics = ProbeStatistics(3, num_actions=2, folds=2)
        >>> actions = torch.tensor([[0, 1, 0, 1], [1, 0, 1, 0]])
        >>> for scenario in range(4):
        ...     features = torch.rand(2, 4, 3) + actions[..., None]
        ...     statistics.update(features, actions, torch.full((2,), scenario))
        >>> probe = statistics.fit()
        >>> bool((probe.predict(features, torch.full((2,), 3)) == actions).all())
        True
    """

    def __init__(
        self,
        features: int,
        *,
        num_actions: int | None = None,
        dimensions: int | None = None,
        folds: int = 5,
        device: torch.device | str | None = None,
    ) -> None:
        check_count("features", features)
        check_count("folds", folds)
        if folds < 2:
            raise ValueError(f"folds must be at least 2, got {folds}")
        if (num_actions is None) == (dimensions is None):
            raise ValueError(
                "expected either num_actions (discrete) or dimensions (continuous), got "
                f"num_actions={num_actions} and dimensions={dimensions}"
            )
        if num_actions is not None:
            check_count("num_actions", num_actions)
            if num_actions < 2:
                raise ValueError(f"num_actions must be at least 2, got {num_actions}")
        if dimensions is not None:
            check_count("dimensions", dimensions)
        self.features = features
        self.num_actions = num_actions
        self.dimensions = dimensions
        self.folds = folds
        self.moments = FeatureMoments.empty(
            (folds, num_actions or 1), features=features + (dimensions or 0), device=device
        )

    def update(
        self, features: Tensor, actions: Tensor, groups: Tensor, *, valid: Tensor | None = None
    ) -> None:
        """Add reference rollouts.

        Args:
            features: ``[B, T, D]`` floating point, of the move that each action makes.
            actions: ``[B, T]`` int64 in 0..num_actions - 1, or ``[B, T, A]`` floating point.
            groups: ``[B]`` int64, the scenario of each row.
            valid: bool, broadcasts to ``[B, T]``, steps that count; ``None`` means all.

        Raises:
            ValueError: shapes or devices do not fit, or an action is out of range.
            TypeError: not tensors, or of the wrong dtype.
        """
        check_features("features", features)
        rows, steps, width = features.shape
        if width != self.features:
            raise ValueError(f"features must have D = {self.features}, got {width}")
        check_groups(groups, rows, features.device)
        kept = kept_steps(valid, (rows, steps), features.device)
        values = features.double()
        if self.num_actions is not None:
            check_action_ids("actions", actions, self.num_actions, (rows, steps))
            every = torch.arange(self.num_actions, device=features.device)
            member = actions[..., None] == every
        else:
            check_action_vectors("actions", actions, (rows, steps))
            if actions.shape[-1] != self.dimensions:
                raise ValueError(
                    f"actions must have A = {self.dimensions}, got {actions.shape[-1]}"
                )
            values = torch.cat([values, actions.double()], dim=-1)
            member = kept.new_ones(rows, steps, 1)
        kept = kept & values.isfinite().all(-1)
        fold = groups.remainder(self.folds)
        cells = member.shape[-1] * values.shape[-1] * max(steps, values.shape[-1])
        size = max(1, _PIECE // max(1, cells))
        for start in range(0, rows, size):
            part = slice(start, start + size)
            self.moments = self.moments.merge(
                _moments_of(
                    values[part].where(kept[part][..., None], 0.0),
                    (member[part] & kept[part][..., None]).double(),
                    fold[part],
                    self.folds,
                )
            )

    def merge(self, other: ProbeStatistics) -> None:
        """Add the statistics of other rollouts: of another rank, say."""
        mine = (self.features, self.num_actions, self.dimensions, self.folds)
        others = (other.features, other.num_actions, other.dimensions, other.folds)
        if mine != others:
            raise ValueError(
                "statistics to merge must have the same features, num_actions, dimensions and "
                f"folds, got {mine} and {others}"
            )
        self.moments = self.moments.merge(other.moments)

    def fit(self, *, strengths: tuple[float, ...] = PROBE_STRENGTHS) -> ActionProbe:
        """Solve for the probe of each fold, and for that of all rollouts, at once.

        Args:
            strengths: ridge strengths to choose from, in units of a standardised feature's
                variance, each above 0.

        Returns:
            :class:`ActionProbe`.

        Raises:
            ValueError: a strength is missing or not above 0.
        """
        if not strengths or not all(strength > 0 for strength in strengths):
            raise ValueError(f"strengths must be numbers above 0, got {strengths}")
        grid = self.moments.mean.new_tensor(strengths)
        if self.num_actions is not None:
            return ActionProbe(*solve_discrete(self.moments, grid), discrete=True)
        return ActionProbe(*solve_continuous(self.moments, self.features, grid), discrete=False)


def fit_probe(
    features: Tensor,
    actions: Tensor,
    groups: Tensor,
    num_actions: int | None = None,
    *,
    folds: int = 5,
    valid: Tensor | None = None,
    strengths: tuple[float, ...] = PROBE_STRENGTHS,
) -> ActionProbe:
    """Fit an :class:`ActionProbe` on reference rollouts in one call.

    Args:
        features: ``[B, T, D]`` floating point, of the move that each action makes.
        actions: ``[B, T]`` int64 in 0..num_actions - 1, or ``[B, T, A]`` floating point.
        groups: ``[B]`` int64, the scenario of each row: all of its rows are held out together.
        num_actions: number of discrete actions; ``None`` for continuous ones.
        folds: groups of scenarios that are held out in turn, at least 2.
        valid: bool, broadcasts to ``[B, T]``, steps that count; ``None`` means all.
        strengths: ridge strengths to choose from.

    Returns:
        :class:`ActionProbe`.

    Raises:
        ValueError: shapes or devices do not fit, or an action or an option is out of range.
        TypeError: not tensors, or of the wrong dtype.

    Example:
        >>> features = torch.randn(8, 16, 2)
        >>> actions = (features[..., 0] > 0).long()
        >>> probe = fit_probe(features, actions, torch.arange(8), num_actions=2)
        >>> recognised = probe.predict(features, torch.arange(8))
        >>> bool((recognised == actions).double().mean() > 0.9)
        True
    """
    check_features("features", features)
    width: dict[str, int | None] = {"num_actions": num_actions}
    if num_actions is None and not actions.is_floating_point():
        raise TypeError(
            "num_actions must be given for discrete actions; continuous ones must be floating "
            f"point, got {actions.dtype}"
        )
    if num_actions is None:
        check_action_vectors("actions", actions, tuple(features.shape[:2]))
        width["dimensions"] = actions.shape[-1]
    statistics = ProbeStatistics(features.shape[-1], folds=folds, device=features.device, **width)
    statistics.update(features, actions, groups, valid=valid)
    return statistics.fit(strengths=strengths)


def _moments_of(values: Tensor, member: Tensor, fold: Tensor, folds: int) -> FeatureMoments:
    """Moments ``[F, A]`` of ``values [B, T, D]``, by matrix products: sums in a fixed order."""
    rows, actions, width = len(values), member.shape[-1], values.shape[-1]
    there = member.sum(-1, keepdim=True)
    middle = values.sum((0, 1)) / there.sum().clamp(
        min=1
    )  # sums of squares around it cancel little
    centred = (values - middle) * there
    of_fold = (fold == torch.arange(folds, device=fold.device)[:, None]).double()  # [F, B]
    count = of_fold @ member.sum(1)
    sums = (of_fold @ (member.mT @ centred).flatten(1)).view(folds, actions, width)
    by_action = (member[..., None] * centred[:, :, None]).flatten(2)  # [B, T, A * D]
    products = (by_action.mT @ centred).view(rows, -1)
    scatter = (of_fold @ products).view(folds, actions, width, width)
    mean = sums / count.clamp(min=1)[..., None]
    scatter = scatter - sums[..., None] * mean[..., None, :]
    return FeatureMoments(
        count.round().long(), (mean + middle).where(count[..., None] > 0, 0.0), scatter
    )
