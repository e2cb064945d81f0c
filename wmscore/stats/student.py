"""Quantiles and tails of Student's t distribution, which torch does not have."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from wmscore.stats._check import check_values
from wmscore.stats._quadrature import legendre

__all__ = ["student_quantile", "student_two_sided"]

_NODES = 64
_ITERATIONS = 64
_TAIL = 75.0  # nats below the density at t where a tail is cut: e-33 of it
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
        for part in legendre(_NODES)
    )
    constant = 2 / math.sqrt(math.pi) * _gamma_ratio(freedom / 2)
    power = freedom - 1
    angle = torch.atan(-torch.special.ndtri(tail) / freedom.sqrt())
    moving = inside
    for _ in range(_ITERATIONS):
        at = angle[..., None] * (nodes + 1) / 2  # [..., nodes]
        area = (_cosine_power(at, power[..., None]) * weights).sum(-1) * angle / 2
        slope = constant * _cosine_power(angle, power)
        step = (central - constant * area) / slope.clamp(min=1e-300)
        # All steps go one way until what is left is rounding.
        moving = moving & (step > 0)
        if angle.device.type == "cpu" and not bool(moving.any()):
            break
        angle = torch.where(moving, angle + step, angle).clamp(0, math.pi / 2)
    quantile = freedom.sqrt() * torch.tan(angle)
    quantile = torch.where(probability < 0.5, -quantile, quantile)
    return torch.where(inside, quantile, torch.nan)


def student_two_sided(statistic: Tensor, freedom: Tensor) -> Tensor:
    r"""The p-value :math:`P(|X| \ge |t|)`, X of Student's t distribution.

    .. math:: P(|X| \ge t) = \frac{2 \, \Gamma((\nu + 1) / 2)}{\sqrt{\pi} \, \Gamma(\nu / 2)}
        \int_{\arctan(t / \sqrt\nu)}^{\pi / 2} \cos^{\nu - 1} u \, du

    Args:
        statistic: floating point, t.
        freedom: floating point, degrees of freedom :math:`\nu`, at least 1; broadcasts with
            `statistic`.

    Returns:
        Float64 of the broadcast shape, in [0, 1]; relative error below 1e-9 for p-values from
        1e-100. NaN where the statistic is NaN, and for fewer than one degree of freedom.

    Raises:
        TypeError: not floating point tensors.

    Example:
        >>> import torch
        >>> p = student_two_sided(torch.tensor(2.304256, dtype=torch.float64), torch.tensor(7.0))
        >>> round(p.item(), 6)
        0.054647
    """
    check_values("statistic", statistic)
    check_values("freedom", freedom)
    size, freedom = statistic.to(torch.float64).abs(), freedom.to(torch.float64)
    shape = (size * freedom).shape
    size, freedom = size.expand(shape), freedom.expand(shape)
    inside = ~size.isnan() & (freedom >= 1)
    freedom = torch.where(inside, freedom, 1.0)
    size = torch.where(inside, size, 0.0)
    start = torch.atan(size / freedom.sqrt())
    # Most of a thin tail lies close to where it starts, and needs the nodes there.
    end = torch.acos(torch.cos(start) * torch.exp(-_TAIL / freedom))
    nodes, weights = (
        torch.as_tensor(part, dtype=torch.float64, device=size.device) for part in legendre(_NODES)
    )
    width = (end - start) / 2
    at = start[..., None] + width[..., None] * (nodes + 1)
    area = (_cosine_power(at, (freedom - 1)[..., None]) * weights).sum(-1) * width
    p_value = 2 / math.sqrt(math.pi) * _gamma_ratio(freedom / 2) * area
    return torch.where(inside, p_value.clamp(max=1.0), torch.nan)


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
