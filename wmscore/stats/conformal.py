"""Thresholds from data: how low must one be for a perfect model to pass?"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.stats._check import check_count, check_number, check_values, reason_where
from wmscore.stats._sums import sum_scenarios

__all__ = [
    "ConformalThreshold",
    "conformal_threshold",
    "joint_conformal_threshold",
    "scenarios_for",
]

_PIECE = 1 << 22  # values that are held at a time
_ROUNDING = 1e-9  # share by which a product with alpha may miss a whole number


class ConformalThreshold(NamedTuple):
    """What `conformal_threshold` and `joint_conformal_threshold` return, each ``[...]``.

    Attributes:
        threshold: float64, mean over the redraws; NaN where there are too few scenarios.
        sd: float64, standard deviation over the redraws: how much the choice of seeds matters.
            0 for a single seed.
        scenarios: int64, those that have a value.
        needed: int64, scenarios from which there is a threshold for alpha, whatever the values.
        reason: uint8, TOO_FEW_SAMPLES where `threshold` is NaN.
    """

    threshold: Tensor
    sd: Tensor
    scenarios: Tensor
    needed: Tensor
    reason: Tensor


def conformal_threshold(
    critical: Tensor, alpha: float = 0.05, *, redraws: int = 200, seed: int = 0
) -> ConformalThreshold:
    r"""Threshold under which at most a share alpha of fresh perfect rollouts fails.

    A rollout fails under a threshold above its critical value. Of one value per scenario, in
    order :math:`c_{(1)} \le \dots \le c_{(n)}`,

    .. math:: \tau = c_{(k)}, \quad k = \lfloor (n + 1) \alpha \rfloor

    is failed by a fresh rollout of a fresh scenario with a chance of :math:`k / (n + 1)` at most,
    whatever the distribution, since each of the n + 1 is equally likely to be the k-th lowest or
    lower. Below :math:`1 / \alpha - 1` scenarios there is none (k = 0).

    Seeds of one scenario are alike: to count each of them overstates n, and to take the worst is
    too lenient. So one seed of each scenario is drawn at random, and the threshold is the mean
    over many redraws. The bound is proved for one draw; for the mean it holds in simulations.

    Args:
        critical: ``[S, K, ...]``, floating point, of perfect rollouts: the true world against
            itself with another seed. See `wmscore.functional.critical_threshold`. Infinite for a
            rollout that cannot fail; NaN is missing: its scenario is drawn from the others.
        alpha: share of perfect rollouts that may fail, in (0, 1).
        redraws: of one seed per scenario, the same for all columns; a single seed needs one.
        seed: of the redraws.

    Returns:
        A `ConformalThreshold` of ``[...]`` tensors.

    Raises:
        TypeError: not a floating point tensor, or redraws not an int.
        ValueError: no dims S and K, no redraws, or an alpha outside (0, 1).

    Source:
        Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World (2005), chapter 2; one
        member per group as Dunn, Wasserman and Ramdas, Distribution-free prediction sets for
        two-layer hierarchical models, JASA (2022).

    Example:
        >>> import torch
        >>> critical = torch.linspace(0.05, 1, 20, dtype=torch.float64)[:, None]
        >>> found = conformal_threshold(critical, 0.1)  # the second lowest of 20
        >>> round(found.threshold.item(), 6), found.needed.item()
        (0.1, 9)
        >>> conformal_threshold(critical, 0.01).needed.item()
        99
    """
    _check(critical, alpha, redraws, seed, "[S, K, ...]", 2)
    inner = critical.shape[2:]
    values = critical.to(torch.float64).reshape(*critical.shape[:2], inner.numel())
    count = (~values.isnan()).any(1).sum(0)
    rank = ((count + 1) * alpha * (1 + _ROUNDING)).floor().long()  # k

    def lowest(drawn: Tensor) -> Tensor:
        """``[r, S, M]`` to ``[r, M]``."""
        ordered = drawn.sort(1).values  # NaN last
        place = (rank - 1).clamp(min=0).expand(len(drawn), 1, -1)
        found: Tensor = ordered.gather(1, place)[:, 0]
        return found.masked_fill(rank < 1, torch.nan)

    threshold, sd = _over_redraws(values, redraws, seed, lowest)
    needed = torch.full_like(count, scenarios_for(alpha))
    return ConformalThreshold(
        threshold.reshape(inner),
        sd.reshape(inner),
        count.reshape(inner),
        needed.reshape(inner),
        reason_where(threshold.isnan()).reshape(inner),
    )


def joint_conformal_threshold(
    critical: Tensor, alpha: float = 0.05, *, redraws: int = 200, seed: int = 0
) -> ConformalThreshold:
    r"""Thresholds of several axes, so that at most a share alpha fails on any of them.

    All axes take the value of the same rank j, the largest that keeps

    .. math:: 1 + \#\{i : r_{ia} \le j - 1 \text{ or } \min_{b \ne a} r_{ib} \le j\}
        \le (n + 1) \alpha \quad \text{for each axis } a

    where :math:`r_{ia}` is the number of rollouts that are no better than rollout i on axis a.
    With a fresh rollout among them, which fails on a, those of rank j on a move up; so no more than
    :math:`(n + 1) \alpha` of all n + 1 have a rank of at most j on any axis, and each is as likely
    to be the fresh one: the bound holds exactly, for any dependence between axes. With one axis it
    is `conformal_threshold`. For axes that fail together the thresholds are higher than those for
    :math:`\alpha / A` each, and never lower.

    Args:
        critical: ``[S, K, ..., A]``, floating point, axes last. As for `conformal_threshold`, but
            an axis that is NaN in a rollout cannot fail it; a rollout is missing where all are.
        alpha: as for `conformal_threshold`, of all axes together.
        redraws: as for `conformal_threshold`.
        seed: as for `conformal_threshold`.

    Returns:
        A `ConformalThreshold` of ``[..., A]`` tensors. There may be thresholds with fewer than
        `needed` scenarios, where axes fail together.

    Raises:
        TypeError: as for `conformal_threshold`.
        ValueError: no dims S, K and A; no redraws, or an alpha outside (0, 1).

    Source:
        Ranks of several scores as one: Messoudi, Destercke and Rousseau, Copula-based conformal
        prediction, Pattern Recognition 120 (2021); the exact bound for a finite sample is ours.

    Example:
        >>> import torch
        >>> same = torch.linspace(0.05, 1, 20, dtype=torch.float64)[:, None, None].expand(-1, 1, 3)
        >>> [round(t, 6) for t in joint_conformal_threshold(same, 0.1).threshold.tolist()]
        [0.05, 0.05, 0.05]
    """
    _check(critical, alpha, redraws, seed, "[S, K, ..., A]", 3)
    inner, axes = critical.shape[2:-1], critical.shape[-1]
    values = critical.to(torch.float64).reshape(*critical.shape[:2], inner.numel(), axes)
    missing = values.isnan().all(-1, keepdim=True)
    values = torch.where(values.isnan() & ~missing, torch.inf, values)
    count = (~missing[..., 0]).any(1).sum(0)
    allowed = ((count + 1) * alpha * (1 + _ROUNDING)).floor().long()

    def of_rank(drawn: Tensor) -> Tensor:
        """``[r, S, M * A]`` to ``[r, M * A]``."""
        by_axis = drawn.reshape(*drawn.shape[:2], -1, axes).permute(0, 2, 3, 1)  # [r, M, A, S]
        ordered = by_axis.contiguous().sort(-1).values
        rank = torch.searchsorted(ordered, by_axis.contiguous(), right=True)
        rank = torch.where(by_axis.isnan(), by_axis.shape[-1] + 2, rank)
        limit = torch.full_like(rank[:, :, 0, 0], by_axis.shape[-1])
        place = (allowed - 1).clamp(min=0).expand(len(drawn), -1)[..., None]
        for axis in range(axes):
            moved = torch.cat([rank[:, :, :axis], rank[:, :, axis + 1 :]], 2)
            moved = torch.cat([moved, rank[:, :, axis : axis + 1] + 1], 2).amin(2)  # [r, M, S]
            limit = torch.minimum(limit, moved.sort(-1).values.gather(-1, place)[..., 0] - 1)
        limit = torch.minimum(limit, count)
        at = (limit - 1).clamp(min=0)[..., None, None].expand(-1, -1, axes, 1)
        found: Tensor = ordered.gather(-1, at)[..., 0]
        none = (limit < 1) | (allowed < 1)
        return found.masked_fill(none[..., None], torch.nan).flatten(1)

    flat = values.flatten(2)
    threshold, sd = _over_redraws(flat, redraws, seed, of_rank)
    shape = critical.shape[2:]
    every = count[:, None].expand(-1, axes).reshape(shape)
    return ConformalThreshold(
        threshold.reshape(shape),
        sd.reshape(shape),
        every,
        torch.full_like(every, scenarios_for(alpha / axes)),
        reason_where(threshold.isnan()).reshape(shape),
    )


def scenarios_for(alpha: float) -> int:
    """The fewest scenarios that give a threshold for a share alpha: ``1 / alpha - 1``, rounded up.

    Example:
        >>> scenarios_for(0.05), scenarios_for(0.05 / 3)
        (19, 59)
    """
    check_number("alpha", alpha, 0.0, 1.0)
    return max(1, math.ceil(1 / alpha * (1 - _ROUNDING)) - 1)


def _check(
    critical: object, alpha: object, redraws: object, seed: object, layout: str, least: int
) -> None:
    check_values("critical", critical)
    assert isinstance(critical, Tensor)
    if critical.ndim < least or (least == 3 and critical.shape[-1] == 0):
        raise ValueError(f"critical must have shape {layout}, got {tuple(critical.shape)}")
    check_number("alpha", alpha, 0.0, 1.0)
    check_count("redraws", redraws)
    check_count("seed", seed, low=0)


def _over_redraws(
    values: Tensor, redraws: int, seed: int, threshold: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Mean and deviation ``[M]`` of what `threshold` says of one seed per scenario.

    Of values ``[S, K, M]`` a seed that is there is drawn, the same in all columns where none is
    missing; NaN where all are missing.
    """
    scenarios, seeds, columns = values.shape
    if scenarios == 0 or seeds == 0:
        nothing = values.new_full((columns,), torch.nan)
        return nothing, nothing.clone()
    missing = values.isnan()
    there = (~missing).sum(1)  # [S, M]
    order = missing.to(torch.uint8).argsort(dim=1, stable=True)  # those that are there, first
    values = values.gather(1, order).movedim(1, 0)  # [K, S, M]
    redraws = redraws if seeds > 1 else 1
    generator = torch.Generator().manual_seed(seed)
    chance = torch.rand(redraws, scenarios, 1, generator=generator, dtype=torch.float64)
    chance = chance.to(values.device)
    found = []
    step = max(1, _PIECE // max(1, scenarios * columns))
    for start in range(0, redraws, step):
        pick = (chance[start : start + step] * there).long()
        pick = torch.minimum(pick, (there - 1).clamp(min=0))
        found.append(threshold(values.gather(0, pick)))
    drawn = torch.cat(found)
    # Draws that all say the same say just that: an ulp more would fail what equals it.
    mean = sum_scenarios(drawn) / redraws
    mean = torch.minimum(torch.maximum(mean, drawn.amin(0)), drawn.amax(0))
    variance = sum_scenarios((drawn - mean).square()) / redraws
    sd = torch.where(mean.isinf(), 0.0, variance.sqrt())
    return mean, sd
