"""Restricted mean: the mean usable horizon within the steps that were asked for."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from wmscore.stats._check import check_count, check_number, reason_where
from wmscore.stats._sums import sum_steps
from wmscore.stats.kaplan_meier import greenwood_terms, normal_quantile, survival_curve
from wmscore.stats.risk import RiskTable, check_table

__all__ = ["RestrictedMean", "restricted_mean"]


class RestrictedMean(NamedTuple):
    """What `restricted_mean` returns, each ``[...]``.

    Attributes:
        mean: float64, steps in [0, until]; NaN where the curve is not known up to `until`.
        error: float64, its standard error in steps.
        low: float64, lower end of its interval.
        high: float64, upper end.
        observed: int64, the largest `until` for which there is a mean.
        reason: uint8, TOO_FEW_SAMPLES where the mean is NaN.
    """

    mean: Tensor
    error: Tensor
    low: Tensor
    high: Tensor
    observed: Tensor
    reason: Tensor


def restricted_mean(
    table: RiskTable, until: int | None = None, *, level: float = 0.95
) -> RestrictedMean:
    r"""Mean horizon over the first steps: the area under the survival curve.

    .. math:: \mu = \sum_{t = 0}^{L - 1} S(t) = E \min(H, L), \qquad
        \mathrm{se}^2 = \sum_{u < L} \Bigl[ \sum_{t = u}^{L - 1} S(t) \Bigr]^2
        \frac{d_u}{n_u (n_u - d_u)}

    with L = `until`. Without censoring before L it is the mean of :math:`\min(H_i, L)`, and the
    error that of a mean, :math:`\hat\sigma / \sqrt{N}`. It needs no model of what lies beyond L,
    and unlike a median it exists however few rollouts fail.

    As for `kaplan_meier`, each rollout counts as evidence of its own; over scenarios use
    `cluster_restricted_mean`.

    Args:
        table: of `risk_table`.
        until: L, 1..T; ``None`` means T. Where all rollouts end earlier without the last one
            failing, the curve beyond is unknown and so is the mean: choose an `until` that is
            `observed`, the same for all models of a comparison.
        level: of confidence, in (0, 1); the interval is the normal one, within [0, L].

    Returns:
        A `RestrictedMean` of ``[...]`` tensors.

    Raises:
        TypeError: not a `RiskTable`, or `until` not an int.
        ValueError: `until` outside 1..T, or a level outside (0, 1).

    Source:
        Klein and Moeschberger, Survival Analysis (2003), section 4.5; Royston and Parmar, BMC Med.
        Res. Methodol. 13 (2013). The variance that lifelines returns beside its restricted mean is
        that of :math:`\min(H, L)`, not of the estimate.

    Example:
        >>> import torch
        >>> from wmscore.stats import risk_table
        >>> times = torch.tensor([4, 7, 7, 9, 12, 16, 20, 32, 32, 32])
        >>> found = restricted_mean(risk_table(times, times < 32, horizon=32))
        >>> round(found.mean.item(), 6), round(found.error.item(), 6)
        (17.1, 3.38068)
    """
    check_table(table)
    until = check_until(table, until)
    last = table.at_risk.shape[-1] - 1
    check_number("level", level, 0.0, 1.0)
    survival = survival_curve(table)
    observed = (~survival[..., :last].isnan()).sum(-1)
    survival = survival[..., :until]
    rest = survival.flip(-1).cumsum(-1).flip(-1)  # area from u on
    mean = rest[..., 0]
    error = sum_steps(rest.square() * greenwood_terms(table)[..., :until]).sqrt()
    half = normal_quantile(level) * error
    return RestrictedMean(
        mean,
        error,
        (mean - half).clamp(min=0.0),
        (mean + half).clamp(max=float(until)),
        observed,
        reason_where(mean.isnan()),
    )


def check_until(table: RiskTable, until: int | None) -> int:
    """The step up to which is asked, 1..T; T for ``None``."""
    last = table.at_risk.shape[-1] - 1
    until = last if until is None else until
    check_count("until", until)
    if until > last:
        raise ValueError(f"until must be at most the horizon of the table, {last}, got {until}")
    return until
