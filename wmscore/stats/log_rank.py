"""Log-rank test of two groups of horizons, plain and stratified."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.stats._check import reason_where
from wmscore.stats._sums import sum_scenarios, sum_steps
from wmscore.stats.risk import RiskTable, check_table

__all__ = ["LogRankTest", "log_rank_test"]


class LogRankTest(NamedTuple):
    """What `log_rank_test` returns, each ``[...]``.

    Attributes:
        excess: float64, failures of the candidate beyond what the pooled hazard would give it;
            positive = it fails earlier than the baseline.
        variance: float64, of the excess where both are alike.
        statistic: float64, chi-squared with one degree of freedom; NaN without a failure while
            both are at risk.
        p_value: float64 in [0, 1], two-sided.
        reason: uint8, TOO_FEW_SAMPLES where the statistic is NaN.
    """

    excess: Tensor
    variance: Tensor
    statistic: Tensor
    p_value: Tensor
    reason: Tensor


def log_rank_test(
    baseline: RiskTable, candidate: RiskTable, *, strata: int | None = None
) -> LogRankTest:
    r"""Do two groups of rollouts fail alike? For comparison with the literature only.

    With the failures d and numbers at risk n of both together, of the candidate (B) alone:

    .. math:: E = \sum_t \Bigl( d_{B,t} - n_{B,t} \frac{d_t}{n_t} \Bigr), \quad
        V = \sum_t \frac{n_{B,t}}{n_t} \Bigl(1 - \frac{n_{B,t}}{n_t}\Bigr)
        \frac{n_t - d_t}{n_t - 1} d_t, \quad \chi^2 = E^2 / V

    Stratified, E and V are summed over the scenarios first.

    It takes each rollout for a piece of evidence of its own. Seeds of one scenario are not: where
    scenarios favour one or the other model (interaction of scenario and model) it rejects the
    truth far more often than its level says, plain (.10 to .20 at .05) and stratified (.11 to .30);
    without interaction the plain test hardly ever rejects. To compare models over scenarios use
    `sign_flip_test`, say of the `excess` of each scenario: tables of ``[S]``, no strata.

    Args:
        baseline: of `risk_table`.
        candidate: of the same shape.
        strata: the batch dim over which scenarios lie, negative from the last batch dim; ``None``
            for no strata.

    Returns:
        A `LogRankTest` of ``[...]`` tensors, without the dim of the strata.

    Raises:
        TypeError: not `RiskTable` s.
        ValueError: shapes that differ, or no such dim.

    Source:
        Mantel, Cancer Chemother. Rep. 50 (1966); Peto and Peto, J. R. Stat. Soc. A 135 (1972).

    Example:
        >>> import torch
        >>> from wmscore.stats import risk_table
        >>> a = torch.tensor([4, 7, 7, 9, 12, 16, 20, 32, 32, 32])
        >>> b = torch.tensor([6, 10, 14, 14, 18, 25, 32, 32, 32, 32])
        >>> found = log_rank_test(risk_table(a, a < 32, 32), risk_table(b, b < 32, 32))
        >>> round(found.statistic.item(), 10), round(found.p_value.item(), 10)
        (0.5588053749, 0.454741976)
    """
    check_table(baseline, "baseline")
    check_table(candidate, "candidate")
    if baseline.at_risk.shape != candidate.at_risk.shape:
        raise ValueError(
            f"candidate must have the shape of baseline {tuple(baseline.at_risk.shape)}, "
            f"got {tuple(candidate.at_risk.shape)}"
        )
    both = baseline.at_risk + candidate.at_risk
    failures = baseline.failures + candidate.failures
    there = both > 0
    share = torch.where(there, candidate.at_risk / both, 0.0)
    excess = sum_steps(candidate.failures - share * failures)
    spare = torch.where(both > 1, (both - failures) / (both - 1), 0.0)
    variance = sum_steps(share * (1 - share) * spare * failures)
    if strata is not None:
        batch = variance.ndim
        if not -batch <= strata < batch:
            raise ValueError(f"strata must be one of the {batch} batch dims, got {strata}")
        excess, variance = (sum_scenarios(part.movedim(strata, 0)) for part in (excess, variance))
    none = variance <= 0
    statistic = torch.where(none, torch.nan, excess.square() / variance)
    p_value = torch.special.erfc((statistic / 2).sqrt())
    return LogRankTest(excess, variance, statistic, p_value, reason_where(none))
