"""Page's test against scipy, on ties, and how often it errs."""

from __future__ import annotations

import math

import pytest
import torch

from wmscore.ladder.trend import page_test


@pytest.mark.parametrize("rungs", [3, 5, 8])
@pytest.mark.parametrize("ties", [False, True])
def test_page_against_scipy(rungs: int, ties: bool) -> None:
    scipy_stats = pytest.importorskip("scipy.stats")
    generator = torch.Generator().manual_seed(rungs)
    for shift in (0.0, 0.3):
        values = torch.randn(7, rungs, generator=generator, dtype=torch.float64)
        values += shift * torch.arange(rungs)
        if ties:
            values = values.round()
        found = page_test(values)
        # scipy's exact test knows no ties: its normal approximation is the oracle there.
        method = "exact" if not ties and found.exact else "asymptotic"
        expected = scipy_stats.page_trend_test(values.numpy(), method=method)
        assert found.statistic == pytest.approx(expected.statistic)
        near = 1e-9 if not ties else 0.06
        assert found.p_value == pytest.approx(expected.pvalue, abs=near)


def test_page_of_all_ties_says_nothing() -> None:
    assert page_test(torch.ones(5, 3)).p_value == 1
    assert page_test(torch.ones(5, 8)).p_value == 1
    assert math.isnan(page_test(torch.ones(5, 1)).p_value)
    assert page_test(torch.tensor([[1.0, math.nan], [0.0, 1.0]])).scenarios == 1


def test_page_under_the_null_rejects_as_often_as_it_says() -> None:
    generator = torch.Generator().manual_seed(0)
    p = [page_test(torch.randn(6, 4, generator=generator)).p_value for _ in range(1000)]
    assert 0.03 < sum(x < 0.05 for x in p) / 1000 < 0.065
