"""Interquartile means: scipy's trimmed mean, plain resampling, pooled seeds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from wmscore.functional import Reason
from wmscore.stats import (
    bca_interval,
    interquartile_interval,
    interquartile_mean,
    resample_counts,
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 7, 8, 20, 101])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_scipy(number: int, dtype: torch.dtype) -> None:
    values = normal(number, 3, 2, seed=number).to(dtype)
    values[:, 1] = values[:, 1].round()
    found = interquartile_mean(values)
    expected = stats.trim_mean(values.double().numpy(), 0.25)
    np.testing.assert_allclose(found, expected, atol=1e-14)


def test_missing_values_are_left_out() -> None:
    values = normal(13, 3, seed=1)
    values[[0, 4, 7], 0] = torch.tensor([math.nan, math.inf, -math.inf]).double()
    values[:, 1] = math.nan
    found = interquartile_mean(values)
    kept = values[:, 0][values[:, 0].isfinite()].numpy()
    assert found[0].item() == pytest.approx(stats.trim_mean(kept, 0.25))
    assert found[1].isnan()
    assert interquartile_mean(torch.zeros(0, 2)).isnan().all()


def drawn(values: np.ndarray, draws: int) -> np.ndarray:
    """Trimmed means of the samples that the draws stand for; of [S, K] cells, whole rows."""
    counts = torch.cat(list(resample_counts(len(values), draws))).long().numpy()
    means = []
    for row in counts:
        sample = np.repeat(values, row, axis=0).ravel()
        means.append(stats.trim_mean(sample[np.isfinite(sample)], 0.25))
    return np.array(means)


@pytest.mark.parametrize("seeds", [False, True])
@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_interval_equals_plain_resampling(seeds: bool, method: str) -> None:
    values = normal(11, 3, 4, seed=2).exp()
    values[3, 1, 0] = math.nan
    values[7, :, 3] = math.nan
    if not seeds:
        values = values[:, 0]
    found = interquartile_interval(values, 0.9, seeds=seeds, method=method, draws=300)
    for column in range(4):
        one = values[..., column].numpy()
        draws = drawn(one, 300)
        mean = stats.trim_mean(one[np.isfinite(one)], 0.25)
        assert found.mean[column].item() == pytest.approx(mean, rel=1e-12)
        low, high = np.quantile(draws, [0.05, 0.95])
        if method == "bca":
            left_out = []
            for i in range(11):
                rest = np.delete(one, i, axis=0)
                missing = not np.isfinite(one[i]).any()
                rest = stats.trim_mean(rest[np.isfinite(rest)], 0.25)
                left_out.append(math.nan if missing else rest)
            tensors = (torch.tensor(x, dtype=torch.float64) for x in (draws, mean, left_out))
            low, high = (end.item() for end in bca_interval(*tensors, 0.9))
        assert found.low[column].item() == pytest.approx(low, rel=1e-9)
        assert found.high[column].item() == pytest.approx(high, rel=1e-9)
    assert found.scenarios.tolist() == [11, 11, 11, 10]


def test_one_seed_is_the_plain_panel(monkeypatch: pytest.MonkeyPatch) -> None:
    values = normal(9, 3, seed=3)
    plain = interquartile_interval(values, draws=200)
    seeds = interquartile_interval(values[:, None], seeds=True, draws=200)
    monkeypatch.setattr("wmscore.stats.interquartile._PIECE", 100)
    pieces = interquartile_interval(values, draws=200)
    alone = interquartile_interval(values[:, 1], draws=200)
    for one, other, piece in zip(plain, seeds, pieces, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one, piece)
    for one, of_many in zip(alone, plain, strict=True):
        assert torch.equal(one, of_many[1])


def test_a_few_broken_rollouts_do_little_harm() -> None:
    values = normal(40, seed=4) + 10
    values[:3] = -1000
    found = interquartile_interval(values, draws=2000)
    assert 9 < found.low < found.mean < found.high < 11


def test_covers() -> None:
    found = interquartile_interval(normal(40, 1500, seed=5), draws=400)
    covers = ((found.low <= 0) & (found.high >= 0)).double().mean().item()
    assert 0.91 <= covers <= 0.97


def test_too_few() -> None:
    values = torch.tensor([[1.0, math.nan], [math.nan, math.nan]])
    for method in ("percentile", "bca"):
        found = interquartile_interval(values, method=method, draws=20)
        assert found.low.isnan().all()
        assert found.mean[0] == 1
        assert (found.reason == Reason.TOO_FEW_SAMPLES).all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: interquartile_mean([1.0]), TypeError, "values must be a torch.Tensor"),
        (lambda: interquartile_mean(torch.tensor(1.0)), ValueError, r"\[N, ...\], got \(\)"),
        (lambda: interquartile_interval(torch.ones(0)), ValueError, r"\[S, ...\], got \(0,\)"),
        (
            lambda: interquartile_interval(torch.ones(3), seeds=True),
            ValueError,
            r"\[S, K, ...\], got \(3,\)",
        ),
        (lambda: interquartile_interval(torch.ones(3), 1.5), ValueError, "level must be a number"),
        (lambda: interquartile_interval(torch.ones(3), draws=0), ValueError, "draws must be at"),
        (lambda: interquartile_interval(torch.ones(3), method="t"), ValueError, "method must be"),
    ],
)
def test_bad_input(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
