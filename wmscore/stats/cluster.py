"""Survival curves and restricted means with scenarios, not rollouts, as pieces of evidence."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from wmscore.stats._check import check_number, reason_where
from wmscore.stats._sums import sum_scenarios, sum_steps
from wmscore.stats.kaplan_meier import KaplanMeier, band_ends, survival_curve
from wmscore.stats.restricted_mean import RestrictedMean, check_until
from wmscore.stats.risk import RiskTable, check_table, table_shares
from wmscore.stats.student import student_quantile

__all__ = ["cluster_restricted_mean", "cluster_survival"]

Weighting = Literal["scenarios", "rollouts"]


class _Linear(NamedTuple):
    """A pooled curve ``[..., T + 1]`` and what each scenario moves it by, ``[S, ..., T + 1]``."""

    survival: Tensor
    influence: Tensor
    scenarios: Tensor


def cluster_survival(
    table: RiskTable,
    *,
    level: float = 0.95,
    band: Literal["log-log", "plain"] = "log-log",
    weighting: Weighting = "scenarios",
    dim: int = 0,
) -> KaplanMeier:
    r"""Survival curve of a panel with a band over scenarios.

    Seeds of one scenario tend to fail alike, so that Greenwood's variance, which takes them for
    independent, is too small. What scenario s of S moves the pooled curve by is, to first order,

    .. math:: \psi_s(t) = -S(t) \sum_{u \le t} w_s
        \frac{d_{s,u} - n_{s,u} \, d_u / n_u}{n_u - d_u}, \qquad
        \mathrm{Var}\, S(t) = \frac{S}{S - 1} \sum_s \psi_s(t)^2

    with n and d the weighted sums over scenarios. The band is that of `kaplan_meier` with this
    variance and Student's quantile of S - 1 degrees of freedom.

    Args:
        table: of `risk_table` with a dim of scenarios, as of times ``[S, K]`` or of `groups`.
        level: of confidence at each t, in (0, 1).
        band: its form, as for `kaplan_meier`.
        weighting: ``"scenarios"`` counts each scenario alike, however many of its rollouts are
            there, as a comparison of models does; ``"rollouts"`` each rollout alike.
        dim: the batch dim of the scenarios; negative ones count from the last batch dim.

    Returns:
        A `KaplanMeier` without that dim, for `survival_quantile` too. Scenarios without rollouts do
        not count; with fewer than two the curve stands, without variance and band, and with the
        reason TOO_FEW_SAMPLES.

    Raises:
        TypeError: not a `RiskTable`.
        ValueError: no such dim, a level outside (0, 1), another band or weighting.

    Source:
        Ying and Wei, J. Multivar. Anal. 50 (1994), Kaplan-Meier with dependent times.

    Example:
        >>> import torch
        >>> from wmscore.stats import kaplan_meier, pool_tables, risk_table
        >>> times = torch.tensor([[2, 3], [5, 6], [8, 8], [2, 2], [8, 7], [4, 4]])  # [S, K]
        >>> table = risk_table(times, times < 8, horizon=8)
        >>> robust, naive = cluster_survival(table), kaplan_meier(pool_tables(table))
        >>> [round(c.survival[4].item(), 3) for c in (robust, naive)]
        [0.5, 0.5]
        >>> [round(c.variance[4].sqrt().item(), 3) for c in (robust, naive)]
        [0.224, 0.144]
    """
    check_number("level", level, 0.0, 1.0)
    if band not in ("log-log", "plain"):
        raise ValueError(f"band must be 'log-log' or 'plain', got {band!r}")
    found = _linear(table, weighting, dim)
    count = found.scenarios[..., None]
    variance = _variance(found.influence, count)
    quantile = _quantile(level, count)
    low, high = band_ends(found.survival, variance, quantile, band)
    few = variance.isnan() | found.survival.isnan()
    low, high = (torch.where(few, torch.nan, end) for end in (low, high))
    return KaplanMeier(found.survival, variance, low, high, reason_where(few))


def cluster_restricted_mean(
    table: RiskTable,
    until: int | None = None,
    *,
    level: float = 0.95,
    weighting: Weighting = "scenarios",
    dim: int = 0,
) -> RestrictedMean:
    r"""Mean horizon within the first steps, with its interval over scenarios.

    .. math:: \mu = \sum_{t < L} S(t), \qquad
        \mathrm{se}^2 = \frac{S}{S - 1} \sum_s \Bigl[ \sum_{t < L} \psi_s(t) \Bigr]^2, \qquad
        \mu \pm t_{S - 1} \, \mathrm{se}

    with L = `until` and :math:`\psi` of `cluster_survival`. Without censoring before L and with
    `weighting` over scenarios it is `mean_interval` of the scenarios' means of
    :math:`\min(H, L)`, cut to [0, L].

    Args:
        table: of `risk_table` with a dim of scenarios.
        until: L, 1..T; ``None`` means T. See `restricted_mean`.
        level: of confidence, in (0, 1).
        weighting: as for `cluster_survival`.
        dim: as for `cluster_survival`.

    Returns:
        A `RestrictedMean` without that dim. With fewer than two scenarios the mean stands, without
        error and interval, and with the reason TOO_FEW_SAMPLES.

    Raises:
        TypeError: not a `RiskTable`, or `until` not an int.
        ValueError: no such dim, `until` outside 1..T, a level outside (0, 1), another weighting.

    Example:
        >>> import torch
        >>> from wmscore.stats import risk_table
        >>> times = torch.tensor([[2, 3], [5, 6], [8, 8], [2, 2], [8, 7], [4, 4]])
        >>> found = cluster_restricted_mean(risk_table(times, times < 8, horizon=8))
        >>> [round(end.item(), 2) for end in (found.mean, found.low, found.high)]
        [4.92, 2.27, 7.56]
    """
    check_table(table)
    until = check_until(table, until)
    check_number("level", level, 0.0, 1.0)
    found = _linear(table, weighting, dim)
    last = found.survival.shape[-1] - 1
    observed = (~found.survival[..., :last].isnan()).sum(-1)
    mean = sum_steps(found.survival[..., :until])
    error = _variance(sum_steps(found.influence[..., :until]), found.scenarios).sqrt()
    half = _quantile(level, found.scenarios) * error
    low, high = (mean - half).clamp(min=0.0), (mean + half).clamp(max=float(until))
    return RestrictedMean(mean, error, low, high, observed, reason_where(half.isnan()))


def check_weighting(weighting: object) -> None:
    """Of scenarios or of rollouts."""
    if weighting not in ("scenarios", "rollouts"):
        raise ValueError(f"weighting must be 'scenarios' or 'rollouts', got {weighting!r}")


def _linear(table: RiskTable, weighting: str, dim: int) -> _Linear:
    check_weighting(weighting)
    check_table(table)
    batch = table.missing.ndim
    if not -batch <= dim < batch:
        raise ValueError(f"dim must be one of the {batch} batch dims of table, got {dim}")
    dim %= batch
    if weighting == "scenarios":
        table = table_shares(table)
    count, failures = (part.movedim(dim, 0) for part in (table.at_risk, table.failures))
    total, ended = sum_scenarios(count), sum_scenarios(failures)
    pooled = RiskTable(total, ended, ended[..., None, :], total[..., 0])
    survival = survival_curve(pooled)
    remain = total - ended
    # Where nobody remains the curve is 0 whatever a scenario does.
    some = (total > 0) & (remain > 1e-12 * total)
    excess = failures - count * (ended / torch.where(total > 0, total, 1.0))
    moved = torch.where(some, excess / torch.where(some, remain, 1.0), 0.0).cumsum(-1)
    scenarios = (count[..., 0] > 0).sum(0).to(torch.float64)
    return _Linear(survival, -survival * moved, scenarios)


def _variance(influence: Tensor, count: Tensor) -> Tensor:
    """Of a sum of what scenarios ``[S, ...]`` move it by; NaN with fewer than two."""
    ratio = torch.where(count >= 2, count / (count - 1), torch.nan)
    return sum_scenarios(influence.square()) * ratio


def _quantile(level: float, count: Tensor) -> Tensor:
    return student_quantile(torch.full_like(count, 0.5 + level / 2), count - 1)
