"""Intervals of distribution distances, with scenarios as the unit that is drawn anew."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wmscore.functional._check import check_count, check_number, check_tensor
from wmscore.functional.distributions._rows import check_feature_pair, reason_of, rows_of
from wmscore.functional.distributions.frechet import (
    frechet_distance,
    frechet_distance_from_features,
)
from wmscore.functional.distributions.kernels import Kernel, KernelSums, PolynomialKernel
from wmscore.functional.distributions.moments import FeatureMoments
from wmscore.functional.reasons import Reason
from wmscore.stats import student_quantile

__all__ = [
    "Clusters",
    "DistanceInterval",
    "frechet_interval",
    "frechet_interval_from_moments",
    "kernel_interval",
]

_SETS_BYTES = 1 << 28  # of moments of drawn sets that are held at a time


@dataclass(frozen=True, kw_only=True, eq=False)
class DistanceInterval:
    """A distance, how uncertain it is, and how large its small-sample bias.

    The interval is for the value that the estimator has on average *at these sample sizes*: what
    one compares between models on one panel. A biased estimator's bias is in it. Shift both ends by
    ``-bias`` for an interval of the distance of the distributions themselves.

    Attributes:
        distance: ``[...]`` float64, over all rows.
        low: ``[...]``, may be below 0 where the distance is near it.
        high: ``[...]``.
        standard_error: ``[...]``.
        bias: ``[...]``, estimate of the small-sample bias: what halving the clusters adds. Not 0
            for an "unbiased" kernel distance either, where rows of a cluster depend on each other.
        reason: ``[...]`` uint8 :class:`Reason` codes; where not 0, the above are NaN. Only the
            distance may stand where halves have too few rows.
        clusters: number of clusters in both sets together.
        confidence: of the interval.
    """

    distance: Tensor
    low: Tensor
    high: Tensor
    standard_error: Tensor
    bias: Tensor
    reason: Tensor
    clusters: int
    confidence: float

    @property
    def debiased(self) -> Tensor:
        """The distance less its bias: linear extrapolation in 1 / n from n / 2 and n."""
        return self.distance - self.bias


@dataclass(frozen=True, eq=False)
class Clusters:
    """Which cluster each row belongs to, on the host.

    Attributes:
        preds: ``[N]`` int64, 0..K-1.
        target: ``[M]`` int64, 0..K-1.
        strata: clusters that have rows in both sets, in one, in the other: indices of each.
    """

    preds: Tensor
    target: Tensor
    strata: list[Tensor]

    @classmethod
    def of(cls, preds: Tensor, target: Tensor, rows: tuple[int, int]) -> Clusters:
        """Number the ids; both sets share them."""
        for name, ids, count in (
            ("preds_clusters", preds, rows[0]),
            ("target_clusters", target, rows[1]),
        ):
            check_tensor(name, ids)
            if ids.is_floating_point() or ids.shape != (count,):
                raise ValueError(
                    f"{name} must be integers of shape ({count},), one for each row, "
                    f"got {ids.dtype} {tuple(ids.shape)}"
                )
        joined = torch.cat([preds.cpu().long(), target.cpu().long()])
        known, codes = torch.unique(joined, return_inverse=True)
        ours, theirs = codes[: rows[0]], codes[rows[0] :]
        here = torch.zeros(2, len(known), dtype=torch.bool)
        here[0, ours], here[1, theirs] = True, True
        return cls(ours, theirs, strata_of(here[0], here[1]))

    @property
    def count(self) -> int:
        """Number of clusters K."""
        return sum(map(len, self.strata))

    def rows_of(self, pick: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of either set whose clusters are picked, ``[K]`` bool."""
        return pick[self.preds].nonzero()[:, 0], pick[self.target].nonzero()[:, 0]

    def one_hot(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Membership ``[N, K]`` and ``[M, K]``, float64."""
        eye = torch.eye(self.count, dtype=torch.float64)
        return eye[self.preds].to(device), eye[self.target].to(device)


def frechet_interval(
    preds: Tensor,
    target: Tensor,
    *,
    preds_clusters: Tensor,
    target_clusters: Tensor,
    draws: int = 200,
    confidence: float = 0.95,
    seed: int = 0,
) -> DistanceInterval:
    r"""Fréchet distance with an interval, rows of one scenario kept together.

    Each draw takes a random half of the scenarios *without* replacement, and the spread of the
    halves' distances is the standard error: a half without replacement varies by
    :math:`\sigma^2/b\,(1 - b/K) = \sigma^2/K` for b = K / 2, as the whole sample does (the delete-
    half jackknife, Shao and Wu 1989). A bootstrap would repeat scenarios: repeated rows add nothing
    to a covariance, so each resample looks like a smaller sample, and the percentiles of a
    distance that grows as n falls lie above the estimate itself. Halves have more bias, too, but it
    leaves the spread alone and is reported. The quantile is Student's with K - 1 degrees of
    freedom (one less for each further kind of scenario), as few scenarios are the rule. Simulated
    coverage of 95 % intervals with 6 to 30 scenarios: 93 to 97 % where the distributions differ,
    99 % and more where they do not (the spread of a distance near 0 is not that of a mean, and the
    interval errs to the wide side).

    Args:
        preds: features of generated samples ``[..., N, D]``; leading dims share the draws.
        target: features of reference samples ``[..., M, D]``.
        preds_clusters: ``[N]`` integers, the scenario of each row, on any device.
        target_clusters: ``[M]`` integers. A scenario in both sets is drawn in both at once; give
            sets that are independent ids of their own.
        draws: number of halves, even: each comes with its complement.
        confidence: of the interval.
        seed: of the draws, which are made on the host: the same on each device.

    Returns:
        A :class:`DistanceInterval`.

    Raises:
        TypeError: not tensors, or of the wrong dtype.
        ValueError: shapes do not fit, fewer than 4 scenarios, or of those in one set only fewer
            than 2.

    Example:
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> scenario = torch.arange(40) // 4
        >>> found = frechet_interval(1 + torch.randn(40, 8), torch.randn(40, 8),
        ...                          preds_clusters=scenario, target_clusters=scenario)
        >>> bool(found.low < found.distance), bool(found.bias > 0), found.clusters
        (True, True, 10)
    """
    check_feature_pair(preds, target)
    clusters = Clusters.of(preds_clusters, target_clusters, (preds.shape[-2], target.shape[-2]))
    picks = half_samples(clusters.strata, draws, seed)
    whole = frechet_distance_from_features(preds, target)
    values = []
    for pick in picks:
        ours, theirs = clusters.rows_of(pick)
        if min(len(ours), len(theirs)) < 2:
            raise ValueError(
                "a half of the clusters must have at least 2 rows in preds and in target, "
                f"got {len(ours)} and {len(theirs)}"
            )
        half = frechet_distance_from_features(
            preds.index_select(-2, ours.to(preds.device)),
            target.index_select(-2, theirs.to(target.device)),
        )
        values.append(half.distance)
    return _interval(whole.distance, whole.reason, torch.stack(values), clusters.strata, confidence)


def frechet_interval_from_moments(
    preds: FeatureMoments,
    target: FeatureMoments,
    *,
    draws: int = 200,
    confidence: float = 0.95,
    seed: int = 0,
) -> DistanceInterval:
    """The interval of :func:`frechet_interval` from one moment per scenario, for streams.

    Halves are merged from the scenarios' moments, exactly and with one matrix product.

    Args:
        preds: moments ``[K, ...]`` of the K scenarios; a count of 0 where one has no rows.
        target: moments ``[K, ...]`` of the same scenarios, in the same order.
        draws: number of halves, even.
        confidence: of the interval.
        seed: of the draws.

    Returns:
        A :class:`DistanceInterval` of leading dims ``[...]``.

    Raises:
        ValueError: shapes do not fit, or as in :func:`frechet_interval`.
    """
    if preds.count.ndim == 0 or preds.mean.shape != target.mean.shape:
        raise ValueError(
            "preds and target must have moments [K, ...] of the same K clusters, "
            f"got means {tuple(preds.mean.shape)} and {tuple(target.mean.shape)}"
        )
    here = [(side.count > 0).reshape(len(side.count), -1).any(1).cpu() for side in (preds, target)]
    strata = strata_of(here[0], here[1])
    picks = half_samples(strata, draws, seed).to(preds.mean)
    whole = frechet_distance(preds.merged(), target.merged())
    size = max(1, _SETS_BYTES // (8 * max(1, preds.scatter[0].numel())))
    values = [
        frechet_distance(preds.combined(part), target.combined(part)).distance
        for part in (picks[i : i + size] for i in range(0, draws, size))
    ]
    return _interval(whole.distance, whole.reason, torch.cat(values), strata, confidence)


def kernel_interval(
    preds: Tensor,
    target: Tensor,
    *,
    preds_clusters: Tensor,
    target_clusters: Tensor,
    kernel: Kernel | None = None,
    unbiased: bool = True,
    scale: float = 1.0,
    draws: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> DistanceInterval:
    """Kernel distance with an interval, rows of one scenario kept together.

    Draws halves as :func:`frechet_interval` does. The kernel matrices are computed once and summed
    over pairs of scenarios; each half is then a quadratic form of K numbers, exactly what
    :func:`kernel_distance` gives for its rows.

    Args:
        preds: features of generated samples ``[..., N, D]``; leading dims share the draws.
        target: features of reference samples ``[..., M, D]``.
        preds_clusters: ``[N]`` integers, the scenario of each row.
        target_clusters: ``[M]`` integers; ids that are in both sets are drawn in both at once.
        kernel: as in :func:`kernel_distance`.
        unbiased: as there.
        scale: as there.
        draws: number of halves, even.
        confidence: of the interval.
        seed: of the draws.

    Returns:
        A :class:`DistanceInterval`.

    Raises:
        TypeError: not tensors, or of the wrong dtype.
        ValueError: as in :func:`frechet_interval`.
    """
    check_feature_pair(preds, target)
    check_number("scale", scale, low=0.0, low_is_allowed=False)
    clusters = Clusters.of(preds_clusters, target_clusters, (preds.shape[-2], target.shape[-2]))
    picks = half_samples(clusters.strata, draws, seed)
    ours, theirs = rows_of(preds), rows_of(target)
    groups = clusters.one_hot(preds.device)
    sums = KernelSums.of(
        ours.values, theirs.values, *groups, PolynomialKernel() if kernel is None else kernel
    )
    # The whole sample is the draw that takes every cluster.
    everything = torch.cat([torch.ones_like(picks[:1]), picks]).to(ours.values)
    shape = (-1, *[1] * (sums.cross.ndim - 2))
    counts = [(everything @ group.sum(0)).reshape(shape) for group in groups]
    if min(count.min() for count in counts) < 2:
        raise ValueError(
            "a half of the clusters must have at least 2 rows in preds and in target, "
            f"got {[int(count.min()) for count in counts]}"
        )
    values = scale * sums.combined(everything).distance(*counts, unbiased=unbiased)
    finite = ours.finite & theirs.finite
    distance, reason = reason_of(values[0], finite, torch.ones_like(finite))
    return _interval(distance, reason, values[1:], clusters.strata, confidence)


def strata_of(in_preds: Tensor, in_target: Tensor) -> list[Tensor]:
    """Indices of the clusters in both sets, in the first only, in the second only; no empty one."""
    parts = (in_preds & in_target, in_preds & ~in_target, in_target & ~in_preds)
    return [part.nonzero()[:, 0] for part in parts if part.any()]


def half_samples(strata: list[Tensor], draws: int, seed: int) -> Tensor:
    """Random halves of the clusters of each stratum, ``[draws, K]`` bool, each with its complement.

    Of an odd number of clusters the larger part goes to each of the two in turn.
    """
    check_count("draws", draws)
    if draws % 2:
        raise ValueError(f"draws must be even, each half comes with its complement, got {draws}")
    if sum(map(len, strata)) < 4 or min(map(len, strata), default=0) < 2:
        raise ValueError(
            "an interval needs at least 4 clusters, and 2 of each kind (with rows in both sets, in "
            f"one only), got {list(map(len, strata))}"
        )
    generator = torch.Generator().manual_seed(seed)
    picks = torch.zeros(draws // 2, sum(map(len, strata)), dtype=torch.bool)
    for indices in strata:
        order = torch.rand(len(picks), len(indices), generator=generator).argsort(1)
        picks.scatter_(1, indices[order[:, : len(indices) // 2]], True)
    return torch.stack([picks, ~picks], dim=1).flatten(0, 1)


def _interval(
    distance: Tensor, reason: Tensor, halves: Tensor, strata: list[Tensor], confidence: float
) -> DistanceInterval:
    check_number("confidence", confidence, low=0.5, high=0.999)
    clusters = sum(map(len, strata))
    undefined = (reason == Reason.DEFINED) & halves.isnan().any(0)
    reason = reason.where(~undefined, int(Reason.TOO_FEW_SAMPLES))
    middle = halves.mean(0).where(reason == Reason.DEFINED, torch.nan)
    error = (halves - middle).square().mean(0).sqrt()
    probability, freedom = torch.tensor(
        [(1 + confidence) / 2, clusters - len(strata)], dtype=torch.float64
    )
    reach = student_quantile(probability, freedom).to(error.device) * error
    return DistanceInterval(
        distance=distance,
        low=distance - reach,
        high=distance + reach,
        standard_error=error,
        bias=middle - distance,
        reason=reason,
        clusters=clusters,
        confidence=confidence,
    )
