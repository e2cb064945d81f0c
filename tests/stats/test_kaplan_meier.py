"""Survival curves, quantiles and hazards against lifelines, statsmodels and worked examples."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.stats.survival_data import BASELINE, CANDIDATE, random_horizons
from wmscore.functional import Reason
from wmscore.stats import KaplanMeier, hazard, kaplan_meier, risk_table, survival_quantile

EXACT = {"rtol": 1e-9, "atol": 1e-12}


def fit(times: Tensor, failed: Tensor, horizon: int, level: float = 0.95):
    lifelines = pytest.importorskip("lifelines")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return lifelines.KaplanMeierFitter(alpha=1 - level).fit(
            times.numpy(), failed.numpy(), timeline=np.arange(horizon + 1)
        )


@pytest.mark.parametrize("count", [2, 5, 40, 3000])
@pytest.mark.parametrize("early", [0.0, 0.4])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_equals_lifelines(count: int, early: float, level: float) -> None:
    for seed in range(4):
        times, cause = random_horizons(count, early=early, seed=seed)
        table = risk_table(times, cause > 0, 20)
        found = kaplan_meier(table, level=level)
        fitted = fit(times, cause > 0, 20, level)
        np.testing.assert_allclose(
            found.survival.numpy(), fitted.survival_function_.values[:, 0], **EXACT
        )
        ends = fitted.confidence_interval_.values
        np.testing.assert_allclose(torch.stack([found.low, found.high], 1).numpy(), ends, **EXACT)
        sums = fitted._cumulative_sq_.values
        np.testing.assert_allclose(
            found.variance.numpy(), found.survival.numpy() ** 2 * sums, **EXACT
        )
        median = survival_quantile(found)
        assert median.step.item() == fitted.median_survival_time_
        assert median.reached.item() == math.isfinite(fitted.median_survival_time_)
        from lifelines.utils import qth_survival_times

        quarter = survival_quantile(found, 0.75)
        expected = qth_survival_times(0.75, fitted.confidence_interval_).to_numpy().ravel()
        assert [quarter.low.item(), quarter.high.item()] == expected.tolist()


def test_equals_statsmodels() -> None:
    survfunc = pytest.importorskip("statsmodels.duration.survfunc")
    times, cause = random_horizons(80, early=0.3)
    other = survfunc.SurvfuncRight(times.numpy(), (cause > 0).numpy())
    found = kaplan_meier(risk_table(times, cause > 0, 20), band="plain")
    steps = other.surv_times.astype(int)
    np.testing.assert_allclose(found.survival[steps].numpy(), other.surv_prob, **EXACT)
    np.testing.assert_allclose(found.variance[steps].sqrt().numpy(), other.surv_prob_se, **EXACT)
    z = 1.959963984540054
    low = (other.surv_prob - z * other.surv_prob_se).clip(0, 1)
    high = (other.surv_prob + z * other.surv_prob_se).clip(0, 1)
    np.testing.assert_allclose(found.low[steps].numpy(), low, **EXACT)
    np.testing.assert_allclose(found.high[steps].numpy(), high, **EXACT)


@pytest.mark.parametrize(
    ("times", "curve", "band", "median"),
    [
        (BASELINE, {4: 0.9, 7: 0.7, 9: 0.6, 12: 0.5, 16: 0.4, 20: 0.3}, (0.183606, 0.753174), 12),
        (CANDIDATE, {6: 0.9, 10: 0.8, 14: 0.6, 18: 0.5, 25: 0.4}, (0.408691, 0.945873), 18),
    ],
)
def test_worked_example(
    times: list[int], curve: dict[int, float], band: tuple[float, float], median: int
) -> None:
    of = torch.tensor(times)
    found = kaplan_meier(risk_table(of, of < 32, 32))
    expected, value = [], 1.0
    for step in range(33):
        value = curve.get(step, value)
        expected.append(value)
    torch.testing.assert_close(
        found.survival, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-15
    )
    assert (round(found.low[12].item(), 6), round(found.high[12].item(), 6)) == band
    assert survival_quantile(found).step.item() == median


def test_without_early_censoring_it_is_the_empirical_share() -> None:
    times, _ = random_horizons(5 * 77, seed=1)
    times = times.reshape(5, 77)
    found = kaplan_meier(risk_table(times, times < 20, 20))
    steps = torch.arange(20)
    share = (times[..., None] > steps).double().mean(1)
    torch.testing.assert_close(found.survival[:, :20], share, rtol=0, atol=1e-14)
    variance = share * (1 - share) / 77
    torch.testing.assert_close(found.variance[:, :20], variance, rtol=1e-10, atol=1e-15)
    assert torch.equal(found.survival[:, 20], found.survival[:, 19])  # none fails at the end


def test_edges() -> None:
    times = torch.tensor([[3, 3, 3], [2, 3, 1], [5, 5, 5], [-1, -1, -1]])
    failed = torch.tensor([[0, 0, 0], [0, 0, 1], [1, 1, 1], [1, 1, 1]]).bool()
    for band in ("plain", "log-log"):
        found = kaplan_meier(risk_table(times, failed, 8), band=band)
        nan = found.survival.isnan()
        # Unknown from where the last one was censored; known to be 0 once all have failed.
        assert nan.sum(-1).tolist() == [5, 5, 0, 9]
        for part in found[1:4]:
            assert torch.equal(part.isnan(), nan)
        assert torch.equal(found.reason == Reason.TOO_FEW_SAMPLES, nan)
        assert found.survival[2].tolist() == [1] * 5 + [0] * 4
        assert found.low[2].tolist() == found.high[2].tolist() == found.survival[2].tolist()
        assert not found.variance[2].any()
        median = survival_quantile(found)
        assert median.step[:3].tolist() == [math.inf, math.inf, 5]
        assert median.step[3].isnan()
        assert median.reached.tolist() == [False, False, True, False]
        assert median.reason.tolist() == [0, 0, 0, Reason.TOO_FEW_SAMPLES]


def test_rows_of_a_batch_are_those_alone() -> None:
    times, cause = random_horizons(6 * 50)
    times, failed = times.reshape(6, 50), (cause > 0).reshape(6, 50)
    table = risk_table(times, failed, 20)
    together = (*kaplan_meier(table), *hazard(table), *survival_quantile(kaplan_meier(table)))
    for row in range(6):
        one = risk_table(times[row], failed[row], 20)
        alone = (*kaplan_meier(one), *hazard(one), *survival_quantile(kaplan_meier(one)))
        for part, own in zip(together, alone, strict=True):
            # Powers and roots of a lone row may differ in the last bit.
            torch.testing.assert_close(part[row], own, rtol=1e-14, atol=0, equal_nan=True)
        torch.testing.assert_close(together[0][row], alone[0], rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_hazard_equals_statsmodels(level: float) -> None:
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    times, cause = random_horizons(90)
    table = risk_table(times, cause > 0, 25)
    found = hazard(table, level=level)
    failures, count = table.failures.numpy(), table.at_risk.numpy()
    np.testing.assert_allclose(found.hazard[:21].numpy(), failures[:21] / count[:21], **EXACT)
    low, high = proportion.proportion_confint(
        failures[:21], count[:21], alpha=1 - level, method="wilson"
    )
    np.testing.assert_allclose(found.low[:21].numpy(), low, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.high[:21].numpy(), high, rtol=1e-9, atol=1e-12)
    assert found.hazard[21:].isnan().all()
    assert found.reason.tolist() == [0] * 21 + [Reason.TOO_FEW_SAMPLES] * 5


def test_band_covers() -> None:
    """90 % of the bands of 60 rollouts hold the true share at step 10, of geometric horizons."""
    rate = 0.05
    draws = torch.rand(4000, 60, dtype=torch.float64)
    times = (draws.log() / math.log(1 - rate)).long()
    watched = torch.randint(8, 40, (4000, 60))
    table = risk_table(torch.minimum(times, watched), times < watched, 40, ties="censored")
    truth = (1 - rate) ** 11
    found = kaplan_meier(table, level=0.9)
    covers = ((found.low[:, 10] <= truth) & (truth <= found.high[:, 10])).double().mean().item()
    assert abs(covers - 0.9) < 4 * math.sqrt(0.09 / 4000) + 0.005  # how good the band is at 60


def test_ties_of_cut_rollouts_bias_nothing() -> None:
    """Half of the rollouts are cut at step 5, where others are seen to fail."""
    draws = torch.rand(200_000, dtype=torch.float64)
    times = (draws.log() / math.log(0.8)).long()
    length = torch.where(torch.arange(200_000) % 2 == 0, 5, 12)
    options = {"times": torch.minimum(times, length), "failed": times < length, "horizon": 12}
    truth = 0.8 ** torch.arange(1, 13)
    found = kaplan_meier(risk_table(**options, ties="censored")).survival[:12]
    assert (found - truth).abs().max() < 0.005
    biased = kaplan_meier(risk_table(**options)).survival[:12]
    assert biased[5] - truth[5] > 0.01


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda t: kaplan_meier(t, level=1.0), ValueError, "level must be a number above 0"),
        (lambda t: kaplan_meier(t, band="log"), ValueError, "band must be 'log-log' or 'plain'"),
        (lambda t: hazard(t, level=0), ValueError, "level must be a number"),
        (lambda t: hazard(t.at_risk), TypeError, "table must be a RiskTable, got Tensor"),
        (lambda t: survival_quantile(t), TypeError, "found must hold a survival curve"),
        (lambda t: survival_quantile(kaplan_meier(t), 1.0), ValueError, "share must be a number"),
    ],
)
def test_bad_input(call, error: type[Exception], message: str) -> None:
    of = torch.tensor(BASELINE)
    with pytest.raises(error, match=message):
        call(risk_table(of, of < 32, 32))


def test_result_names() -> None:
    assert KaplanMeier._fields == ("survival", "variance", "low", "high", "reason")
