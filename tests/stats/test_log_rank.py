"""Log-rank tests against lifelines, statsmodels, scipy, and how far to trust them."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch

from tests.stats.survival_data import BASELINE, CANDIDATE, random_horizons
from wmscore.functional import Reason
from wmscore.stats import log_rank_test, risk_table, sign_flip_test


def tables(seed: int, count: int = 40, **options: float):
    a, cause_a = random_horizons(count, seed=2 * seed, **options)
    b, cause_b = random_horizons(count + 7, seed=2 * seed + 1, **options)
    return (a, cause_a > 0), (b, cause_b > 0)


def test_worked_example() -> None:
    stats = pytest.importorskip("scipy.stats")
    a, b = torch.tensor(BASELINE), torch.tensor(CANDIDATE)
    found = log_rank_test(risk_table(a, a < 32, 32), risk_table(b, b < 32, 32))
    assert round(found.statistic.item(), 10) == 0.5588053749
    assert round(found.p_value.item(), 10) == 0.4547419760
    assert found.excess.item() < 0  # the candidate fails later
    samples = [
        stats.CensoredData.right_censored(part.numpy(), (part == 32).numpy()) for part in (a, b)
    ]
    other = stats.logrank(*samples)
    assert abs(other.statistic) == pytest.approx(0.7475328588, abs=1e-10)
    assert found.statistic.item() == pytest.approx(other.statistic**2, rel=1e-9)
    assert found.p_value.item() == pytest.approx(other.pvalue, rel=1e-9)


@pytest.mark.parametrize("early", [0.0, 0.4])
@pytest.mark.parametrize("count", [4, 30, 500])
def test_equals_lifelines(count: int, early: float) -> None:
    statistics = pytest.importorskip("lifelines.statistics")
    for seed in range(5):
        (a, failed_a), (b, failed_b) = tables(seed, count, early=early)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            other = statistics.logrank_test(
                a.numpy(), b.numpy(), failed_a.numpy(), failed_b.numpy()
            )
        found = log_rank_test(risk_table(a, failed_a, 20), risk_table(b, failed_b, 20))
        assert found.statistic.item() == pytest.approx(other.test_statistic, rel=1e-9)
        assert found.p_value.item() == pytest.approx(other.p_value, rel=1e-9)


def test_stratified_equals_statsmodels() -> None:
    survfunc = pytest.importorskip("statsmodels.duration.survfunc")
    (a, failed_a), (b, failed_b) = tables(0, 200, early=0.3)
    strata_a, strata_b = torch.randint(0, 6, (200,)), torch.randint(0, 6, (207,))
    chi2, p_value = survfunc.survdiff(
        np.concatenate([a, b]).astype(float),
        np.concatenate([failed_a, failed_b]).astype(int),
        np.repeat([0, 1], [200, 207]),
        strata=np.concatenate([strata_a, strata_b]),
    )
    one = risk_table(a, failed_a, 20, groups=strata_a, group_count=6)
    two = risk_table(b, failed_b, 20, groups=strata_b, group_count=6)
    found = log_rank_test(one, two, strata=0)
    assert found.statistic.item() == pytest.approx(chi2, rel=1e-9)
    assert found.p_value.item() == pytest.approx(p_value, rel=1e-9)
    each = log_rank_test(one, two)
    assert each.excess.shape == (6,)
    assert found.excess.item() == pytest.approx(each.excess.sum().item())
    batched = log_rank_test(
        *(type(one)(*(torch.stack([p, p], 1) for p in part)) for part in (one, two)), strata=-2
    )
    assert batched.statistic.tolist() == [found.statistic.item()] * 2


def test_turned_round_and_edges() -> None:
    (a, failed_a), (b, failed_b) = tables(3)
    one, two = risk_table(a, failed_a, 20), risk_table(b, failed_b, 20)
    forth, back = log_rank_test(one, two), log_rank_test(two, one)
    assert forth.excess.item() == pytest.approx(-back.excess.item())
    assert forth.p_value.item() == pytest.approx(back.p_value.item(), rel=1e-12)
    none = log_rank_test(risk_table(a, failed_a & False, 20), risk_table(b, failed_b & False, 20))
    assert none.statistic.isnan()
    assert none.p_value.isnan()
    assert none.reason.item() == Reason.TOO_FEW_SAMPLES
    assert forth.reason.item() == Reason.DEFINED
    with pytest.raises(ValueError, match=r"shape of baseline \(21,\), got \(31,\)"):
        log_rank_test(one, risk_table(b, failed_b, 30))
    with pytest.raises(TypeError, match="candidate must be a RiskTable"):
        log_rank_test(one, a)
    with pytest.raises(ValueError, match="strata must be one of the 0 batch dims, got 0"):
        log_rank_test(one, two, strata=0)


def test_it_rejects_alike_models_where_scenarios_take_sides() -> None:
    """What the docstring warns of, and that sign flips of the excess do keep their level."""
    panels, scenarios, seeds = 600, 12, 8
    frailty = torch.randn(panels, scenarios, 1, dtype=torch.float64)

    def horizons(interaction: float):
        own = frailty + interaction * torch.randn(panels, scenarios, 1, dtype=torch.float64)
        draws = torch.rand(panels, scenarios, seeds, dtype=torch.float64)
        times = (18 * torch.exp(0.5 * own) * (-draws.log())).long().clamp(max=64)
        return risk_table(times, times < 64, 64)

    rates = {}
    for interaction in (0.0, 0.6):
        one, two = horizons(interaction), horizons(interaction)
        stratified = log_rank_test(one, two, strata=-1).p_value
        flips = sign_flip_test(log_rank_test(one, two).excess.T).p_value
        rates[interaction] = [(p <= 0.05).double().mean().item() for p in (stratified, flips)]
    slack = 3.5 * math.sqrt(0.05 * 0.95 / panels)
    assert rates[0.0][0] == pytest.approx(0.05, abs=slack)
    assert rates[0.6][0] > 0.10
    assert rates[0.0][1] == pytest.approx(0.05, abs=slack)
    assert rates[0.6][1] == pytest.approx(0.05, abs=slack)
