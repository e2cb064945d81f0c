"""Count, mean and scatter of feature vectors: exact to merge, so that features need not be kept."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wmscore.functional._check import check_mask, check_tensor
from wmscore.functional.distributions._rows import check_features

__all__ = ["FeatureMoments"]

_BLOCK = 1 << 24  # float64 values that are widened at a time: 128 MiB


@dataclass(frozen=True, eq=False)
class FeatureMoments:
    r"""First and second moments of sets of feature vectors, in float64.

    .. math:: n, \quad \mu = \frac1n \sum_i x_i, \quad M = \sum_i (x_i - \mu)(x_i - \mu)^\top

    Sets are merged by the pairwise update of Chan, Golub and LeVeque (1983), which loses no
    precision to a large mean: batches and ranks merge in any order to what one pass gives (1e-12
    relative). Features that are not finite make the mean and scatter of their set NaN or infinite,
    and every distance of it NaN with a reason; they are not dropped.

    Attributes:
        count: ``[...]`` int64.
        mean: ``[..., D]`` float64; 0 where the count is 0.
        scatter: ``[..., D, D]`` float64, symmetric; sums, not divided by anything.

    Example:
        A stream, with one set for each of 3 steps:

        >>> import torch
        >>> moments = FeatureMoments.empty((3,), features=2)
        >>> for features in torch.rand(5, 8, 3, 2):  # batches [B, T, D] of rollouts
        ...     moments = moments.merge(FeatureMoments.of(features.transpose(0, 1)))
        >>> moments.count
        tensor([40, 40, 40])
        >>> moments.covariance.shape
        torch.Size([3, 2, 2])
    """

    count: Tensor
    mean: Tensor
    scatter: Tensor

    @classmethod
    def of(cls, features: Tensor, *, valid: Tensor | None = None) -> FeatureMoments:
        """Moments of rows.

        Args:
            features: ``[..., N, D]``, floating point or uint8; widened in blocks of rows.
            valid: bool that broadcasts to ``[..., N]``, the rows that exist: what the others hold
                has no effect.

        Returns:
            Moments with leading dims ``[...]``.

        Raises:
            TypeError: not tensors, or of the wrong dtype.
            ValueError: not ``[..., N, D]`` with a feature, or a mask that does not fit.
        """
        check_features("features", features, least=0)
        leading, (rows, width) = features.shape[:-2], features.shape[-2:]
        if valid is not None:
            check_mask("valid", valid, tuple(features.shape[:-1]), features.device, like="features")
            valid = valid.expand(features.shape[:-1])
        moments = cls.empty(leading, features=width, device=features.device)
        # No fewer than D rows: a merge costs D x D, which a block should outweigh.
        size = max(width, _BLOCK // max(1, leading.numel() * width))
        for start in range(0, rows, size):
            part = slice(start, start + size)
            piece = _moments_of_block(
                features[..., part, :].double(), None if valid is None else valid[..., part]
            )
            moments = moments.merge(piece) if start else piece
        return moments

    @classmethod
    def empty(
        cls,
        leading: tuple[int, ...] = (),
        *,
        features: int,
        device: torch.device | str | None = None,
    ) -> FeatureMoments:
        """Moments of no rows: neutral in a merge."""
        mean = torch.zeros(*leading, features, dtype=torch.float64, device=device)
        scatter = mean.new_zeros(*leading, features, features)
        return cls(mean.new_zeros(leading, dtype=torch.int64), mean, scatter)

    @property
    def features(self) -> int:
        """Number of features D."""
        return self.mean.shape[-1]

    @property
    def covariance(self) -> Tensor:
        """Sample covariance ``[..., D, D]``, divided by n - 1; NaN where n < 2."""
        freedom = (self.count - 1).double()
        return self.scatter / freedom.where(freedom > 0, torch.nan)[..., None, None]

    @property
    def finite(self) -> Tensor:
        """``[...]`` bool: mean and scatter hold neither NaN nor infinity."""
        return self.mean.isfinite().all(-1) & self.scatter.isfinite().all(-1).all(-1)

    def merge(self, other: FeatureMoments) -> FeatureMoments:
        """Moments of both sets together, for each leading dim."""
        _check_mergeable(self, other)
        count = self.count + other.count
        share = other.count.double() / count.clamp(min=1)
        apart = other.mean - self.mean
        between = (self.count * share)[..., None, None] * _outer(apart)
        return FeatureMoments(
            count,
            self.mean + share[..., None] * apart,
            self.scatter + other.scatter + between,
        )

    def merged(self) -> FeatureMoments:
        """Merge the sets along the first leading dim: ``[K, ...]`` to ``[...]``."""
        weights = torch.ones(1, len(self.count), dtype=torch.float64, device=self.mean.device)
        every = self.combined(weights)
        return FeatureMoments(every.count[0], every.mean[0], every.scatter[0])

    def combined(self, weights: Tensor) -> FeatureMoments:
        """Merge the sets along the first leading dim, each counted so many times.

        One matrix product for all combinations: what resampling sets (scenarios) needs.

        Args:
            weights: ``[R, K]`` whole numbers, how often each of the K sets counts.

        Returns:
            Moments ``[R, ...]`` for moments ``[K, ...]``.

        Raises:
            ValueError: the first leading dim is missing, or not K.
        """
        check_tensor("weights", weights)
        if self.count.ndim == 0 or weights.ndim != 2 or weights.shape[1] != len(self.count):
            raise ValueError(
                "weights must have shape [R, K] for moments [K, ...], got "
                f"{tuple(weights.shape)} for moments {list(self.count.shape)}"
            )
        weights = weights.to(self.mean)
        sizes = self.count.double()  # [K, ...]
        # Around the mean of all, sums of squares cancel little: combinations have means near it.
        total = sizes.sum(0).clamp(min=1)
        middle = (sizes[..., None] * self.mean).sum(0) / total[..., None]
        apart = self.mean - middle
        around = self.scatter + sizes[..., None, None] * _outer(apart)

        def sums(values: Tensor) -> Tensor:
            return (weights @ values.flatten(1)).reshape(len(weights), *values.shape[1:])

        count = sums(sizes[..., None])[..., 0]
        mean = sums(sizes[..., None] * apart) / count.clamp(min=1)[..., None]
        scatter = sums(around) - count[..., None, None] * _outer(mean)
        kept = count > 0
        return FeatureMoments(
            count.round().long(),
            (mean + middle).where(kept[..., None], 0),
            scatter.where(kept[..., None, None], 0),
        )

    def to_vector(self) -> Tensor:
        """All three in one float64 tensor ``[..., 1 + D + D * D]``: to store, to send."""
        return torch.cat(
            [self.count.double()[..., None], self.mean, self.scatter.flatten(-2)], dim=-1
        )

    @classmethod
    def from_vector(cls, vector: Tensor, *, features: int) -> FeatureMoments:
        """Back from :meth:`to_vector`."""
        scatter = vector[..., 1 + features :]
        return cls(
            vector[..., 0].long(),
            vector[..., 1 : 1 + features],
            scatter.reshape(*scatter.shape[:-1], features, features),
        )


def _moments_of_block(values: Tensor, valid: Tensor | None) -> FeatureMoments:
    if valid is None:
        count = torch.full(values.shape[:-2], values.shape[-2], device=values.device)
    else:
        count = valid.sum(-1)
        values = values.where(valid[..., None], 0)
    mean = values.sum(-2) / count.clamp(min=1)[..., None]
    centred = values - mean[..., None, :]
    if valid is not None:
        centred = centred.where(valid[..., None], 0)
    return FeatureMoments(count, mean, centred.mT @ centred)


def _outer(vectors: Tensor) -> Tensor:
    return vectors[..., :, None] * vectors[..., None, :]


def _check_mergeable(first: FeatureMoments, second: FeatureMoments) -> None:
    if first.mean.shape != second.mean.shape:
        raise ValueError(
            "moments to merge must have one shape [..., D], got "
            f"{tuple(first.mean.shape)} and {tuple(second.mean.shape)}"
        )
    if first.mean.device != second.mean.device:
        raise ValueError(
            "moments to merge must be on one device, got "
            f"{first.mean.device} and {second.mean.device}"
        )
