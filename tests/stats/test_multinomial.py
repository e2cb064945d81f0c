"""Counts of many scenarios: exactly those of drawing with replacement, from few random bits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from wmscore.stats import _multinomial, bootstrap_interval, resample_counts, resampling
from wmscore.stats._multinomial import LEAST_SCENARIOS, multinomial_blocks
from wmscore.stats.bootstrap import cluster_bootstrap


def counts_of(scenarios: int, draws: int, seed: int = 0) -> Tensor:
    return torch.cat(list(multinomial_blocks(scenarios, draws, seed)))


@pytest.mark.parametrize("scenarios", [64, 1001, 4096])
def test_counts_are_binomial_with_a_fixed_sum(scenarios: int) -> None:
    draws = 8_000_000 // scenarios
    counts = counts_of(scenarios, draws)
    assert counts.shape == (draws, scenarios)
    assert (counts.sum(1, dtype=torch.int64) == scenarios).all()
    seen = torch.bincount(counts.flatten().long(), minlength=12)[:12].double().numpy()
    expected = counts.numel() * stats.binom.pmf(np.arange(12), scenarios, 1 / scenarios)
    some = expected > 20
    apart = (seen - expected)[some] / np.sqrt(expected[some])
    # Counts of a row sum to S, so that their histogram varies less than a multinomial's.
    assert np.abs(apart).max() < 4.5
    # Each scenario alike, those at the ends of words and rows too.
    means = counts.double().mean(0)
    assert (means - 1).abs().max().item() < 5.5 / math.sqrt(draws)


def test_weighted_sums_are_those_of_drawing_one_by_one() -> None:
    scenarios, draws = 300, 20_000
    weights = torch.linspace(0, 1, scenarios, dtype=torch.float64) ** 4
    sums = counts_of(scenarios, draws).double() @ weights
    plain = torch.randint(scenarios, (draws, scenarios), generator=torch.Generator().manual_seed(5))
    assert stats.ks_2samp(sums.numpy(), weights[plain].sum(1).numpy()).pvalue > 0.01


def test_neighbours_are_dependent_as_all_others_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_multinomial, "_SHORT", 1.0)  # some rows have too many
    scenarios, draws = 16, 400_000
    counts = counts_of(scenarios, draws).double()
    found = torch.cov(counts.T)
    expected = torch.eye(scenarios, dtype=torch.float64) - 1 / scenarios
    assert (found - expected).abs().max().item() < 6 / math.sqrt(draws)


def test_rows_that_exceed_are_drawn_right_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_multinomial, "_SHORT", -1.0)  # most rows then have too many
    test_counts_are_binomial_with_a_fixed_sum(64)


def test_rare_patterns_are_those_that_the_table_leaves_over() -> None:
    mean = 0.9
    table, left, chance = _multinomial._pairs(mean)
    share = torch.zeros(256 * 256, dtype=torch.float64)
    known = table[table != -1].long()
    share.index_add_(0, known, torch.ones_like(known, dtype=torch.float64) / 65536)
    unknown = 1 - share.sum()
    assert 0 < unknown < 0.001
    rest = torch.diff(chance, prepend=chance.new_zeros(1), append=chance.new_ones(1))
    share.index_add_(0, left.long(), rest * unknown)
    expected = np.outer(*[stats.poisson.pmf(np.arange(256), mean)] * 2)
    np.testing.assert_allclose(share.view(256, 256).numpy(), expected, rtol=1e-9, atol=1e-18)


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = counts_of(500, 3000, seed=3)
    assert not torch.equal(whole, counts_of(500, 3000, seed=4))
    assert torch.equal(whole[:100], counts_of(500, 100, seed=3))
    for piece in (1, 3333):
        monkeypatch.setattr(_multinomial, "_PIECE", piece)
        assert torch.equal(whole, counts_of(500, 3000, seed=3))


def test_large_panels_take_them(monkeypatch: pytest.MonkeyPatch) -> None:
    size = LEAST_SCENARIOS + 5
    found = torch.cat(list(resample_counts(size, 40, seed=2)))
    assert found.dtype == torch.float64
    assert torch.equal(found, counts_of(size, 40, seed=2).double())
    values = torch.randn(size, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    drawn = cluster_bootstrap(values, draws=40, seed=2)
    torch.testing.assert_close(drawn.draws, found @ values / size, rtol=1e-12, atol=1e-14)
    for name, size_of in (("_ROWS", 7), ("_TILE", 500)):
        monkeypatch.setattr(resampling, name, size_of)
        pieces = cluster_bootstrap(values, draws=40, seed=2)
        torch.testing.assert_close(pieces.draws, drawn.draws, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(pieces.errors, drawn.errors, rtol=1e-12, atol=1e-14)


def test_interval_of_a_large_panel() -> None:
    values = torch.randn(5000, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = bootstrap_interval(values, draws=4000)
    half = 1.96 * values.std() / math.sqrt(5000)
    assert found.high.item() - found.low.item() == pytest.approx(2 * half.item(), rel=0.05)
