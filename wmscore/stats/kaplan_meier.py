"""Kaplan-Meier: how far rollouts stay usable, censored ones included."""

from __future__ import annotations

from statistics import NormalDist
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from wmscore.stats._check import check_number, reason_where
from wmscore.stats.risk import RiskTable, check_table

__all__ = [
    "Hazard",
    "KaplanMeier",
    "SurvivalQuantile",
    "hazard",
    "kaplan_meier",
    "survival_quantile",
]

_ROUNDING = 1e-9  # how far above a share a survival may be and still count as having reached it


class KaplanMeier(NamedTuple):
    """What `kaplan_meier` returns, each ``[..., T + 1]`` for t = 0..T.

    Attributes:
        survival: float64 in [0, 1], share of rollouts with a horizon beyond t: usable at step
            t + 1. NaN where nobody is at risk and it had not dropped to 0 before.
        variance: float64, of the survival as an estimate.
        low: float64, lower end of the band, for each t by itself.
        high: float64, upper end.
        reason: uint8, TOO_FEW_SAMPLES where the survival is NaN.
    """

    survival: Tensor
    variance: Tensor
    low: Tensor
    high: Tensor
    reason: Tensor


class SurvivalQuantile(NamedTuple):
    """What `survival_quantile` returns, each ``[...]``.

    Attributes:
        step: float64, the horizon; ``inf`` where the curve does not come down that far ("beyond
            T"), NaN where there is no curve.
        low: float64, lower end of its interval; NaN where there is no band.
        high: float64, upper end; ``inf`` where the band does not come down that far.
        reached: bool, whether the curve comes down that far.
        reason: uint8, TOO_FEW_SAMPLES where there is no curve.
    """

    step: Tensor
    low: Tensor
    high: Tensor
    reached: Tensor
    reason: Tensor


class Hazard(NamedTuple):
    """What `hazard` returns, each ``[..., T + 1]``.

    Attributes:
        hazard: float64 in [0, 1], share of the rollouts usable up to t that fail next; NaN where
            there is none.
        low: float64, lower end of its interval.
        high: float64, upper end.
        reason: uint8, TOO_FEW_SAMPLES where it is NaN.
    """

    hazard: Tensor
    low: Tensor
    high: Tensor
    reason: Tensor


def kaplan_meier(
    table: RiskTable, *, level: float = 0.95, band: Literal["log-log", "plain"] = "log-log"
) -> KaplanMeier:
    r"""Survival curve of usable horizons, with Greenwood's variance and a band.

    .. math:: S(t) = \prod_{u \le t} \Bigl(1 - \frac{d_u}{n_u}\Bigr), \qquad
        \mathrm{Var}\, S(t) = S(t)^2 \, G(t), \quad
        G(t) = \sum_{u \le t} \frac{d_u}{n_u (n_u - d_u)}

    The band is :math:`S \pm z \sqrt{\mathrm{Var}\, S}` within [0, 1] (``"plain"``), or that of
    :math:`\log(-\log S)`, which stays inside by itself and is the better one for few rollouts:
    :math:`S^{\exp(\pm z \sqrt{G} / \log S)}`. Where S is 1 or 0 the band is that point.

    Variance and band take each rollout for a piece of evidence of its own. Seeds of one scenario
    are not: over scenarios use `cluster_survival`.

    Args:
        table: of a `risk_table` without weights that are not counts.
        level: of confidence at each t, in (0, 1).
        band: its form.

    Returns:
        A `KaplanMeier`.

    Raises:
        TypeError: not a `RiskTable`.
        ValueError: a level outside (0, 1), or another band.

    Source:
        Kaplan and Meier, J. Am. Stat. Assoc. 53 (1958); Kalbfleisch and Prentice, The Statistical
        Analysis of Failure Time Data (2002), section 1.4, for the band.

    Example:
        >>> import torch
        >>> from wmscore.stats import risk_table
        >>> times = torch.tensor([4, 7, 7, 9, 12, 16, 20, 32, 32, 32])
        >>> found = kaplan_meier(risk_table(times, times < 32, horizon=32))
        >>> [round(found.survival[t].item(), 4) for t in (3, 4, 7, 12, 32)]
        [1.0, 0.9, 0.7, 0.5, 0.3]
        >>> round(found.low[12].item(), 6), round(found.high[12].item(), 6)
        (0.183606, 0.753174)
    """
    check_table(table)
    check_number("level", level, 0.0, 1.0)
    if band not in ("log-log", "plain"):
        raise ValueError(f"band must be 'log-log' or 'plain', got {band!r}")
    survival = survival_curve(table)
    sums = greenwood_terms(table).cumsum(-1)
    variance = survival.square() * sums
    low, high = band_ends(survival, variance, normal_quantile(level), band)
    return KaplanMeier(survival, variance, low, high, reason_where(survival.isnan()))


