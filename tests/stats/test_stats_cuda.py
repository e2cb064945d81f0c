"""The same statistics on a device."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from wmscore.stats import (
    RiskTable,
    bootstrap_interval,
    cliffs_delta,
    cluster_bootstrap,
    cluster_restricted_mean,
    cluster_survival,
    cumulative_incidence,
    hazard,
    holm,
    interquartile_interval,
    interquartile_mean,
    kaplan_meier,
    kendall_tau,
    log_rank_test,
    mean_band,
    mean_interval,
    nested_bootstrap,
    paired_t_test,
    quantile_band,
    rank_shares,
    restricted_mean,
    risk_table,
    sign_flip_norm_test,
    sign_flip_test,
    signed_rank_test,
    survival_draws,
    uniformity_test,
    win_rate,
)

CALLS: dict[str, Callable[[Tensor], Sequence[Tensor]]] = {
    "bca": lambda x: bootstrap_interval(x, method="bca", draws=300),
    "t": lambda x: bootstrap_interval(x, method="t", draws=300),
    "percentile": lambda x: bootstrap_interval(x, method="percentile", draws=300),
    "cluster_bootstrap": lambda x: cluster_bootstrap(x, draws=300),
    "nested_bootstrap": lambda x: nested_bootstrap(x, draws=300),
    "fixed scenarios": lambda x: nested_bootstrap(x, fixed_scenarios=True, draws=300),
    "interquartile_interval": lambda x: interquartile_interval(x, draws=300),
    "interquartile of seeds": lambda x: interquartile_interval(x, seeds=True, draws=300),
    "interquartile_mean": lambda x: [interquartile_mean(x)],
    "mean_band": lambda x: mean_band(x, draws=300),
    "quantile_band": lambda x: quantile_band(x, draws=300),
    "signed_rank_test": lambda x: signed_rank_test((4 * x).round()),
    "normal ranks": lambda x: signed_rank_test(x, method="normal"),
    "paired_t_test": paired_t_test,
    "win_rate": win_rate,
    "cliffs_delta": lambda x: [cliffs_delta(x[:10], x[10:])],
    "rank_shares": lambda x: rank_shares(x[..., 0], draws=300),
    "kendall_tau": lambda x: [kendall_tau(x[..., 0], x[..., 1])],
    "uniformity_test": lambda x: uniformity_test(x.sigmoid(), step=0.01),
}


@pytest.mark.needs_cuda
def test_on_a_device() -> None:
    values = torch.randn(24, 5, 2, dtype=torch.float64) + 0.4
    values[::2, 0] = math.nan
    for call in (sign_flip_test, sign_flip_norm_test, mean_interval):
        here, there = call(values), call(values.cuda())
        for a, b in zip(here, there, strict=True):
            torch.testing.assert_close(a, b.cpu(), equal_nan=True)
    p_values = sign_flip_test(values).p_value
    torch.testing.assert_close(holm(p_values), holm(p_values.cuda()).cpu())


@pytest.mark.needs_cuda
def test_survival_on_a_device() -> None:
    times = torch.randint(0, 21, (9, 6, 30))
    cause = torch.randint(0, 4, (9, 6, 30))
    here = risk_table(times, cause, 20, causes=3)
    there = risk_table(times.cuda(), cause.cuda(), 20, causes=3)
    for a, b in zip(here, there, strict=True):
        assert torch.equal(a, b.cpu())
    for call in (
        kaplan_meier,
        restricted_mean,
        hazard,
        cumulative_incidence,
        cluster_survival,
        cluster_restricted_mean,
        lambda table: log_rank_test(table, RiskTable(*(part.flip(0) for part in table))),
        lambda table: survival_draws(table, draws=200),
    ):
        for a, b in zip(call(here), call(there), strict=True):
            torch.testing.assert_close(a, b.cpu(), equal_nan=True)


@pytest.mark.needs_cuda
@pytest.mark.parametrize("name", CALLS)
def test_resampling_on_a_device(name: str) -> None:
    values = torch.randn(24, 5, 2, dtype=torch.float64) + 0.4
    values[::2, 0] = math.nan
    for a, b in zip(CALLS[name](values), CALLS[name](values.cuda()), strict=True):
        assert b.is_cuda
        torch.testing.assert_close(a, b.cpu(), equal_nan=True)


def test_the_calls_run_here_too() -> None:
    """So that a machine without a device still sees a call that is spelled wrong."""
    values = torch.randn(24, 5, 2, dtype=torch.float64)
    for call in CALLS.values():
        assert all(isinstance(part, Tensor) for part in call(values))
