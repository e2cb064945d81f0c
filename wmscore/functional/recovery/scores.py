"""Scores of a confusion matrix of actions that chance, idleness and rarity cannot flatter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.functional._check import check_number, check_tensor
from wmscore.functional.reasons import Reason

__all__ = ["RecoveredShare", "RecoveryScores", "recovered_share", "recovery_from_confusion"]


@dataclass(frozen=True, kw_only=True, eq=False)
class RecoveryScores:
    """How well commanded actions are recognised. See :func:`recovery_from_confusion`.

    Actions that are never commanded are left out of every average: NaN with TOO_FEW_ACTIONS.

    Attributes:
        confusion: ``[..., A, A]`` int64, steps by commanded (row) and recognised action (column).
        unrecognised: ``[..., A]`` int64, commanded steps for which no action was recognised; they
            are misses.
        recall: ``[..., A]`` float64 in [0, 1], share of an action's steps that are recognised.
        precision: ``[..., A]`` float64 in [0, 1], share of the steps recognised as the action that
            are; NaN also for an action that is never recognised.
        f1: ``[..., A]`` float64 in [0, 1], harmonic mean of the two; 0 without a hit.
        action_reason: ``[..., A]`` uint8, a :class:`Reason`: TOO_FEW_ACTIONS where never commanded.
        score: ``[...]`` float64, balanced accuracy corrected for chance, (K x balanced accuracy
            - 1) / (K - 1) for K commanded actions: 1 = all recognised, 0 = chance and exactly 0
            for any one constant answer out of the K, at worst -1 / (K - 1). Higher is better.
        balanced_accuracy: ``[...]`` float64 in [0, 1], mean recall; chance is 1 / K.
        kappa: ``[...]`` float64 in [-1, 1], Cohen's: agreement beyond that of the two margins. 0
            for a constant answer.
        macro_f1: ``[...]`` float64 in [0, 1], mean F1. Not 0 for a constant answer.
        accuracy: ``[...]`` float64 in [0, 1], share of steps recognised, which idle steps flatter;
            other tools call it micro precision or micro F1. Shown for comparison.
        majority_accuracy: ``[...]`` float64 in [0, 1], the accuracy of always answering the most
            frequent action, beside which any accuracy must be read.
        chance_z: ``[...]`` float64, standard deviations of ``score`` above its mean under random
            permutations of the commanded steps (exact moments). Steps are taken as independent:
            held actions make it too large.
        reason: ``[...]`` uint8, a :class:`Reason`: TOO_FEW_ACTIONS below two commanded actions
            makes all of these NaN but the accuracies, which need one.
    """

    confusion: Tensor
    unrecognised: Tensor
    recall: Tensor
    precision: Tensor
    f1: Tensor
    action_reason: Tensor
    score: Tensor
    balanced_accuracy: Tensor
    kappa: Tensor
    macro_f1: Tensor
    accuracy: Tensor
    majority_accuracy: Tensor
    chance_z: Tensor
    reason: Tensor

    @property
    def never_commanded(self) -> Tensor:
        """``[..., A]`` bool, the actions that are left out."""
        return self.action_reason == Reason.TOO_FEW_ACTIONS

    def __repr__(self) -> str:
        """Sizes, no values."""
        *leading, actions, _ = self.confusion.shape
        return f"{type(self).__name__}(shape={leading}, num_actions={actions})"


class RecoveredShare(NamedTuple):
    """Score relative to its ceiling. See :func:`recovered_share`.

    Attributes:
        value: ``[...]`` float64, 1 = as recognisable as the reference, 0 = chance; may pass 1.
        reason: ``[...]`` uint8, a :class:`Reason`.
    """

    value: Tensor
    reason: Tensor


def recovery_from_confusion(
    confusion: Tensor, *, unrecognised: Tensor | None = None
) -> RecoveryScores:
    r"""Scores of counted steps: of sums over batches and ranks, say.

    .. math:: \text{score} = \frac{\bar r - 1/K}{1 - 1/K}, \quad
        \bar r = \frac1K \sum_{a: n_a > 0} \frac{c_{aa}}{n_a}, \quad
        \kappa = \frac{n \sum_a c_{aa} - \sum_a n_a m_a}{n^2 - \sum_a n_a m_a}

    for counts c, commanded totals n, recognised totals m and K commanded actions.

    Args:
        confusion: ``[..., A, A]`` int64, commanded by recognised.
        unrecognised: ``[..., A]`` int64, commanded steps without a recognised action; ``None``
            means none.

    Returns:
        :class:`RecoveryScores` of leading dims ``[...]``.

    Raises:
        ValueError: shapes do not fit.
        TypeError: not int64 tensors.

    Source:
        Balanced accuracy: Brodersen et al., "The balanced accuracy and its posterior
        distribution", ICPR 2010; adjusted for chance as in scikit-learn. Kappa: Cohen, "A
        coefficient of agreement for nominal scales", 1960.

    Example:
        Idle steps flatter accuracy, and an answer that is always "idle":

        >>> found = recovery_from_confusion(torch.tensor([[76, 0, 0], [12, 0, 0], [12, 0, 0]]))
        >>> found.accuracy.item(), found.score.item(), found.kappa.item()
        (0.76, 0.0, 0.0)
    """
    _check_counts("confusion", confusion)
    if confusion.ndim < 2 or confusion.shape[-1] != confusion.shape[-2]:
        raise ValueError(f"confusion must have shape [..., A, A], got {tuple(confusion.shape)}")
    if unrecognised is None:
        unrecognised = torch.zeros_like(confusion[..., 0])
    _check_counts("unrecognised", unrecognised)
    if unrecognised.shape != confusion.shape[:-1]:
        raise ValueError(
            f"unrecognised must have shape [..., A] = {tuple(confusion.shape[:-1])}, got "
            f"{tuple(unrecognised.shape)}"
        )
    counts = confusion.double()
    hits = counts.diagonal(dim1=-2, dim2=-1)
    commanded = counts.sum(-1) + unrecognised  # n_a
    recognised = counts.sum(-2)  # m_a
    steps = commanded.sum(-1)
    seen = commanded > 0
    actions = seen.sum(-1).double()
    few = actions < 2

    recall = hits / commanded  # NaN where never commanded
    f1 = (2 * hits / (commanded + recognised)).masked_fill(~seen, torch.nan)
    recalls = recall.where(seen, 0.0).sum(-1)
    together = (commanded * recognised).sum(-1)  # n^2 times the agreement of the margins
    total = hits.sum(-1)

    def of_several(values: Tensor) -> Tensor:
        return values.masked_fill(few, torch.nan)

    reason = few.to(torch.uint8) * int(Reason.TOO_FEW_ACTIONS)
    return RecoveryScores(
        confusion=confusion,
        unrecognised=unrecognised,
        recall=recall,
        precision=(hits / recognised).masked_fill(~seen, torch.nan),
        f1=f1,
        action_reason=(~seen).to(torch.uint8) * int(Reason.TOO_FEW_ACTIONS),
        # In this form a constant answer, whose recalls add up to 1, scores 0 to the last bit.
        score=of_several((recalls - 1) / (actions - 1)),
        balanced_accuracy=of_several(recalls / actions),
        kappa=of_several((steps * total - together) / (steps.square() - together)),
        macro_f1=of_several(f1.where(seen, 0.0).sum(-1) / actions),
        accuracy=total / steps,
        majority_accuracy=commanded.amax(-1) / steps,
        chance_z=of_several(_above_chance(recalls, commanded, recognised, seen)),
        reason=reason,
    )


def recovered_share(
    found: RecoveryScores, ceiling: RecoveryScores, *, min_z: float = 2.33
) -> RecoveredShare:
    """The score of generated rollouts relative to that of the reference itself.

    What the recogniser cannot tell on the reference, no model can show it: a score of .4 is
    perfect where the ceiling is .4. Ratios are undefined where the ceiling is chance.

    Args:
        found: scores on generated rollouts, leading dims ``[...]``.
        ceiling: the same recogniser's scores on the reference, out of fold for a fitted probe;
            leading dims that broadcast to ``[...]``, such as one pooled ceiling for all rows.
        min_z: ``ceiling.chance_z`` from which the ceiling is above chance; 2.33 is p = 0.01.

    Returns:
        :class:`RecoveredShare`: NO_EFFECT where the ceiling is not above chance, TOO_FEW_ACTIONS
        where one of the scores is NaN.

    Raises:
        ValueError: ``min_z`` is negative.
        TypeError: ``min_z`` is not a number.
    """
    check_number("min_z", min_z, low=0.0)
    silent = (ceiling.score <= 0) | ~(ceiling.chance_z >= min_z)
    few = found.score.isnan() | ceiling.score.isnan()
    value = (found.score / ceiling.score).masked_fill(silent | few, torch.nan)
    reason = torch.zeros_like(value, dtype=torch.uint8)
    reason.masked_fill_(silent, Reason.NO_EFFECT).masked_fill_(few, Reason.TOO_FEW_ACTIONS)
    return RecoveredShare(value, reason)


def _above_chance(recalls: Tensor, commanded: Tensor, recognised: Tensor, seen: Tensor) -> Tensor:
    """Standard score of the sum of recalls when commanded steps are permuted.

    Hits of an action are hypergeometric, and those of two actions covary through the margins.
    """
    steps = commanded.sum(-1, keepdim=True)
    found = recognised.where(seen, 0.0)
    mean = (found / steps).sum(-1)
    own = (found * (steps - recognised) * (steps - commanded) / commanded).where(seen, 0.0).sum(-1)
    others = found.sum(-1).square() - found.square().sum(-1)
    steps = steps[..., 0]
    variance = (own + others) / (steps.square() * (steps - 1))
    # A constant answer's recalls do not vary at all: it is where chance puts it.
    deviation = variance.clamp(min=0).sqrt()
    return ((recalls - mean) / deviation).where(deviation > 1e-9, 0.0)


def _check_counts(name: str, counts: Tensor) -> None:
    check_tensor(name, counts)
    if counts.dtype != torch.int64:
        raise TypeError(f"{name} must be int64 counts, got {counts.dtype}")
