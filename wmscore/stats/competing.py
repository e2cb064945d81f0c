"""Competing risks: which axis ends the usable horizon, and when."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from wmscore.stats._check import check_number, reason_where
from wmscore.stats.kaplan_meier import (
    band_ends,
    greenwood_terms,
    normal_quantile,
    survival_curve,
)
from wmscore.stats.risk import RiskTable, check_table

__all__ = ["CumulativeIncidence", "cumulative_incidence"]


class CumulativeIncidence(NamedTuple):
    """What `cumulative_incidence` returns, each ``[..., C, T + 1]`` for t = 0..T.

    Attributes:
        incidence: float64 in [0, 1], share of rollouts whose horizon has ended at t or before by
            this cause. NaN where nobody is at risk any more and some had not failed.
        variance: float64, of the incidence.
        low: float64, lower end of the band, for each t by itself.
        high: float64, upper end.
        reason: uint8, TOO_FEW_SAMPLES where the incidence is NaN.
    """

    incidence: Tensor
    variance: Tensor
    low: Tensor
    high: Tensor
    reason: Tensor


def cumulative_incidence(
    table: RiskTable, *, level: float = 0.95, band: Literal["log-log", "plain"] = "log-log"
) -> CumulativeIncidence:
    r"""Aalen-Johansen: share of rollouts ended by each cause up to each step.

    .. math:: F_k(t) = \sum_{u \le t} S(u - 1) \, \frac{d_{k,u}}{n_u}, \qquad
        \sum_k F_k(t) + S(t) = 1

    1 minus the Kaplan-Meier curve of one cause, with failures by others as censored, says more
    than that: it is the share in a world in which the other causes do not exist.

    .. math:: \mathrm{Var}\, F_k(t) = \sum_{u \le t} \Bigl\{ [F_k(t) - F_k(u)]^2
        \frac{d_u}{n_u (n_u - d_u)} + S(u - 1)^2 \, \frac{d_{k,u} (n_u - d_{k,u})}{n_u^3}
        - 2 \, [F_k(t) - F_k(u)] \, S(u - 1) \frac{d_{k,u}}{n_u^2} \Bigr\}

    The ``"log-log"`` band is :math:`F^{\exp(\pm z \sqrt{\mathrm{Var}} / (F \log F))}`, the
    ``"plain"`` one :math:`F \pm z \sqrt{\mathrm{Var}}` within [0, 1]. Each rollout counts as
    evidence of its own, as for `kaplan_meier`.

    Args:
        table: of `risk_table` with the number of causes, say axis + 1, 0 = censored.
        level: of confidence at each t, in (0, 1).
        band: its form.

    Returns:
        A `CumulativeIncidence`.

    Raises:
        TypeError: not a `RiskTable`.
        ValueError: a level outside (0, 1), or another band.

    Source:
        Aalen and Johansen, Scand. J. Statist. 5 (1978); Marubini and Valsecchi, Analysing Survival
        Data from Clinical Trials and Observational Studies (1995), for the variance.

    Example:
        >>> import torch
        >>> from wmscore.stats import risk_table
        >>> times = torch.tensor([4, 7, 8, 9, 12, 16, 20, 32, 32, 32])
        >>> cause = torch.tensor([1, 2, 2, 3, 1, 2, 3, 0, 0, 0])
        >>> found = cumulative_incidence(risk_table(times, cause, horizon=32, causes=3))
        >>> [round(share, 4) for share in found.incidence[:, 32].tolist()]
        [0.2, 0.3, 0.2]
    """
    check_table(table)
    check_number("level", level, 0.0, 1.0)
    if band not in ("log-log", "plain"):
        raise ValueError(f"band must be 'log-log' or 'plain', got {band!r}")
    survival = survival_curve(table)
    unknown = survival.isnan()[..., None, :]
    before = torch.ones_like(survival)
    before[..., 1:] = survival.nan_to_num(0.0)[..., :-1]
    count = torch.where(table.at_risk > 0, table.at_risk, 1.0)
    scaled = (before / count)[..., None, :]
    gained = scaled * table.by_cause  # what each step adds
    incidence = gained.cumsum(-1)

    # The sums over u <= t of the three terms, with [F(t) - F(u)] multiplied out.
    terms = greenwood_terms(table)[..., None, :]
    square = terms.cumsum(-1), (terms * incidence).cumsum(-1), (terms * incidence**2).cumsum(-1)
    own = (scaled * gained * (1 - table.by_cause / count[..., None, :])).cumsum(-1)
    shared = gained / count[..., None, :]
    mixed = incidence * shared.cumsum(-1) - (shared * incidence).cumsum(-1)
    variance = incidence**2 * square[0] - 2 * incidence * square[1] + square[2] + own - 2 * mixed
    variance = torch.where(unknown, torch.nan, variance.clamp(min=0.0))
    incidence = torch.where(unknown, torch.nan, incidence.clamp(max=1.0))
    low, high = band_ends(incidence, variance, normal_quantile(level), band)
    return CumulativeIncidence(
        incidence, variance, low, high, reason_where(unknown.expand_as(incidence))
    )
