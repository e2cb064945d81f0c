"""Restricted means against lifelines, means of the horizons, and the worked example."""

from __future__ import annotations

import math

import pytest
import torch

from tests.stats.survival_data import BASELINE, CANDIDATE, random_horizons
from tests.stats.test_kaplan_meier import fit
from wmscore.functional import Reason
from wmscore.stats import kaplan_meier, restricted_mean, risk_table


@pytest.mark.parametrize(
    ("times", "mean", "error"), [(BASELINE, 17.1, 3.380680), (CANDIDATE, 21.5, 3.083018)]
)
def test_worked_example(times: list[int], mean: float, error: float) -> None:
    of = torch.tensor(times)
    found = restricted_mean(risk_table(of, of < 32, 32))
    assert found.mean.item() == pytest.approx(mean, abs=1e-13)
    assert round(found.error.item(), 6) == error
    z = 1.959963984540054
    assert found.low.item() == pytest.approx(mean - z * found.error.item(), rel=1e-12)
    assert found.high.item() == pytest.approx(min(32, mean + z * found.error.item()), rel=1e-12)


@pytest.mark.parametrize("count", [2, 7, 60, 2000])
@pytest.mark.parametrize("until", [1, 9, 20])
def test_mean_equals_lifelines(count: int, until: int) -> None:
    utils = pytest.importorskip("lifelines.utils")
    for seed in range(3):
        times, cause = random_horizons(count, early=0.4, seed=seed)
        found = restricted_mean(risk_table(times, cause > 0, 20), until)
        expected = utils.restricted_mean_survival_time(fit(times, cause > 0, 20), t=until)
        assert found.mean.item() == pytest.approx(expected, rel=1e-9)


def test_without_early_censoring_it_is_the_mean_and_its_error() -> None:
    times, _ = random_horizons(4 * 50, horizon=30, seed=2)
    times = times.reshape(4, 50)
    for until in (3, 12, 30):
        found = restricted_mean(risk_table(times, times < 30, 30), until)
        cut = times.clamp(max=until).double()
        torch.testing.assert_close(found.mean, cut.mean(1), rtol=1e-12, atol=0)
        error = cut.std(1, correction=0) / math.sqrt(50)
        torch.testing.assert_close(found.error, error, rtol=1e-10, atol=0)


def test_error_is_the_spread_of_means() -> None:
    """Over panels with early censoring the mean of se^2 is the variance of the estimate."""
    draws = torch.rand(5000, 80, dtype=torch.float64)
    times = (draws.log() / math.log(0.93)).long()
    watched = torch.randint(10, 60, (5000, 80))
    found = restricted_mean(risk_table(torch.minimum(times, watched), times < watched, 60), 25)
    assert found.error.square().mean().item() == pytest.approx(found.mean.var().item(), rel=0.1)
    curve = 0.93 ** torch.arange(1, 26, dtype=torch.float64)
    assert found.mean.mean().item() == pytest.approx(curve.sum().item(), abs=0.15)
    covers = (found.low <= curve.sum()) & (curve.sum() <= found.high)
    assert covers.double().mean().item() == pytest.approx(0.94, abs=0.02)


def test_where_the_curve_ends_early() -> None:
    times = torch.tensor([[2, 5, 6], [2, 5, 6], [8, 8, 8], [-1, -1, -1], [0, 0, 0]])
    failed = torch.tensor([[1, 1, 0], [1, 1, 1], [0, 0, 0], [1, 1, 1], [1, 1, 1]]).bool()
    table = risk_table(times, failed, 8)
    found = restricted_mean(table)
    assert found.observed.tolist() == [7, 8, 8, 0, 8]
    assert found.mean.nan_to_num(-1).tolist() == pytest.approx([-1, 13 / 3, 8, -1, 0])
    assert found.reason.tolist() == [Reason.TOO_FEW_SAMPLES, 0, 0, Reason.TOO_FEW_SAMPLES, 0]
    for part in found[1:4]:
        assert part.isnan().tolist() == [True, False, False, True, False]
    assert found.error[[2, 4]].tolist() == [0, 0]
    known = restricted_mean(table, 7)
    area = kaplan_meier(table).survival[0, :7].sum()
    assert known.mean[0].item() == area.item() == pytest.approx(2 + 3 * 2 / 3 + 2 / 3)


@pytest.mark.parametrize(
    ("until", "error", "message"),
    [
        (0, ValueError, "until must be at least 1, got 0"),
        (33, ValueError, "until must be at most the horizon of the table, 32, got 33"),
        (4.0, TypeError, "until must be an int"),
    ],
)
def test_bad_until(until: object, error: type[Exception], message: str) -> None:
    of = torch.tensor(BASELINE)
    with pytest.raises(error, match=message):
        restricted_mean(risk_table(of, of < 32, 32), until)


def test_bad_table_and_level() -> None:
    of = torch.tensor(BASELINE)
    with pytest.raises(TypeError, match="table must be a RiskTable"):
        restricted_mean(of)
    with pytest.raises(ValueError, match="level must be a number"):
        restricted_mean(risk_table(of, of < 32, 32), level=95)
