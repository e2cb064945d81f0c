"""Bootstrap of curves: against resampling of rollouts, and against what needs no draws."""

from __future__ import annotations

import pytest
import torch

from tests.stats.survival_data import random_horizons
from tests.stats.test_cluster import scenario_tables
from wmscore.stats import (
    RiskTable,
    bca_interval,
    bootstrap_interval,
    cluster_bootstrap,
    cluster_restricted_mean,
    cluster_survival,
    kaplan_meier,
    resample_counts,
    restricted_mean,
    risk_table,
    survival_draws,
)


def test_draws_are_curves_of_resampled_rollouts() -> None:
    times, cause = random_horizons(60, early=0.3)
    times, failed = times.reshape(10, 6), (cause > 0).reshape(10, 6)
    table = risk_table(times, failed, 20)
    found = survival_draws(table, 14, draws=40, seed=5, weighting="rollouts")
    counts = torch.cat(list(resample_counts(10, 40, seed=5))).long()
    for r in range(40):
        pick = torch.arange(10).repeat_interleave(counts[r])
        own = risk_table(times[pick].flatten(), failed[pick].flatten(), 20)
        expected = kaplan_meier(own).survival
        torch.testing.assert_close(found.survival_draws[r], expected, equal_nan=True)
        mean = restricted_mean(own, 14).mean
        torch.testing.assert_close(found.mean_draws[r], mean, equal_nan=True)
    for s in range(10):
        pick = torch.arange(10) != s
        own = risk_table(times[pick].flatten(), failed[pick].flatten(), 20)
        torch.testing.assert_close(
            found.survival_left_out[s], kaplan_meier(own).survival, equal_nan=True
        )
        torch.testing.assert_close(
            found.mean_left_out[s], restricted_mean(own, 14).mean, equal_nan=True
        )


def test_without_early_censoring_it_is_the_bootstrap_of_scenario_means() -> None:
    times, _ = random_horizons(72, seed=4)
    times = times.reshape(12, 6)
    found = survival_draws(risk_table(times, times < 20, 20), draws=500, seed=3)
    means = cluster_bootstrap(times.double().mean(1), draws=500, seed=3)
    torch.testing.assert_close(found.mean, means.mean)
    torch.testing.assert_close(found.mean_draws, means.draws)
    torch.testing.assert_close(found.mean_left_out, means.left_out)
    ends = bca_interval(found.mean_draws, found.mean, found.mean_left_out)
    expected = bootstrap_interval(times.double().mean(1), method="bca", draws=500, seed=3)
    torch.testing.assert_close(ends.low, expected.low)
    torch.testing.assert_close(ends.high, expected.high)


@pytest.mark.parametrize("weighting", ["scenarios", "rollouts"])
def test_spread_is_the_error_without_draws(weighting: str) -> None:
    times, cause = random_horizons(480, early=0.3)
    times, failed = times.reshape(60, 8), (cause > 0).reshape(60, 8)
    times[:20, 3:] = -1
    table = risk_table(times, failed, 20)
    found = survival_draws(table, 15, draws=4000, weighting=weighting)
    curve = cluster_survival(table, weighting=weighting)
    mean = cluster_restricted_mean(table, 15, weighting=weighting)
    torch.testing.assert_close(found.survival, curve.survival)
    torch.testing.assert_close(found.mean, mean.mean)
    spread = found.survival_draws[:, :18].std(0)
    torch.testing.assert_close(spread, curve.variance[:18].sqrt(), rtol=0.08, atol=0)
    assert found.mean_draws.std().item() == pytest.approx(mean.error.item(), rel=0.06)


def test_dims_and_bad_input() -> None:
    table = scenario_tables()
    batch = RiskTable(*(torch.stack([part, part]) for part in table))  # [2, 8]
    one, two = survival_draws(table, draws=30), survival_draws(batch, draws=30, dim=-1)
    assert two.survival_draws.shape == (30, 2, 21)
    for part, both in zip(one[2:], two[2:], strict=True):
        torch.testing.assert_close(both[:, 1], part, equal_nan=True)
    torch.testing.assert_close(two.survival[1], one.survival)
    with pytest.raises(ValueError, match="weighting must be"):
        survival_draws(table, weighting="seeds")
    with pytest.raises(TypeError, match="table must be a RiskTable"):
        survival_draws(table.at_risk)
    with pytest.raises(ValueError, match="draws must be at least 1"):
        survival_draws(table, draws=0)
    with pytest.raises(ValueError, match="dim must be one of"):
        survival_draws(table, dim=2)
