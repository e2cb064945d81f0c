"""Ridge solutions of all folds at once, from moments, and the strength of the ridge."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.functional.distributions.moments import FeatureMoments

__all__ = ["Solution", "solve_continuous", "solve_discrete"]

_ROUNDING = 1e-12  # share of a feature's magnitude below which its deviation is rounding


class Solution(NamedTuple):
    """Coefficients of R = folds + 1 probes, the last one of all folds.

    Attributes:
        weight: ``[R, D, A]``.
        bias: ``[R, A]``; -inf for an action that the probe never saw.
        strength: ``[R]``, the ridge that was chosen.
        fitted: ``[R]`` bool.
    """

    weight: Tensor
    bias: Tensor
    strength: Tensor
    fitted: Tensor


class _Joint(NamedTuple):
    """Mean ``[..., D + A]`` and covariance of features and targets together; whether enough."""

    mean: Tensor
    covariance: Tensor
    enough: Tensor


def solve_discrete(moments: FeatureMoments, strengths: Tensor) -> Solution:
    """Penalised discriminant analysis with equal priors, of moments ``[F, A]``."""
    width = moments.features
    joint = _balanced(moments.combined(_without_one(moments)))
    chosen = _choose(joint, moments, width, strengths)
    scale = _scale(joint, width)
    share = joint.mean[:, width:]  # 1 / K for each of the K actions that the fold shows
    seen = share > 0
    apart = joint.covariance[:, width:, :width] / share.where(seen, torch.inf)[..., None]
    total = joint.covariance[:, :width, :width]
    within = total - (apart * share[..., None]).mT @ apart
    weight = _ridge(within, apart.mT, scale, chosen)
    centre = joint.mean[:, :width]
    # Half way between the means: with equal priors, that is where two actions are as likely.
    half = 0.5 * (apart.mT * weight).sum(1) + (centre[..., None] * weight).sum(1)
    bias = (-half).where(seen, -torch.inf)
    return Solution(weight, bias, chosen, joint.enough)


def solve_continuous(moments: FeatureMoments, width: int, strengths: Tensor) -> Solution:
    """Ridge regression of the last values on the first ``width``, of moments ``[F, 1]``."""
    joint = _pooled(moments.combined(_without_one(moments)))
    chosen = _choose(joint, moments, width, strengths)
    covariance = joint.covariance
    weight = _ridge(
        covariance[:, :width, :width], covariance[:, :width, width:], _scale(joint, width), chosen
    )
    bias = joint.mean[:, width:] - (joint.mean[:, :width, None] * weight).sum(1)
    return Solution(weight, bias, chosen, joint.enough)


def _without_one(moments: FeatureMoments) -> Tensor:
    """``[F + 1, F]``: every fold left out in turn, then none."""
    every = moments.mean.new_ones(1, len(moments.count))
    return torch.cat([every - _eye(len(moments.count), every), every])


def _eye(size: int, like: Tensor) -> Tensor:
    return torch.eye(size, dtype=like.dtype, device=like.device)


def _balanced(moments: FeatureMoments) -> _Joint:
    """Features with one-hot targets, each action that occurs weighing the same in all."""
    kept = (moments.count > 0).double()  # [R, A]
    actions = kept.sum(-1, keepdim=True)
    share = kept / actions.clamp(min=1)
    centre = (share[..., None] * moments.mean).sum(-2)
    apart = (moments.mean - centre[..., None, :]) * kept[..., None]
    each = share / moments.count.clamp(min=1)
    within = (each[..., None, None] * moments.scatter).sum(-3)
    cross = (share[..., None] * apart).mT  # [R, D, A]
    targets = torch.diag_embed(share) - share[..., None] * share[..., None, :]
    covariance = torch.cat(
        [
            torch.cat([within + cross @ apart, cross], dim=-1),
            torch.cat([cross.mT, targets], dim=-1),
        ],
        dim=-2,
    )
    return _Joint(torch.cat([centre, share], -1), covariance, actions[..., 0] >= 2)


def _pooled(moments: FeatureMoments) -> _Joint:
    count = moments.count[..., 0]
    covariance = moments.scatter[..., 0, :, :] / count.clamp(min=1)[..., None, None]
    return _Joint(moments.mean[..., 0, :], covariance, count >= 2)


def _scale(joint: _Joint, width: int) -> Tensor:
    """Standard deviation ``[..., D]`` of each feature in the fitted rows; inf for a constant."""
    deviation = joint.covariance.diagonal(dim1=-2, dim2=-1)[..., :width].clamp(min=0).sqrt()
    constant = deviation <= _ROUNDING * joint.mean[..., :width].abs()
    return deviation.masked_fill(constant, torch.inf)


def _ridge(covariance: Tensor, cross: Tensor, scale: Tensor, strength: Tensor) -> Tensor:
    """Coefficients ``[..., D, A]`` in the features' own units."""
    standard = covariance / scale[..., None] / scale[..., None, :]
    ridge = torch.diag_embed(strength[..., None].expand(scale.shape))
    factor = torch.linalg.cholesky_ex(standard + ridge)[0]
    return torch.cholesky_solve(cross / scale[..., None], factor) / scale[..., None]


def _choose(joint: _Joint, moments: FeatureMoments, width: int, strengths: Tensor) -> Tensor:
    """Strength ``[R]`` with the least squared error on scenarios that were not fitted.

    Nested: the probe of a fold takes its strength from what the other folds say about each other,
    since a strength that was chosen on the held-out scenarios would flatter the ceiling. Errors
    follow from moments alone, so that no rollout is read again.
    """
    folds = len(moments.count)
    to_joint = _balanced if moments.count.shape[1] > 1 else _pooled
    outer = _without_one(moments)  # [R, F]
    both = outer[:, None] * (1 - _eye(folds, outer))  # [R, G, F]: G is judged
    train = to_joint(moments.combined(both.flatten(0, 1)))
    judged = to_joint(moments)
    levels = len(strengths)

    def per_level(values: Tensor) -> Tensor:
        return values[:, None].expand(-1, levels, *values.shape[1:])

    weight = _ridge(
        per_level(train.covariance[:, :width, :width]),
        per_level(train.covariance[:, :width, width:]),
        per_level(_scale(train, width)),
        strengths.expand(len(train.mean), levels),
    )
    own = _eye(weight.shape[-1], weight).expand(*weight.shape[:2], -1, -1)
    residual = torch.cat([-weight, own], -2)
    residual = residual.view(folds + 1, folds, levels, *residual.shape[-2:])  # [R, G, L, D + A, A]
    spread = (residual * (judged.covariance[:, None] @ residual)).sum(-2)  # [R, G, L, A]
    miss = judged.mean - train.mean.view(folds + 1, folds, -1)
    offset = (miss[:, :, None, :, None] * residual).sum(-2)
    # One unit per dimension of a continuous action; for one-hot targets this changes nothing.
    variance = joint.covariance.diagonal(dim1=-2, dim2=-1)[:, None, None, width:]
    error = ((spread + offset.square()) / variance.where(variance > 0, torch.inf)).sum(-1)
    usable = (outer > 0) & train.enough.view(folds + 1, folds) & (moments.count.sum(-1) > 0)
    total = error.where(usable[..., None], 0.0).sum(1)
    best = strengths[total.argmin(-1)]
    return best.where(usable.any(-1), strengths[levels // 2])
