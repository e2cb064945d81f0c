"""Quantiles of Student's t distribution, which torch does not have."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from wmscore.stats._check import check_values

__all__ = ["student_quantile"]

_NODES = 64
_ITERATIONS = 64
_LARGE = 50.0  # from here on, differences of log-gammas are less exact than the series

_SERIES = (869 / 4194304, -399 / 262144, -21 / 32768, 5 / 1024, 1 / 128, -1 / 8, 1.0)


def student_quantile(probability: Tensor, freedom: Tensor) -> Tensor:
    r"""The t with :math:`P(X \le t)` = probability, X of Student's t distribution.

    With :math:`t = \sqrt{\nu} \tan \theta` the central probability is

    .. math:: P(|X| \le t) = \frac{2 \, \Gamma((\nu + 1) / 2)}{\sqrt{\pi} \, \Gamma(\nu / 2)}
        \int_0^\theta \cos^{\nu - 1} u \, du

    a smooth integral (64 Gauss-Legendre nodes), concave in the angle: Newton's steps from the
    normal quantile, which is never beyond the root, approach it from one side.

    Args:
        probability: floating point, in (0, 1).
        freedom: floating point, degrees of freedom :math:`\nu`, at least 1; broadcasts with
            `probability`. Fractions below 3 are less exact far out (1e-7 at a tail of 1e-4).

    Returns:
        Float64 of the broadcast shape; relative error below 1e-9 for tails from 1e-6. NaN for
        probabilities outside (0, 1) and for fewer than one degree of freedom.

    Raises:
        TypeError: not floating point tensors.

    Example:
        >>> import torch
        >>> t = student_quantile(torch.tensor(0.975, dtype=torch.float64), torch.tensor([7.0]))
        >>> round(t.item(), 9)
        2.364624252
    """
    check_values("probability", probability)
    check_values("freedom", freedom)
    probability = probability.to(torch.float64)
    freedom = freedom.to(torch.float64)
    shape = (probability * freedom).shape
    probability, freedom = probability.expand(shape), freedom.expand(shape)
    inside = (probability > 0) & (probability < 1) & (freedom >= 1)
    tail = torch.minimum(probability, 1 - probability).clamp(min=1e-300)
    central = 1 - 2 * tail
    freedom = torch.where(inside, freedom, 1.0)
    nodes, weights = (
        torch.as_tensor(part, dtype=torch.float64, device=probability.device)
        for part in np.polynomial.legendre.leggauss(_NODES)
    )
    constant = 2 / math.sqrt(math.pi) * _gamma_ratio(freedom / 2)
    power = freedom - 1
    angle = torch.atan(-torch.special.ndtri(tail) / freedom.sqrt())
    for _ in range(_ITERATIONS):
        at = angle[..., None] * (nodes + 1) / 2  # [..., nodes]
        area = (_cosine_power(at, power[..., None]) * weights).sum(-1) * angle / 2
        slope = constant * _cosine_power(angle, power)
        step = (central - constant * area) / slope.clamp(min=1e-300)
        angle = (angle + step).clamp(0, math.pi / 2)
    quantile = freedom.sqrt() * torch.tan(angle)
    quantile = torch.where(probability < 0.5, -quantile, quantile)
    return torch.where(inside, quantile, torch.nan)


def _cosine_power(angle: Tensor, power: Tensor) -> Tensor:
    """cos(angle) ** power, exact also for small angles with large powers."""
    sine = torch.sin(angle).square().clamp(max=1 - 2**-53)
    return torch.exp(0.5 * power * torch.log1p(-sine))


def _gamma_ratio(x: Tensor) -> Tensor:
    """Gamma(x + 1/2) / Gamma(x)."""
    exact = torch.exp(torch.lgamma(x + 0.5) - torch.lgamma(x))
    inverse = 1 / x
    series = torch.zeros_like(x)
    for coefficient in _SERIES:
        series = coefficient + inverse * series
    return torch.where(x < _LARGE, exact, x.sqrt() * series)
