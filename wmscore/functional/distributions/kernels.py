"""Kernel distance (squared maximum mean discrepancy) between two sets of features."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isqrt

import torch
from torch import Tensor

from wmscore.functional._check import check_count, check_number
from wmscore.functional.distributions._rows import (
    check_feature_pair,
    check_leading,
    reason_of,
    rows_of,
)

__all__ = [
    "GaussianKernel",
    "Kernel",
    "KernelResult",
    "KernelSubsets",
    "PolynomialKernel",
    "cmmd",
    "jedi",
    "kernel_distance",
    "kernel_distance_subsets",
]

Kernel = Callable[[Tensor, Tensor], Tensor]
"""From float64 rows ``[..., n, D]``, ``[..., m, D]`` to k(x, y) = k(y, x), ``[..., n, m]``."""


@dataclass(frozen=True)
class PolynomialKernel:
    r"""The kernel :math:`(\gamma\, x \cdot y + c)^p`; the defaults are those of KID and KVD.

    Attributes:
        degree: p.
        gamma: None means 1 / D.
        coef0: c.
    """

    degree: int = 3
    gamma: float | None = None
    coef0: float = 1.0

    def __post_init__(self) -> None:
        check_count("degree", self.degree)
        if self.gamma is not None:
            check_number("gamma", self.gamma, low=0.0, low_is_allowed=False)
        check_number("coef0", self.coef0, low=0.0)  # a negative one makes it no kernel

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """The matrix of k(x, y)."""
        gamma = 1 / x.shape[-1] if self.gamma is None else self.gamma
        return (x @ y.mT).mul_(gamma).add_(self.coef0).pow_(self.degree)


@dataclass(frozen=True)
class GaussianKernel:
    r"""The kernel :math:`\exp(-\|x - y\|^2 / 2 \sigma^2)`.

    Attributes:
        sigma: width, in units of the features.
    """

    sigma: float = 10.0

    def __post_init__(self) -> None:
        check_number("sigma", self.sigma, low=0.0, low_is_allowed=False)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """The matrix of k(x, y)."""
        middle = y.mean(-2, keepdim=True)  # |x|² + |y|² - 2 x·y cancels less about a middle
        x, y = x - middle, y - middle
        squared = x.square().sum(-1)[..., :, None] + y.square().sum(-1)[..., None, :]
        squared = (squared - 2 * (x @ y.mT)).clamp_(min=0)  # rounding may make a 0 negative
        return squared.mul_(-0.5 / self.sigma**2).exp_()


@dataclass(frozen=True, kw_only=True, eq=False)
class KernelResult:
    """A kernel distance and the numbers of rows it rests on.

    Attributes:
        distance: ``[...]`` float64, lower is better; NaN where undefined. An unbiased estimate
            of a distance near 0 is negative about half of the time.
        reason: ``[...]`` uint8 :class:`Reason` codes.
        preds_count: ``[...]`` int64, rows n of ``preds``.
        target_count: ``[...]`` int64, rows m of ``target``.
        features: D.
    """

    distance: Tensor
    reason: Tensor
    preds_count: Tensor
    target_count: Tensor
    features: int


@dataclass(frozen=True, kw_only=True, eq=False)
class KernelSubsets:
    """Kernel distances of random subsets. See :func:`kernel_distance_subsets`.

    Attributes:
        mean: ``[...]`` float64, mean over subsets.
        std: ``[...]`` standard deviation over subsets (population): how much a set of
            ``subset_size`` rows varies, no standard error of the mean.
        distances: ``[subsets, ...]``.
        subset_size: rows of each side in a subset.
    """

    mean: Tensor
    std: Tensor
    distances: Tensor
    subset_size: int


def kernel_distance(
    preds: Tensor,
    target: Tensor,
    *,
    kernel: Kernel | None = None,
    unbiased: bool = True,
    scale: float = 1.0,
    preds_valid: Tensor | None = None,
    target_valid: Tensor | None = None,
) -> KernelResult:
    r"""Squared maximum mean discrepancy over all rows.

    .. math:: \frac{\sum_{i \ne j} k(x_i, x_j)}{n (n - 1)}
        + \frac{\sum_{i \ne j} k(y_i, y_j)}{m (m - 1)} - \frac{2 \sum_{ij} k(x_i, y_j)}{n m}

    (Gretton et al. 2012, eq. 3), or with all i, j and n², m² where not ``unbiased``. With the
    default kernel it is the estimator of KID (Binkowski et al. 2018, arXiv:1801.01401), which the
    authors average over subsets (:func:`kernel_distance_subsets`). Its expectation does not depend
    on n if rows are independent. Rows of one scenario are not: then few scenarios bias this one as
    well, by an amount that :func:`kernel_interval` estimates. Memory is bounded by blocks of the
    kernel matrices; each is computed once.

    Args:
        preds: features of generated samples ``[..., N, D]``, floating point or uint8.
        target: features of reference samples ``[..., M, D]``; leading dims broadcast.
        kernel: ``PolynomialKernel()`` by default; any :data:`Kernel`.
        unbiased: leave out each row's kernel with itself.
        scale: factor of the result.
        preds_valid: bool that broadcasts to ``[..., N]``, the rows that exist.
        target_valid: the same for ``target``.

    Returns:
        A :class:`KernelResult`. NaN with a reason where features are not finite, or n < 2.

    Raises:
        TypeError: not tensors, or of the wrong dtype.
        ValueError: fewer than two rows, or shapes or devices that do not fit.

    Example:
        >>> import torch
        >>> x, y = torch.tensor([[0.0], [2.0]]), torch.tensor([[1.0], [1.0]])
        >>> kernel_distance(x, y).distance  # k = (xy + 1)^3: 1 + 8 - 2 (1 + 27) / 2
        tensor(-19., dtype=torch.float64)
    """
    check_feature_pair(preds, target)
    check_number("scale", scale, low=0.0, low_is_allowed=False)
    ours = rows_of(preds, preds_valid, like="preds")
    theirs = rows_of(target, target_valid, like="target")
    sums = KernelSums.of(
        ours.values,
        theirs.values,
        ours.weight[..., None],
        theirs.weight[..., None],
        PolynomialKernel() if kernel is None else kernel,
    )
    leading = check_leading(ours.count.shape, theirs.count.shape)
    n, m = ours.count.broadcast_to(leading), theirs.count.broadcast_to(leading)
    value = scale * sums.distance(n, m, unbiased=unbiased)
    distance, reason = reason_of(value, ours.finite & theirs.finite, (n >= 2) & (m >= 2))
    return KernelResult(
        distance=distance,
        reason=reason,
        preds_count=n,
        target_count=m,
        features=preds.shape[-1],
    )


def kernel_distance_subsets(
    preds: Tensor,
    target: Tensor,
    *,
    kernel: Kernel | None = None,
    unbiased: bool = True,
    scale: float = 1.0,
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 0,
) -> KernelSubsets:
    """Mean of :func:`kernel_distance` over random subsets, as KID is reported.

    Each subset draws ``subset_size`` rows of each side without replacement, both anew; leading dims
    share the draw. The mean estimates what :func:`kernel_distance` does, with more noise; rows
    of one scenario are treated as independent, so for an interval see :func:`kernel_interval`.

    Args:
        preds: features of generated samples ``[..., N, D]``.
        target: features of reference samples ``[..., M, D]``.
        kernel: as in :func:`kernel_distance`.
        unbiased: as there.
        scale: as there.
        subsets: how many.
        subset_size: rows of each side, N and M at most.
        seed: of the draws, which are made on the host: the same on each device.

    Returns:
        A :class:`KernelSubsets`; NaN where a drawn row is not finite.

    Raises:
        ValueError: a side has fewer rows than ``subset_size``; else as in :func:`kernel_distance`.
    """
    check_feature_pair(preds, target)
    check_count("subsets", subsets)
    check_count("subset_size", subset_size)
    smaller = min(preds.shape[-2], target.shape[-2])
    if not 2 <= subset_size <= smaller:
        raise ValueError(
            f"subset_size must be in 2..{smaller}, the rows of the smaller set, got {subset_size}"
        )
    generator = torch.Generator().manual_seed(seed)

    def drawn(features: Tensor) -> Tensor:
        rows = torch.randperm(features.shape[-2], generator=generator)[:subset_size]
        return features.index_select(-2, rows.to(features.device))

    found = [
        kernel_distance(
            drawn(preds), drawn(target), kernel=kernel, unbiased=unbiased, scale=scale
        ).distance
        for _ in range(subsets)
    ]
    distances = torch.stack(found)
    return KernelSubsets(
        mean=distances.mean(0),
        std=distances.std(0, correction=0),
        distances=distances,
        subset_size=subset_size,
    )


def cmmd(
    preds: Tensor,
    target: Tensor,
    *,
    sigma: float = 10.0,
    preds_valid: Tensor | None = None,
    target_valid: Tensor | None = None,
) -> KernelResult:
    """The estimator of CMMD: Gaussian kernel with sigma = 10, biased, times 1000.

    Jayasumana et al. 2024 (arXiv:2401.09603), on CLIP ViT-L/14@336 image embeddings of unit
    length. The embeddings are taken as given: divide them by their norms first. The distance of
    two vectors of unit length is 2 at most, far below sigma, so there the kernel is nearly
    ``1 - |x - y|² / 200`` and CMMD nearly ``10 |mean x - mean y|²``.

    Args:
        preds: features of generated samples ``[..., N, D]``.
        target: features of reference samples ``[..., M, D]``.
        sigma: width of the kernel.
        preds_valid: as in :func:`kernel_distance`.
        target_valid: as there.

    Returns:
        A :class:`KernelResult`, 0..2000, 0 for identical sets.

    Raises:
        TypeError: as in :func:`kernel_distance`.
        ValueError: as there.

    Example:
        >>> import torch
        >>> apart = cmmd(torch.zeros(2, 1), torch.full((2, 1), 10.0)).distance
        >>> round(apart.item(), 4)  # 2000 (1 - exp(-1/2))
        786.9387
    """
    return kernel_distance(
        preds,
        target,
        kernel=GaussianKernel(sigma),
        unbiased=False,
        scale=1000.0,
        preds_valid=preds_valid,
        target_valid=target_valid,
    )


def jedi(
    preds: Tensor,
    target: Tensor,
    *,
    preds_valid: Tensor | None = None,
    target_valid: Tensor | None = None,
) -> KernelResult:
    """The estimator of JEDi: kernel ``(x·y / D)²``, biased, times 100.

    Luo et al. 2024 (arXiv:2410.05203), on V-JEPA ViT-H features. The docstring of the authors'
    function says gamma = 1, but its default is scikit-learn's ``None``, that is 1 / D.

    Args:
        preds: features of generated clips ``[..., N, D]``.
        target: features of reference clips ``[..., M, D]``.
        preds_valid: as in :func:`kernel_distance`.
        target_valid: as there.

    Returns:
        A :class:`KernelResult`, 0 or more, 0 for identical sets.

    Raises:
        TypeError: as in :func:`kernel_distance`.
        ValueError: as there.

    Example:
        >>> import torch
        >>> jedi(torch.tensor([[0.0], [0.0]]), torch.tensor([[1.0], [1.0]])).distance
        tensor(100., dtype=torch.float64)
    """
    return kernel_distance(
        preds,
        target,
        kernel=PolynomialKernel(degree=2, coef0=0.0),
        unbiased=False,
        scale=100.0,
        preds_valid=preds_valid,
        target_valid=target_valid,
    )


@dataclass(frozen=True, eq=False)
class KernelSums:
    """Sums of kernel matrices over groups of rows: all that any MMD of those groups needs.

    Attributes:
        preds: ``[..., K, K]``, sums of k(x, x') over pairs of groups.
        target: ``[..., K, K]``, of k(y, y').
        cross: ``[..., K, K]``, of k(x, y).
        preds_own: ``[..., K]``, sums of k(x, x) over the rows of each group.
        target_own: ``[..., K]``, of k(y, y).
    """

    preds: Tensor
    target: Tensor
    cross: Tensor
    preds_own: Tensor
    target_own: Tensor

    @classmethod
    def of(
        cls, x: Tensor, y: Tensor, x_group: Tensor, y_group: Tensor, kernel: Kernel
    ) -> KernelSums:
        """Sum over blocks; ``*_group [..., N, K]`` says how much a row counts in each group."""
        preds, preds_own = _sums_within(x, x_group, kernel)
        target, target_own = _sums_within(y, y_group, kernel)
        return cls(
            preds, target, _sums_across(x, y, x_group, y_group, kernel), preds_own, target_own
        )

    def combined(self, picks: Tensor) -> KernelSums:
        """Sums over unions of groups: ``picks [R, K]`` says how often each group counts.

        Returns:
            Sums with K = 1 and leading dims ``[R, ...]``. A group that counts twice would pair its
            rows with their copies, so only 0 and 1 give the estimate of a set of distinct rows.
        """
        # Leading dims that one side lacks would be taken for draws.
        leading = self.cross.shape[:-2]

        def both(sums: Tensor) -> Tensor:
            sums = sums.expand(*leading, *sums.shape[-2:])
            return torch.einsum("rk,...kl,rl->r...", picks, sums, picks)[..., None, None]

        def one(sums: Tensor) -> Tensor:
            sums = sums.expand(*leading, *sums.shape[-1:])
            return torch.einsum("rk,...k->r...", picks, sums)[..., None]

        return KernelSums(
            both(self.preds),
            both(self.target),
            both(self.cross),
            one(self.preds_own),
            one(self.target_own),
        )

    def distance(self, n: Tensor, m: Tensor, *, unbiased: bool) -> Tensor:
        """Squared MMD ``[...]`` of one group of n and m rows; K must be 1."""
        within_x, within_y, across = (
            sums[..., 0, 0] for sums in (self.preds, self.target, self.cross)
        )
        if unbiased:
            within_x, within_y = (
                within_x - self.preds_own[..., 0],
                within_y - self.target_own[..., 0],
            )
        less = 1 if unbiased else 0
        # In float64: n * n of int64 is exact, but n - 1 of an empty set is not a number of pairs.
        n, m = n.double(), m.double()
        return within_x / (n * (n - less)) + within_y / (m * (m - less)) - 2 * across / (n * m)


def block_rows(device: torch.device, leading: int) -> int:
    """Side of the blocks in which kernel matrices are computed: 32 MiB on a CPU, else 512 MiB."""
    elements = 1 << 22 if device.type == "cpu" else 1 << 26
    return max(1, isqrt(elements // max(1, leading)))


def _blocks(rows: Tensor, group: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, rows.shape[-2], size):
        part = slice(start, start + size)
        yield rows[..., part, :], group[..., part, :]


def _sums_across(x: Tensor, y: Tensor, x_group: Tensor, y_group: Tensor, kernel: Kernel) -> Tensor:
    leading = check_leading(x.shape[:-2], y.shape[:-2])
    size = block_rows(x.device, leading.numel())
    sums = x.new_zeros(*leading, x_group.shape[-1], y_group.shape[-1])
    for rows, group in _blocks(x, x_group, size):
        for others, their in _blocks(y, y_group, size):
            sums += group.mT @ (kernel(rows, others) @ their)
    return sums


def _sums_within(x: Tensor, group: Tensor, kernel: Kernel) -> tuple[Tensor, Tensor]:
    """Sums over pairs of rows of one set, and of each row with itself. k is symmetric."""
    size = block_rows(x.device, x.shape[:-2].numel())
    blocks = list(_blocks(x, group, size))
    groups = group.shape[-1]
    sums, own = x.new_zeros(*x.shape[:-2], groups, groups), x.new_zeros(*x.shape[:-2], groups)
    for place, (rows, mine) in enumerate(blocks):
        matrix = kernel(rows, rows)
        own += (matrix.diagonal(dim1=-2, dim2=-1)[..., None] * mine).sum(-2)
        sums += mine.mT @ (matrix @ mine)
        for others, their in blocks[place + 1 :]:
            part = mine.mT @ (kernel(rows, others) @ their)
            sums += part + part.mT
    return sums, own
