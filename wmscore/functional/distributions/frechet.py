"""Fréchet distance between two sets of features, taken as Gaussians."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wmscore.functional.distributions._rows import (
    Rows,
    check_feature_pair,
    check_leading,
    reason_of,
    rows_of,
)
from wmscore.functional.distributions.moments import FeatureMoments

__all__ = ["FrechetResult", "frechet_distance", "frechet_distance_from_features"]


@dataclass(frozen=True, kw_only=True, eq=False)
class FrechetResult:
    """A Fréchet distance with what its value depends on besides the distributions.

    Attributes:
        distance: ``[...]`` float64, squared units of the features, 0 or more up to rounding, lower
            is better; NaN where undefined.
        mean_term: ``[...]`` its part due to the means.
        covariance_term: ``[...]`` its part due to the covariances.
        reason: ``[...]`` uint8 :class:`Reason` codes.
        preds_count: ``[...]`` int64, rows n of ``preds``. The distance grows as n falls.
        target_count: ``[...]`` int64, rows m of ``target``.
        features: D.
        rank_deficient: ``[...]`` bool, n <= D or m <= D: a covariance has directions without any
            variance, and the small-sample bias is of the order of the traces themselves.
    """

    distance: Tensor
    mean_term: Tensor
    covariance_term: Tensor
    reason: Tensor
    preds_count: Tensor
    target_count: Tensor
    features: int
    rank_deficient: Tensor


def frechet_distance(preds: FeatureMoments, target: FeatureMoments) -> FrechetResult:
    r"""Fréchet distance from moments.

    .. math:: \|\mu_1 - \mu_2\|^2 + \mathrm{Tr}(\Sigma_1) + \mathrm{Tr}(\Sigma_2)
        - 2\,\mathrm{Tr}\,(\Sigma_1^{1/2} \Sigma_2 \Sigma_1^{1/2})^{1/2}

    with sample covariances (n - 1). Dowson and Landau (1982); for Inception features it is FID
    (Heusel et al. 2017, arXiv:1706.08500), for I3D features FVD (Unterthiner et al. 2018,
    arXiv:1812.01717). The inner matrix is symmetric: its trace is the sum of the roots of
    eigenvalues, with no general matrix root, nothing added to the diagonals and no imaginary part
    to discard. Eigenvalues that rounding made negative count as 0. A covariance without full rank
    costs about 8 digits that way: rounding errors of 1e-16 in eigenvalues that should be 0 pass
    through a root. :func:`frechet_distance_from_features` has no such loss.

    Args:
        preds: moments of generated features, leading dims ``[...]``.
        target: moments of reference features; leading dims broadcast.

    Returns:
        A :class:`FrechetResult`. NaN with a reason where features are not finite, or n < 2.

    Raises:
        ValueError: the numbers of features, the devices or the leading dims do not fit.

    Example:
        >>> import torch
        >>> eye = torch.eye(3, dtype=torch.float64)
        >>> unit = FeatureMoments(torch.tensor(11), torch.zeros(3).double(), 10 * eye)
        >>> moved = FeatureMoments(torch.tensor(11), torch.ones(3).double(), 40 * eye)
        >>> frechet_distance(moved, unit).distance  # N(0, I) and N(1, 4 I): 3 + 3 (2 - 1)^2
        tensor(6., dtype=torch.float64)
    """
    if preds.features != target.features:
        raise ValueError(
            "preds and target must have one number of features D, "
            f"got {preds.features} and {target.features}"
        )
    if preds.mean.device != target.mean.device:
        raise ValueError(
            "preds and target must be on one device, "
            f"got {preds.mean.device} and {target.mean.device}"
        )
    check_leading(preds.count.shape, target.count.shape)
    (mean_1, cov_1), (mean_2, cov_2) = _gaussian(preds), _gaussian(target)
    values, vectors = torch.linalg.eigh(cov_1)
    half = vectors * values.clamp(min=0).sqrt()[..., None, :]  # half half^T = cov_1
    inner = torch.linalg.eigvalsh(half.mT @ cov_2 @ half)
    root = inner.clamp(min=0).sqrt().sum(-1)
    traces = sum(cov.diagonal(dim1=-2, dim2=-1).sum(-1) for cov in (cov_1, cov_2))
    return _result(
        (mean_1 - mean_2).square().sum(-1),
        traces - 2 * root,
        finite=preds.finite & target.finite,
        counts=(preds.count, target.count),
        features=preds.features,
    )


def frechet_distance_from_features(
    preds: Tensor,
    target: Tensor,
    *,
    preds_valid: Tensor | None = None,
    target_valid: Tensor | None = None,
) -> FrechetResult:
    r"""Fréchet distance from rows, without forming a covariance.

    .. math:: \mathrm{Tr}\,(\Sigma_1 \Sigma_2)^{1/2}
        = \frac{\|X_1 X_2^\top\|_*}{\sqrt{(n-1)(m-1)}}

    for centred rows X and the nuclear norm. A set of more than D rows is first reduced to the
    triangular factor of its QR decomposition. Exact to rounding, whatever the rank; for n, m well
    below D the cost is that of an ``n x m`` matrix, not of ``D x D`` ones. The rows are held in
    float64; for streams use :class:`FeatureMoments`.

    Args:
        preds: features of generated samples ``[..., N, D]``, floating point or uint8.
        target: features of reference samples ``[..., M, D]``; leading dims broadcast.
        preds_valid: bool that broadcasts to ``[..., N]``, the rows that exist.
        target_valid: the same for ``target``.

    Returns:
        A :class:`FrechetResult`, see :func:`frechet_distance` for definition and sources.

    Raises:
        TypeError: not tensors, or of the wrong dtype.
        ValueError: fewer than two rows, or shapes or devices that do not fit.

    Example:
        Per step: features ``[B, T, D]`` of rollouts give one distance for each step.

        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> preds, target = torch.randn(40, 5, 16), torch.randn(60, 5, 16)
        >>> by_step = frechet_distance_from_features(preds.transpose(0, 1), target.transpose(0, 1))
        >>> by_step.distance.shape
        torch.Size([5])
    """
    check_feature_pair(preds, target)
    ours = rows_of(preds, preds_valid, like="preds")
    theirs = rows_of(target, target_valid, like="target")
    (mean_1, trace_1, factor_1), (mean_2, trace_2, factor_2) = _factor(ours), _factor(theirs)
    root = torch.linalg.svdvals(factor_1 @ factor_2.mT).sum(-1)
    return _result(
        (mean_1 - mean_2).square().sum(-1),
        trace_1 + trace_2 - 2 * root,
        finite=ours.finite & theirs.finite,
        counts=(ours.count, theirs.count),
        features=preds.shape[-1],
    )


def _gaussian(moments: FeatureMoments) -> tuple[Tensor, Tensor]:
    """Mean and covariance, with 0 where they are undefined: a decomposition refuses NaN."""
    mean, covariance = moments.mean, moments.covariance
    usable = moments.finite & (moments.count >= 2)
    return mean.where(usable[..., None], 0), covariance.where(usable[..., None, None], 0)


def _factor(rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, trace of the covariance, and F with F^T F the covariance."""
    mean, centred = rows.centred
    factor = centred
    if factor.shape[-2] > factor.shape[-1]:
        factor = torch.linalg.qr(factor, mode="r")[1]
    scale = (rows.count - 1).clamp(min=1).double()
    trace = centred.square().sum((-2, -1)) / scale
    return mean, trace, factor / scale.sqrt()[..., None, None]


def _result(
    mean_term: Tensor,
    covariance_term: Tensor,
    *,
    finite: Tensor,
    counts: tuple[Tensor, Tensor],
    features: int,
) -> FrechetResult:
    n, m = (count.broadcast_to(mean_term.shape) for count in counts)
    distance, reason = reason_of(mean_term + covariance_term, finite, (n >= 2) & (m >= 2))
    defined = ~distance.isnan()
    return FrechetResult(
        distance=distance,
        mean_term=mean_term.where(defined, torch.nan),
        covariance_term=covariance_term.where(defined, torch.nan),
        reason=reason,
        preds_count=n,
        target_count=m,
        features=features,
        rank_deficient=torch.minimum(n, m) <= features,
    )
