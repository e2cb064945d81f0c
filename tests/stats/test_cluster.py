"""Bands over scenarios: against derivatives, means of scenarios, and how often they cover."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tests.stats.survival_data import random_horizons
from wmscore.functional import Reason
from wmscore.stats import (
    RiskTable,
    cluster_restricted_mean,
    cluster_survival,
    kaplan_meier,
    mean_interval,
    pool_tables,
    restricted_mean,
    risk_table,
    survival_quantile,
)
from wmscore.stats.kaplan_meier import survival_curve


def scenario_tables(early: float = 0.3, seed: int = 0) -> RiskTable:
    """8 scenarios of 12 rollouts, of which 2 lack some."""
    times, cause = random_horizons(96, early=early, seed=seed)
    times, cause = times.reshape(8, 12), cause.reshape(8, 12)
    times[0, 5:] = -1
    times[3, 2:] = -1
    return risk_table(times, cause > 0, 20)


@pytest.mark.parametrize("weighting", ["scenarios", "rollouts"])
def test_variance_is_that_of_the_derivatives(weighting: str) -> None:
    table = scenario_tables()
    weights = torch.ones(8, dtype=torch.float64)
    if weighting == "scenarios":
        weights = 1 / table.at_risk[:, 0]

    def curve(factor: Tensor) -> Tensor:
        return survival_curve(pool_tables(table, factor * weights))

    ones = torch.ones(8, dtype=torch.float64)
    slopes = torch.autograd.functional.jacobian(curve, ones)  # [T + 1, S]
    found = cluster_survival(table, weighting=weighting)
    torch.testing.assert_close(found.survival, curve(ones), rtol=1e-13, atol=0)
    expected = slopes.square().sum(1) * 8 / 7
    torch.testing.assert_close(found.variance, expected, rtol=1e-10, atol=1e-16)
    mean = cluster_restricted_mean(table, 15, weighting=weighting)
    error = (slopes[:15].sum(0).square().sum() * 8 / 7).sqrt()
    torch.testing.assert_close(mean.error, error, rtol=1e-10, atol=0)
    torch.testing.assert_close(mean.mean, curve(ones)[:15].sum(), rtol=1e-13, atol=0)


@pytest.mark.parametrize("until", [4, 20])
def test_without_early_censoring_it_is_the_interval_of_scenario_means(until: int) -> None:
    times, _ = random_horizons(96, seed=3)
    times = times.reshape(8, 12)
    times[2, 4:] = -1
    found = cluster_restricted_mean(risk_table(times, times < 20, 20), until)
    cut = times.clamp(max=until).double().masked_fill(times < 0, math.nan)
    expected = mean_interval(cut.nanmean(1))
    assert found.mean.item() == pytest.approx(expected.mean.item(), rel=1e-12)
    assert found.low.item() == pytest.approx(max(0, expected.low.item()), rel=1e-10)
    assert found.high.item() == pytest.approx(min(until, expected.high.item()), rel=1e-10)


def test_one_rollout_a_scenario_is_nearly_greenwood() -> None:
    times, cause = random_horizons(400, early=0.3)
    table = risk_table(times[:, None], (cause > 0)[:, None], 20)
    found, plain = cluster_survival(table), kaplan_meier(pool_tables(table))
    torch.testing.assert_close(found.survival, plain.survival, rtol=1e-12, atol=0)
    torch.testing.assert_close(found.variance, plain.variance * 400 / 399, rtol=0.03, atol=1e-7)


def test_repeated_seeds_are_no_new_evidence() -> None:
    times, cause = random_horizons(12, early=0.0)
    tables = [
        risk_table(times[:, None].expand(-1, k), (cause > 0)[:, None].expand(-1, k), 20)
        for k in (1, 9)
    ]
    one, many = (cluster_restricted_mean(table) for table in tables)
    assert one.error.item() == pytest.approx(many.error.item(), rel=1e-12)
    naive = restricted_mean(pool_tables(tables[1]))
    assert naive.error.item() < 0.4 * many.error.item()


def test_dims_and_batches() -> None:
    tables = [scenario_tables(seed=seed) for seed in range(3)]
    batch = RiskTable(*(torch.stack(parts, 1) for parts in zip(*tables, strict=True)))  # [8, 3]
    turned = RiskTable(*(part.movedim(0, 1) for part in batch))
    for call in (cluster_survival, cluster_restricted_mean):
        for found in (call(batch), call(turned, dim=-1)):
            for i, table in enumerate(tables):
                for part, own in zip(found, call(table), strict=True):
                    torch.testing.assert_close(part[i], own, rtol=1e-13, atol=0, equal_nan=True)
    median = survival_quantile(cluster_survival(batch))
    assert (median.low <= median.step).all()
    assert (median.step <= median.high).all()


def test_too_few_scenarios_have_no_band() -> None:
    times = torch.tensor([[[2, 4, 8], [-1, -1, -1]], [[2, 4, 8], [1, 8, 8]], [[-1] * 3] * 2])
    table = risk_table(times, (times < 8) & (times >= 0), 8)  # [3, 2]
    curve, mean = cluster_survival(table, dim=1), cluster_restricted_mean(table, dim=1)
    assert curve.survival.isnan().any(-1).tolist() == [False, False, True]
    assert curve.variance.isnan().any(-1).tolist() == [True, False, True]
    assert curve.low.isnan().all(-1).tolist() == [True, False, True]
    assert mean.mean[:2].tolist() == pytest.approx([14 / 3, (14 / 3 + 17 / 3) / 2])
    few = Reason.TOO_FEW_SAMPLES
    assert mean.reason.tolist() == [few, 0, few]
    assert curve.reason[:, 3].tolist() == [few, 0, few]
    assert mean.low.isnan().tolist() == [True, False, True]


def test_intervals_cover_where_seeds_are_alike() -> None:
    """95 % intervals of 12 scenarios of 8 seeds that share most of their luck."""
    panels, scenarios, seeds, horizon = 3000, 12, 8, 24

    def horizons(count: int, each: int) -> Tensor:
        own = torch.randn(panels, count, 1, dtype=torch.float64)
        noise = torch.randn(panels, count, each, dtype=torch.float64)
        return (12 * torch.exp(0.6 * own + 0.4 * noise)).long().clamp(max=horizon)

    truth = horizons(400, 1)
    times = horizons(scenarios, seeds)
    table = risk_table(times, times < horizon, horizon)
    found = cluster_restricted_mean(table, dim=1)
    naive = restricted_mean(pool_tables(table, dim=1))
    mean = truth.double().mean()
    rates = [((f.low <= mean) & (mean <= f.high)).double().mean().item() for f in (found, naive)]
    assert rates[0] == pytest.approx(0.95, abs=0.02)
    assert rates[1] < 0.75
    curve = cluster_survival(table, dim=1)
    for step in (8, 12, 16):
        share = (truth > step).double().mean()
        covers = (curve.low[:, step] <= share) & (share <= curve.high[:, step])
        assert covers.double().mean().item() == pytest.approx(0.95, abs=0.025)


@pytest.mark.parametrize("call", [cluster_survival, cluster_restricted_mean])
def test_bad_input(call) -> None:
    table = scenario_tables()
    with pytest.raises(ValueError, match="weighting must be 'scenarios' or 'rollouts'"):
        call(table, weighting="seeds")
    with pytest.raises(ValueError, match="dim must be one of the 1 batch dims of table, got 1"):
        call(table, dim=1)
    with pytest.raises(ValueError, match="level must be a number"):
        call(table, level=1.0)
    with pytest.raises(TypeError, match="table must be a RiskTable, got Tensor"):
        call(table.at_risk)
    with pytest.raises(ValueError, match="band must be"):
        cluster_survival(table, band="log")
    with pytest.raises(ValueError, match="until must be at most"):
        cluster_restricted_mean(table, 21)


def test_a_quantile_of_one_scenario_has_no_interval() -> None:
    table = risk_table(torch.tensor([[2, 3, 5]]), torch.ones(1, 3).bool(), 5)
    found = survival_quantile(cluster_survival(table))
    assert (found.step.item(), found.reached.item()) == (3, True)
    assert found.low.isnan()
    assert found.high.isnan()
