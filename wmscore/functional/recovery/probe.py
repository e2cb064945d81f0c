"""`ActionProbe`: which action a move between two frames shows, without network weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wmscore.functional._check import check_whole
from wmscore.functional.recovery._inputs import check_features, check_groups, kept_steps

__all__ = ["PROBE_STRENGTHS", "ActionProbe", "with_context"]

PROBE_STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
"""Ridges that a probe chooses from, in units of the variance of a standardised feature."""


@dataclass(frozen=True, eq=False)
class ActionProbe:
    r"""Linear inverse dynamics, fitted in closed form on reference rollouts.

    One probe per fold of scenarios, each fitted without the scenarios of its fold, and one on all.
    A row is judged by the probe that has not seen its scenario, whether it was generated or is the
    reference itself: the probe's own score on the reference is the ceiling of what can be told.

    *Discrete actions*: penalised discriminant analysis with equal priors. With the mean
    :math:`m_a` of the features under action a, and W the covariance around these means averaged
    over actions (so that an idle-heavy script does not outweigh the other actions),

    .. math:: \hat a(x) = \arg\max_a\; (x - \tfrac12 m_a)^\top (W + \lambda S)^{-1} m_a, \quad
        S = \mathrm{diag}(\text{feature variances})

    around the mean of the :math:`m_a`. Ridge regression onto one-hot targets spans the same
    directions, but its argmax *masks* an action that lies between others: of "left, idle, right"
    on one shift axis it never answers idle (Hastie, Tibshirani and Friedman 2009, section 4.2).
    Chance-corrected balanced accuracy out of fold, on 12 sprite scenarios and on 8 of VizDoom with
    simple motion features: this .95 / .26, ridge .82 / .21, multinomial logistic ridge (10 Newton
    steps, each of which needs all rows again) .94 / .24.

    *Continuous actions*: ridge regression.

    Features that are constant in the fitted rows are ignored. The strength :math:`\lambda` has
    the least squared error (of the ridge regression) on scenarios left out, within the fitted ones.

    Attributes:
        weight: ``[folds + 1, D, A]`` float64, the last one fitted on all scenarios.
        bias: ``[folds + 1, A]`` float64, -inf for an action that the fitted rows never show.
        strength: ``[folds + 1]`` float64, the ridge :math:`\lambda` chosen for each.
        fitted: ``[folds + 1]`` bool: the rows had at least two actions (two steps, if continuous).
        discrete: whether the A outputs are scores of actions or values of one.

    Source:
        Hastie, Buja and Tibshirani, "Penalized discriminant analysis", Annals of Statistics 1995.
    """

    weight: Tensor
    bias: Tensor
    strength: Tensor
    fitted: Tensor
    discrete: bool

    @property
    def folds(self) -> int:
        """Number of folds."""
        return len(self.strength) - 1

    def __repr__(self) -> str:
        """Sizes, no values."""
        _, features, actions = self.weight.shape
        kind = "num_actions" if self.discrete else "dimensions"
        return f"ActionProbe(features={features}, {kind}={actions}, folds={self.folds})"

    def can_judge(self, groups: Tensor | None, rows: int) -> Tensor:
        """``[B]`` bool: the probe that judges a row could be fitted. Mask other rows out.

        It could not where no other fold has scenarios: with a single scenario, say.
        """
        return self.fitted[self._which(groups, rows)]

    def outputs(self, features: Tensor, groups: Tensor | None = None) -> Tensor:
        """Score of each action, or the action's values.

        Args:
            features: ``[B, T, D]`` floating point, as the probe was fitted on.
            groups: ``[B]`` int64, the scenario of each row, numbered as in the fit. ``None``: no
                row is of a scenario that was fitted; the probe of all scenarios judges.

        Returns:
            ``[B, T, A]`` float64: discriminants, the highest of which is recognised; values, for a
            continuous action. NaN where features are not finite or the probe is not fitted.

        Raises:
            ValueError: shapes or devices do not fit.
            TypeError: not tensors, or of the wrong dtype.
        """
        check_features("features", features)
        if features.shape[-1] != self.weight.shape[1]:
            raise ValueError(
                f"features must have D = {self.weight.shape[1]}, as the probe was fitted on, got "
                f"{features.shape[-1]}"
            )
        which = self._which(groups, len(features), features.device)
        values = features.double()
        finite = values.isfinite().all(-1)
        found = (
            values.where(finite[..., None], 0.0) @ self.weight[which] + self.bias[which][:, None]
        )
        known = finite & self.fitted[which][:, None]
        return found.masked_fill(~known[..., None], torch.nan)

    def predict(self, features: Tensor, groups: Tensor | None = None) -> Tensor:
        """The recognised actions.

        Args:
            features: ``[B, T, D]`` floating point, as the probe was fitted on.
            groups: ``[B]`` int64, as for :meth:`outputs`.

        Returns:
            ``[B, T]`` int64, -1 where :meth:`outputs` is NaN; for a continuous action ``[B, T, A]``
            float64.
        """
        found = self.outputs(features, groups)
        if not self.discrete:
            return found
        return found.argmax(-1).where(found.isfinite().any(-1), -1)

    def _which(
        self, groups: Tensor | None, rows: int, device: torch.device | None = None
    ) -> Tensor:
        device = device or self.weight.device
        if device != self.weight.device:
            raise ValueError(
                f"features must be on {self.weight.device} like the probe, got {device}"
            )
        if groups is None:
            return torch.full((rows,), self.folds, device=device)
        check_groups(groups, rows, device)
        return groups.remainder(self.folds)


def with_context(features: Tensor, steps: int = 1, *, valid: Tensor | None = None) -> Tensor:
    """Features of each step beside those of the steps around it.

    For worlds with inertia, where a single move does not show its action. Where actions are held,
    a neighbour's move tells of this one's action too.

    Args:
        features: ``[B, T, D]`` floating point.
        steps: how many steps to either side.
        valid: bool, broadcasts to ``[B, T]``, steps that exist; ``None`` means all.

    Returns:
        ``[B, T, (2 * steps + 1) * D]``: steps t - steps .. t + steps. A neighbour that does not
        exist is replaced by the step itself.

    Raises:
        ValueError: shapes do not fit, or ``steps`` is negative.
        TypeError: not tensors, or of the wrong dtype.

    Example:
        >>> with_context(torch.tensor([[[1.0], [2.0], [3.0]]]))[0].tolist()
        [[1.0, 1.0, 2.0], [1.0, 2.0, 3.0], [2.0, 3.0, 3.0]]
    """
    check_features("features", features)
    check_whole("steps", steps)
    rows, count, _ = features.shape
    there = kept_steps(valid, (rows, count), features.device)
    here = torch.arange(count, device=features.device)
    sides = torch.arange(-steps, steps + 1, device=features.device)
    near = here[:, None] + sides  # [T, 2 * steps + 1]
    inside = (near >= 0) & (near < count)
    near = near.clamp(0, max(0, count - 1))
    exists = there[:, near] & inside  # [B, T, 2 * steps + 1]
    index = near.where(exists, here[:, None])
    every = torch.arange(rows, device=features.device)[:, None, None]
    return features[every, index].flatten(2)
