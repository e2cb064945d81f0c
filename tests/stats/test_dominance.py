"""Paired t test, win rate and Cliff's delta against scipy and statsmodels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from statsmodels.stats.proportion import proportion_confint
from torch import Tensor

from wmscore.functional import Reason
from wmscore.stats import cliffs_delta, mean_interval, paired_t_test, win_rate

WORKED = [1.2, 0.4, -0.3, 0.9, 0.6, 0.1, 0.8, -0.2]


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
@pytest.mark.parametrize("scenarios", [2, 9, 400])
def test_t_test_equals_scipy(alternative: str, scenarios: int) -> None:
    values = normal(scenarios, 3, seed=scenarios) + 0.2
    found = paired_t_test(values, alternative=alternative)
    theirs = stats.ttest_1samp(values.numpy(), 0, alternative=alternative)
    np.testing.assert_allclose(found.statistic, theirs.statistic, rtol=1e-9)
    np.testing.assert_allclose(found.p_value, theirs.pvalue, rtol=1e-9)


def test_t_test_worked_example() -> None:
    found = paired_t_test(torch.tensor(WORKED, dtype=torch.float64))
    assert round(found.statistic.item(), 6) == 2.304256
    assert round(found.p_value.item(), 7) == 0.0546473


def test_t_test_is_the_interval_turned_round() -> None:
    values = normal(9, 1, seed=1) + 0.5
    p_value = paired_t_test(values).p_value.item()
    ends = mean_interval(values, level=1 - p_value)
    assert min(abs(ends.low.item()), abs(ends.high.item())) < 1e-9


def test_t_test_edges() -> None:
    values = torch.tensor([[1.0, 0.0, 1.0, math.nan], [1.0, 0.0, math.nan, math.inf]])
    found = paired_t_test(values)
    assert found.p_value[:2].tolist() == [0, 1]  # nothing but the same difference; none
    assert found.statistic[:2].tolist() == [math.inf, 0]
    assert found.p_value[2:].isnan().all()
    assert found.scenarios.tolist() == [2, 2, 1, 0]
    assert found.reason.tolist() == [0, 0, Reason.TOO_FEW_SAMPLES, Reason.TOO_FEW_SAMPLES]
    for side in ("greater", "less"):
        assert paired_t_test(torch.zeros(5), alternative=side).p_value == 1
    balanced = torch.tensor([-1.0, 1.0, -2.0, 2.0])
    assert paired_t_test(balanced, alternative="less").p_value == 0.5


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_win_rate_equals_statsmodels(level: float) -> None:
    values = (2 * normal(15, 6, seed=2)).round() + 0.5 * (normal(15, 6, seed=3) > 0)
    values[:3, 1] = math.nan
    values[:, 2] = 1.0
    found = win_rate(values, level=level)
    for column in range(6):
        kept = values[:, column][values[:, column].isfinite()].numpy()
        wins = (kept > 0).sum() + 0.5 * (kept == 0).sum()
        low, high = proportion_confint(wins, len(kept), 1 - level, method="wilson")
        assert found.rate[column].item() == pytest.approx(wins / len(kept), abs=1e-15)
        assert found.low[column].item() == pytest.approx(low, abs=1e-9)
        assert found.high[column].item() == pytest.approx(high, abs=1e-9)
        counts = [x[column].item() for x in (found.wins, found.ties, found.losses)]
        assert counts == [(kept > 0).sum(), (kept == 0).sum(), (kept < 0).sum()]
    none = win_rate(torch.full((4,), math.nan))
    assert none.rate.isnan()
    assert none.reason == Reason.TOO_FEW_SAMPLES


def test_delta_equals_mann_whitney_and_pairs() -> None:
    b, a = normal(13, 4, 2, seed=4), normal(9, 4, 2, seed=5)
    b[:, 0], a[:, 0] = (3 * b[:, 0]).round(), (3 * a[:, 0]).round()
    b[:4, 1], a[2:5, 1] = math.nan, math.nan
    a[0, 2], b[0, 2], b[1, 2] = math.inf, math.inf, -math.inf
    found = cliffs_delta(b, a)
    for row in range(4):
        for column in range(2):
            x, y = (v[:, row, column][~v[:, row, column].isnan()].numpy() for v in (b, a))
            pairs = np.mean((x[:, None] > y).astype(int) - (x[:, None] < y).astype(int))
            assert found[row, column].item() == pytest.approx(pairs, abs=1e-15)
            wins = stats.mannwhitneyu(x, y).statistic
            assert found[row, column].item() == pytest.approx(2 * wins / len(x) / len(y) - 1)
    assert cliffs_delta(torch.full((3,), math.nan), torch.ones(2)).isnan()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: paired_t_test(torch.tensor(1.0)), ValueError, r"shape \[S, ...\], got \(\)"),
        (lambda: paired_t_test(torch.ones(3), alternative="x"), ValueError, "alternative must be"),
        (lambda: win_rate(torch.ones(3).int()), TypeError, "floating point, got torch.int32"),
        (lambda: win_rate(torch.ones(3), level=0.0), ValueError, "level must be a number"),
        (lambda: cliffs_delta(torch.ones(3), [1.0]), TypeError, "baseline must be a torch.Tensor"),
        (
            lambda: cliffs_delta(torch.ones(3, 2), torch.ones(3, 1)),
            ValueError,
            r"baseline must have shape \[M, ...\] with ... = \(2,\), got \(3, 1\)",
        ),
    ],
)
def test_bad_input(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
