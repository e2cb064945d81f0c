"""The same statistics on a device."""

from __future__ import annotations

import math

import pytest
import torch

from wmscore.stats import (
    RiskTable,
    cluster_restricted_mean,
    cluster_survival,
    cumulative_incidence,
    hazard,
    holm,
    kaplan_meier,
    log_rank_test,
    mean_interval,
    restricted_mean,
    risk_table,
    sign_flip_norm_test,
    sign_flip_test,
    survival_draws,
)


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
