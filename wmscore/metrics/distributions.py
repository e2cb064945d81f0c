"""Distribution distances as `torchmetrics.Metric`: the class door to `functional.distributions`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from wmscore import functional as F
from wmscore.functional.distributions import PolynomialKernel
from wmscore.functional.distributions.kernels import Kernel

__all__ = ["FrechetDistance", "KernelDistance"]


class _DistributionMetric(Metric):
    """Takes features, or frames where there is an encoder, of a generated and of a real set."""

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    def __init__(self, features: int, *, encoder: F.Encoder | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(features, bool) or not isinstance(features, int) or features < 1:
            raise ValueError(f"features: expected their number D, 1 or more, got {features!r}")
        self.features = features
        self.encoder = encoder

    def _rows(self, samples: Tensor) -> Tensor:
        """Features `[..., N, D]`, after the encoder where there is one."""
        rows = samples if self.encoder is None else _embed(self.encoder, samples)
        if rows.ndim < 2 or rows.shape[-1] != self.features:
            raise ValueError(
                f"samples: expected {self.features} features each, [..., N, {self.features}], "
                f"got {tuple(rows.shape)}"
            )
        return rows


class FrechetDistance(_DistributionMetric):
    """Fréchet distance between two streams of features; see `functional.frechet_distance`.

    The state is the moments of either set in float64, `16 (1 + D + D²)` bytes together however many
    rows there are, merged exactly across batches and ranks. With few rows (n <= D) the features
    themselves are smaller, and `functional.frechet_distance_from_features` is more precise.

    Args:
        features: number of features D.
        leading: leading dims of the features: `(T,)` holds one distance for each of T steps.
        encoder: embeds frames, if `update` gets frames; the features are its own then.
        kwargs: passed to `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = FrechetDistance(features=1)
        >>> metric.update(torch.tensor([[0.0], [2.0]]), real=True)
        >>> metric.update(torch.tensor([[3.0], [5.0]]), real=False)
        >>> metric.compute()
        tensor(9., dtype=torch.float64)
    """

    preds: Tensor
    target: Tensor

    def __init__(
        self,
        features: int,
        *,
        leading: Sequence[int] = (),
        encoder: F.Encoder | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(features, encoder=encoder, **kwargs)
        if isinstance(leading, int):
            raise TypeError(f"leading: expected sizes such as ({leading},), got {leading}")
        self.leading = tuple(leading)
        if encoder is not None and leading:
            raise ValueError(
                "leading: an encoder embeds frames into one set, give features instead"
            )
        empty = F.FeatureMoments.empty(self.leading, features=features).to_vector()
        # The count, mean and scatter of a set go together: a state each could not be merged.
        self.add_state("preds", default=empty, dist_reduce_fx=_MergeMoments(features))
        self.add_state("target", default=empty.clone(), dist_reduce_fx=_MergeMoments(features))

    def update(self, samples: Tensor, real: bool) -> None:
        """Add features `[*leading, N, D]`, or frames `[N, C, H, W]` for the encoder.

        Args:
            samples: of generated (`real=False`) or of reference samples (`real=True`).
            real: which.
        """
        rows = self._rows(samples)
        if rows.shape[:-2] != self.leading:
            raise ValueError(
                f"samples: expected leading dims {self.leading}, got {tuple(rows.shape[:-2])}"
            )
        name = "target" if real else "preds"
        merged = self._moments(name).merge(F.FeatureMoments.of(rows))
        setattr(self, name, merged.to_vector())

    def compute(self) -> Tensor:
        """Distance, `[*leading]` float64; NaN where it is undefined."""
        return F.frechet_distance(self._moments("preds"), self._moments("target")).distance

    def _moments(self, name: str) -> F.FeatureMoments:
        return F.FeatureMoments.from_vector(getattr(self, name), features=self.features)


class KernelDistance(_DistributionMetric):
    """Kernel distance between two sets of features; see `functional.kernel_distance`.

    The defaults are those of KID over all rows. A kernel distance needs every pair, so the state is
    all features, in float32: `4 D` bytes a row, on the device. Past `max_rows` of a set an update
    raises: to drop rows silently would change what is measured.

    Args:
        features: number of features D.
        kernel: `PolynomialKernel()` by default.
        unbiased: leave out each row's kernel with itself.
        scale: factor of the result.
        max_rows: most rows of a set on one rank.
        encoder: embeds frames, if `update` gets frames.
        kwargs: passed to `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> from wmscore.functional.distributions import GaussianKernel
        >>> metric = KernelDistance(features=1, kernel=GaussianKernel(10), unbiased=False)
        >>> metric.update(torch.zeros(2, 1), real=True)
        >>> metric.update(torch.full((2, 1), 10.0), real=False)
        >>> round(metric.compute().item(), 7)  # 2 (1 - exp(-1/2))
        0.7869387
    """

    preds: list[Tensor]
    target: list[Tensor]

    def __init__(
        self,
        features: int,
        *,
        kernel: Kernel | None = None,
        unbiased: bool = True,
        scale: float = 1.0,
        max_rows: int = 100_000,
        encoder: F.Encoder | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(features, encoder=encoder, **kwargs)
        self.kernel = PolynomialKernel() if kernel is None else kernel
        self.unbiased = unbiased
        self.scale = scale
        self.max_rows = max_rows
        self.add_state("preds", default=[], dist_reduce_fx="cat")
        self.add_state("target", default=[], dist_reduce_fx="cat")

    def update(self, samples: Tensor, real: bool) -> None:
        """Add features `[N, D]`, or frames `[N, C, H, W]` for the encoder.

        Args:
            samples: of generated (`real=False`) or of reference samples (`real=True`).
            real: which.
        """
        rows = self._rows(samples)
        if rows.ndim != 2:
            raise ValueError(f"samples: expected [N, {self.features}], got {tuple(rows.shape)}")
        held = self.target if real else self.preds
        count = sum(map(len, held)) + len(rows)
        if count > self.max_rows:
            raise ValueError(
                f"samples: {count} rows of {self.features} features ({4 * count * self.features} "
                f"bytes) are more than max_rows = {self.max_rows}; raise it, or thin the set"
            )
        held.append(rows.detach().to(torch.float32, copy=True))  # the caller may reuse its buffer

    def compute(self) -> Tensor:
        """Distance, a float64 scalar; NaN where it is undefined."""
        preds, target = self._joined("preds"), self._joined("target")
        if min(len(preds), len(target)) < 2:
            return torch.tensor(torch.nan, dtype=torch.float64, device=preds.device)
        return F.kernel_distance(
            preds,
            target,
            kernel=self.kernel,
            unbiased=self.unbiased,
            scale=self.scale,
        ).distance

    def _joined(self, name: str) -> Tensor:
        rows = getattr(self, name)
        if isinstance(rows, list) and not rows:  # a tensor once ranks are joined
            return torch.zeros(0, self.features, device=self.device)
        return dim_zero_cat(rows)

    def _sync_dist(self, *args: Any, **kwargs: Any) -> None:
        # A rank without rows must still join with D columns.
        for name in ("preds", "target"):
            setattr(self, name, [self._joined(name)])
        super()._sync_dist(*args, **kwargs)


class _MergeMoments:
    """Joins the moments of ranks, stacked as vectors `[ranks, *leading, 1 + D + D²]`."""

    def __init__(self, features: int) -> None:
        self.features = features

    def __call__(self, vectors: Tensor) -> Tensor:
        return F.FeatureMoments.from_vector(vectors, features=self.features).merged().to_vector()


def _embed(encoder: F.Encoder, frames: Tensor) -> Tensor:
    """Embeddings `[N, D]` of frames `[N, C, H, W]`, chunk by chunk."""
    if frames.ndim != 4:
        raise ValueError(f"samples: expected frames [N, C, H, W], got {tuple(frames.shape)}")
    pieces = []
    size = max(1, encoder.chunk_frames(frames))
    for start in range(0, len(frames), size):
        piece = frames[start : start + size]
        maps = encoder.encode(piece)
        if len(maps) != 1 or maps[0].shape[2:] != (1, 1) or len(maps[0]) != len(piece):
            raise ValueError(
                f"encoder {encoder.name}: expected one map [{len(piece)}, D, 1, 1], an embedding "
                f"of each frame, got {[tuple(value.shape) for value in maps]}"
            )
        pieces.append(maps[0][:, :, 0, 0])
    return torch.cat(pieces)
