"""How much of a Fréchet distance is there because the samples are few."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from wmscore.functional._check import check_count
from wmscore.functional.distributions._rows import check_feature_pair, check_features
from wmscore.functional.distributions.frechet import frechet_distance_from_features
from wmscore.functional.distributions.intervals import Clusters, half_samples

__all__ = [
    "FrechetExtrapolation",
    "SameDistributionFloor",
    "frechet_distance_extrapolated",
    "same_distribution_floor",
]


class _HasDistance(Protocol):
    @property
    def distance(self) -> Tensor: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class FrechetExtrapolation:
    """A Fréchet distance at several sample sizes, and where they point to.

    Attributes:
        extrapolated: ``[...]`` float64, the line's value at 1 / n = 0.
        distance: ``[...]``, over all rows.
        bias: ``[...]``, the difference.
        relative_sizes: ``[F]``, 1 over the relative sample size: 1 for all rows, 2 for a half.
        distances: ``[F, ...]``, mean over repeats at each.
        worst_residual: ``[...]``, the largest distance of a point from the line. Where it is not
            small beside ``bias``, sizes are too small for the line to hold.
    """

    extrapolated: Tensor
    distance: Tensor
    bias: Tensor
    relative_sizes: Tensor
    distances: Tensor
    worst_residual: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class SameDistributionFloor:
    """Distances between random halves of one set. See :func:`same_distribution_floor`.

    Attributes:
        mean: ``[...]`` float64.
        distances: ``[splits, ...]``.
        rows: rows of the smaller half.
    """

    mean: Tensor
    distances: Tensor
    rows: int


def frechet_distance_extrapolated(
    preds: Tensor,
    target: Tensor,
    *,
    preds_clusters: Tensor | None = None,
    target_clusters: Tensor | None = None,
    sizes: int = 6,
    smallest: float = 0.5,
    repeats: int = 20,
    seed: int = 0,
) -> FrechetExtrapolation:
    """Fréchet distance extrapolated to infinite samples, with the bias of the finite ones.

    The bias is about proportional to 1 / n, so a line through the distances of random subsets over
    1 / n meets 1 / n = 0 near the distance of the distributions (Chong and Forsyth 2020,
    arXiv:1911.07023). There the reference statistics are fixed; here both sets are finite and both
    are thinned, over (1 / n + 1 / m). The law is asymptotic: it wants n well above D.

    Args:
        preds: features of generated samples ``[..., N, D]``; leading dims share the draws.
        target: features of reference samples ``[..., M, D]``.
        preds_clusters: ``[N]`` integers, rows (scenarios) to be kept together; None for none.
        target_clusters: ``[M]`` integers; ids that are in both sets are drawn in both at once.
        sizes: sample sizes F, evenly spaced, the whole one included.
        smallest: share of the rows in the smallest, below 1.
        repeats: subsets drawn of each size; the whole is computed once.
        seed: of the draws, which are made on the host.

    Returns:
        A :class:`FrechetExtrapolation`.

    Raises:
        TypeError: not tensors, or of the wrong dtype.
        ValueError: shapes do not fit, only one of the cluster arguments is given, fewer than 2
            sizes, or a subset with fewer than 2 rows.

    Example:
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> found = frechet_distance_extrapolated(torch.randn(400, 16), torch.randn(400, 16))
        >>> round(found.distance.item(), 2)  # of one distribution and itself: all of it is bias
        0.49
        >>> bool(found.extrapolated < 0.25)
        True
    """
    check_feature_pair(preds, target)
    check_count("sizes", sizes)
    check_count("repeats", repeats)
    if sizes < 2 or not 0 < smallest < 1:
        raise ValueError(
            f"a line needs sizes >= 2 and smallest in (0, 1), got {sizes} and {smallest}"
        )
    n, m = preds.shape[-2], target.shape[-2]
    clusters = _clusters(preds_clusters, target_clusters, n, m)
    generator = torch.Generator().manual_seed(seed)
    whole = frechet_distance_from_features(preds, target).distance
    thinness, points = [], []
    for step in range(sizes - 1):
        share = smallest + (1 - smallest) * step / (sizes - 1)
        for _ in range(repeats):
            ours, theirs = clusters.rows_of(_subset(clusters.strata, share, generator))
            subset = frechet_distance_from_features(
                preds.index_select(-2, ours.to(preds.device)),
                target.index_select(-2, theirs.to(target.device)),
            )
            thinness.append((1 / len(ours) + 1 / len(theirs)) / (1 / n + 1 / m))
            points.append(subset.distance)
    relative = torch.tensor(thinness, dtype=torch.float64).reshape(sizes - 1, repeats).mean(1)
    relative = torch.cat([relative, torch.ones(1, dtype=torch.float64)]).to(preds.device)
    if max(thinness) <= 1:
        raise ValueError(
            f"smallest: {smallest} of these rows is all of them, so that there is nothing to "
            "extrapolate from; give a smaller share, or more rows"
        )
    means = torch.stack(points).reshape(sizes - 1, repeats, *whole.shape).mean(1)
    distances = torch.cat([means, whole[None]])
    flat = distances.reshape(sizes, -1)
    centred = relative - relative.mean()
    slope = (centred @ flat) / centred.square().sum()
    start = flat.mean(0) - slope * relative.mean()
    residual = (flat - start - slope * relative[:, None]).abs().amax(0)
    extrapolated = start.reshape(whole.shape)
    return FrechetExtrapolation(
        extrapolated=extrapolated,
        distance=whole,
        bias=whole - extrapolated,
        relative_sizes=relative,
        distances=distances,
        worst_residual=residual.reshape(whole.shape),
    )


def same_distribution_floor(
    target: Tensor,
    *,
    clusters: Tensor | None = None,
    distance: Callable[[Tensor, Tensor], _HasDistance] = frechet_distance_from_features,
    splits: int = 10,
    seed: int = 0,
) -> SameDistributionFloor:
    """What a model that draws from the reference distribution itself would score.

    Distances between disjoint random halves of the reference. A half has half of the rows: to know
    the floor of n generated against m reference rows, give at least n + m reference rows, or
    remember that the bias falls as 1 / n.

    Args:
        target: features of reference samples ``[..., M, D]``.
        clusters: ``[M]`` integers, rows (scenarios) to be kept together. Without them frames of one
            scenario end up in both halves, and the floor is too low.
        distance: any distance of two sets whose result has a ``distance``.
        splits: number of random splits.
        seed: of the splits, which are made on the host.

    Returns:
        A :class:`SameDistributionFloor`.

    Raises:
        TypeError: not a tensor, or of the wrong dtype.
        ValueError: fewer than 4 rows or clusters.

    Example:
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> floor = same_distribution_floor(torch.randn(200, 16))
        >>> floor.rows, bool(floor.mean > 1)  # of 16 features: far from 0
        (100, True)
    """
    check_features("target", target, least=4)
    check_count("splits", splits)
    ids = torch.arange(target.shape[-2]) if clusters is None else clusters
    known = Clusters.of(ids, ids, (target.shape[-2],) * 2)
    values, rows = [], target.shape[-2]
    for pick in half_samples(known.strata, 2 * splits, seed)[::2]:
        (first, _), (second, _) = known.rows_of(pick), known.rows_of(~pick)
        rows = min(rows, len(first), len(second))
        halves = [target.index_select(-2, part.to(target.device)) for part in (first, second)]
        values.append(distance(halves[0], halves[1]).distance)
    distances = torch.stack(values)
    return SameDistributionFloor(mean=distances.mean(0), distances=distances, rows=rows)


def _clusters(preds: Tensor | None, target: Tensor | None, n: int, m: int) -> Clusters:
    if preds is None and target is None:  # each row for itself
        ids = torch.arange(n + m)
        preds, target = ids[:n], ids[n:]
    if preds is None or target is None:
        raise ValueError("preds_clusters and target_clusters go together, got only one of them")
    return Clusters.of(preds, target, (n, m))


def _subset(strata: list[Tensor], share: float, generator: torch.Generator) -> Tensor:
    """That share of the clusters of each stratum, ``[K]`` bool."""
    pick = torch.zeros(sum(map(len, strata)), dtype=torch.bool)
    for indices in strata:
        order = torch.randperm(len(indices), generator=generator)
        pick[indices[order[: round(share * len(indices))]]] = True
    return pick