def survival_quantile(found: KaplanMeier, share: float = 0.5) -> SurvivalQuantile:
    r"""The horizon beyond which no more than a share of rollouts remains usable.

    .. math:: q = \min \{ t : S(t) \le \mathrm{share} \}

    0.5 gives the median horizon. Its interval is where the band crosses the share (Brookmeyer and
    Crowley): at the level of the band. A curve that stays above the share has no such horizon
    within what was observed: ``inf``, to be reported as "> T".

    Args:
        found: curve and band of `kaplan_meier` or `cluster_survival`.
        share: in (0, 1), of rollouts still usable.

    Returns:
        A `SurvivalQuantile` of ``[...]`` tensors.

    Raises:
        TypeError: not a curve with its band.
        ValueError: a share outside (0, 1).

    Source:
        Brookmeyer and Crowley, Biometrics 38 (1982).

    Example:
        >>> import torch
        >>> from wmscore.stats import risk_table
        >>> times = torch.tensor([4, 7, 7, 9, 12, 16, 20, 32, 32, 32])
        >>> found = survival_quantile(kaplan_meier(risk_table(times, times < 32, horizon=32)))
        >>> found.step.item(), found.low.item(), found.high.item()
        (12.0, 4.0, inf)
    """
    curves = [getattr(found, name, None) for name in ("survival", "low", "high")]
    if not all(isinstance(curve, Tensor) for curve in curves):
        raise TypeError(f"found must hold a survival curve, got {type(found).__name__}")
    check_number("share", share, 0.0, 1.0)
    step, low, high = (
        _first_at_most(getattr(found, n), share) for n in ("survival", "low", "high")
    )
    none = found.survival[..., 0].isnan()
    step = torch.where(none, torch.nan, step)
    bare = none | found.low[..., 0].isnan()  # a curve without a band
    low, high = (torch.where(bare, torch.nan, end) for end in (low, high))
    return SurvivalQuantile(step, low, high, step.isfinite(), reason_where(none))


def hazard(table: RiskTable, *, level: float = 0.95) -> Hazard:
    r"""Share of rollouts that fail at each step, among those that come to it.

    .. math:: h_t = d_t / n_t

    with Wilson's interval for a share:

    .. math:: \frac{h + z^2 / 2n}{1 + z^2 / n} \pm
        \frac{z}{1 + z^2 / n} \sqrt{\frac{h (1 - h)}{n} + \frac{z^2}{4 n^2}}

    A hazard that rises with t says that errors build up; a constant one, that each step is as
    likely to fail as any other; a falling one, that some rollouts are bad from the start.

    Args:
        table: of `risk_table`.
        level: of confidence at each step, in (0, 1).

    Returns:
        A `Hazard`.

    Raises:
        TypeError: not a `RiskTable`.
        ValueError: a level outside (0, 1).

    Source:
        Wilson, J. Am. Stat. Assoc. 22 (1927), for the interval.

    Example:
        >>> import torch
        >>> from wmscore.stats import risk_table
        >>> found = hazard(risk_table(torch.tensor([0, 1, 1, 3]), torch.ones(4).bool(), 3))
        >>> [round(h, 4) for h in found.hazard.tolist()]
        [0.25, 0.6667, 0.0, 1.0]
    """
    check_table(table)
    check_number("level", level, 0.0, 1.0)
    count, failures = table.at_risk, table.failures
    none = count <= 0
    share = torch.where(none, torch.nan, failures / count)
    square = normal_quantile(level) ** 2 / count
    centre = (share + square / 2) / (1 + square)
    half = (square * (share * (1 - share) + square / 4)).sqrt() / (1 + square)
    # At 0 and 1 an end is the share itself, but for rounding.
    low = torch.where(failures == 0, share, centre - half)
    high = torch.where(failures == count, share, centre + half)
    return Hazard(share, low, high, reason_where(none))


def survival_curve(table: RiskTable) -> Tensor:
    """S(0..T); NaN from where nobody is at risk, unless it has dropped to 0."""
    observed = table.at_risk > 0
    remain = torch.where(observed, table.at_risk - table.failures, 1.0)
    # What sums of weights leave over by rounding is nobody.
    remain = torch.where(remain <= 1e-12 * table.at_risk, 0.0, remain)
    curve = (remain / torch.where(observed, table.at_risk, 1.0)).cumprod(-1)
    return torch.where(observed | (curve == 0), curve, torch.nan)


def greenwood_terms(table: RiskTable) -> Tensor:
    """Terms of G, d / (n (n - d)); 0 where nobody is at risk and where nobody remains."""
    remain = table.at_risk - table.failures
    terms = table.failures / (table.at_risk * remain)
    return torch.where((table.at_risk > 0) & (remain > 1e-12 * table.at_risk), terms, 0.0)


def normal_quantile(level: float) -> float:
    """The z with P(|Z| <= z) = `level` for a standard normal Z."""
    return NormalDist().inv_cdf(0.5 + level / 2)


def band_ends(
    curve: Tensor, variance: Tensor, quantile: float | Tensor, band: str
) -> tuple[Tensor, Tensor]:
    """Ends of a band around a share in [0, 1], of form "plain" or "log-log"."""
    if band == "plain":
        half = quantile * variance.sqrt()
        return (curve - half).clamp(min=0.0), (curve + half).clamp(max=1.0)
    inner = (curve > 0) & (curve < 1)
    inside = torch.where(inner, curve, 0.5)
    spread = quantile * variance.sqrt() / (inside * inside.log().abs())
    low, high = inside ** torch.exp(spread), inside ** torch.exp(-spread)
    return torch.where(inner, low, curve), torch.where(inner, high, curve)


def _first_at_most(curve: Tensor, share: float) -> Tensor:
    """First t ``[...]`` at which a curve that falls is at most the share, inf if at none."""
    there = curve <= share + _ROUNDING
    step = torch.arange(curve.shape[-1], dtype=torch.float64, device=curve.device)
    return step.where(there, torch.inf).amin(-1)
