"""Distances between two sets of feature vectors: Fréchet, kernel (MMD), their bias and intervals.

Features are rows ``[..., N, D]`` of any encoder; leading dims (a step, a window, a layer) are so
many sets, each with its own distance. For one number per step see :func:`windowed_distance`.
"""

from wmscore.functional.distributions.bias import (
    FrechetExtrapolation,
    SameDistributionFloor,
    frechet_distance_extrapolated,
    same_distribution_floor,
)
from wmscore.functional.distributions.frechet import (
    FrechetResult,
    frechet_distance,
    frechet_distance_from_features,
)
from wmscore.functional.distributions.intervals import (
    DistanceInterval,
    frechet_interval,
    frechet_interval_from_moments,
    kernel_interval,
)
from wmscore.functional.distributions.kernels import (
    GaussianKernel,
    KernelResult,
    KernelSubsets,
    PolynomialKernel,
    cmmd,
    jedi,
    kernel_distance,
    kernel_distance_subsets,
)
from wmscore.functional.distributions.moments import FeatureMoments
from wmscore.functional.distributions.names import distribution_name
from wmscore.functional.distributions.windows import window_samples, windowed_distance

__all__ = [
    "DistanceInterval",
    "FeatureMoments",
    "FrechetExtrapolation",
    "FrechetResult",
    "GaussianKernel",
    "KernelResult",
    "KernelSubsets",
    "PolynomialKernel",
    "SameDistributionFloor",
    "cmmd",
    "distribution_name",
    "frechet_distance",
    "frechet_distance_extrapolated",
    "frechet_distance_from_features",
    "frechet_interval",
    "frechet_interval_from_moments",
    "jedi",
    "kernel_distance",
    "kernel_distance_subsets",
    "kernel_interval",
    "same_distribution_floor",
    "window_samples",
    "windowed_distance",
]
