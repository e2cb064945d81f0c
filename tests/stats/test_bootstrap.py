"""Bootstraps: scipy for the same draws, plain resampling, moments, chunks, missing values."""

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
    bootstrap_interval,
    bootstrap_t_interval,
    cluster_bootstrap,
    nested_bootstrap,
    percentile_interval,
    quantile_of_draws,
    resample_counts,
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def counts_of(scenarios: int, draws: int, seed: int = 0) -> Tensor:
    return torch.cat(list(resample_counts(scenarios, draws, seed=seed)))


def test_counts_are_those_of_drawing_with_replacement() -> None:
    scenarios, draws = 7, 20_000
    counts = counts_of(scenarios, draws)
    assert counts.shape == (draws, scenarios)
    assert counts.dtype == torch.float64
    assert (counts.sum(1) == scenarios).all()
    # Each count is binomial, and two of a draw are correlated as a multinomial's are.
    share = torch.tensor([(counts == k).double().mean().item() for k in range(scenarios + 1)])
    expected = stats.binom.pmf(np.arange(scenarios + 1), scenarios, 1 / scenarios)
    np.testing.assert_allclose(share.numpy(), expected, atol=4 / math.sqrt(draws * scenarios))
    assert (counts.mean(0) - 1).abs().max() < 5 * math.sqrt(6 / 7 / draws)
    between = torch.cov(counts.T).fill_diagonal_(0).sum() / (scenarios * (scenarios - 1))
    assert between.item() == pytest.approx(-1 / scenarios, abs=0.01)


def test_counts_do_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = counts_of(11, 300, seed=5)
    assert not torch.equal(whole, counts_of(11, 300, seed=6))
    assert torch.equal(whole[:100], counts_of(11, 100, seed=5))
    for piece in (1, 110, 11 * 299):
        monkeypatch.setattr("wmscore.stats.resampling._PIECE", piece)
        assert torch.equal(counts_of(11, 300, seed=5), whole)


def resampled(values: Tensor, draws: int) -> np.ndarray:
    """The samples that the draws stand for, [R, S] of one column."""
    counts = counts_of(len(values), draws).long()
    return np.stack([np.repeat(values.numpy(), row.numpy()) for row in counts])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_draws_are_means_and_errors_of_resampled_values(dtype: torch.dtype) -> None:
    values = (normal(9, 2, 3, seed=1) + 1000).to(dtype)  # a large mean must not cost digits
    found = cluster_bootstrap(values, draws=200)
    assert found.draws.shape == found.errors.shape == (200, 2, 3)
    assert found.left_out.shape == (9, 2, 3)
    for row in range(2):
        for column in range(3):
            one = values[:, row, column].double()
            samples = resampled(one, 200)
            np.testing.assert_allclose(found.draws[:, row, column], samples.mean(1), rtol=1e-12)
            errors = stats.sem(samples, axis=1)
            np.testing.assert_allclose(found.errors[:, row, column], errors, rtol=1e-9, atol=1e-12)
            without = [np.delete(one.numpy(), i).mean() for i in range(9)]
            np.testing.assert_allclose(found.left_out[:, row, column], without, rtol=1e-12)
            assert found.error[row, column].item() == pytest.approx(stats.sem(one), rel=1e-9)
    assert (found.scenarios == 9).all()


@pytest.mark.parametrize("scenarios", [3, 8, 40])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
@pytest.mark.parametrize("kind", ["normal", "skewed", "ties"])
def test_intervals_equal_scipy_for_the_same_draws(scenarios: int, level: float, kind: str) -> None:
    values = normal(scenarios, 3, seed=scenarios)
    if kind == "skewed":
        values = values.exp()
    if kind == "ties":  # of many draws with the estimate
        values = (4 * values).round() / 8
    found = cluster_bootstrap(values, draws=999)
    ours = {
        "percentile": percentile_interval(found.draws, level),
        "BCa": bca_interval(found.draws, found.mean, found.left_out, level),
    }
    for column in range(3):
        sample = values[:, column].numpy()
        drawn = found.draws[:, column].numpy()
        # A draw that equals the estimate is a tie, which scipy sees where rounding lets it.
        close = np.abs(drawn - sample.mean()) <= 1e-13
        drawn = np.where(close, sample.mean(), drawn)
        before = stats._resampling.BootstrapResult(None, drawn, None)
        for method, ends in ours.items():
            theirs = stats.bootstrap(
                (sample,),
                np.mean,
                n_resamples=0,
                bootstrap_result=before,
                method=method,
                confidence_level=level,
            ).confidence_interval
            assert ends.low[column].item() == pytest.approx(theirs.low, abs=1e-9)
            assert ends.high[column].item() == pytest.approx(theirs.high, abs=1e-9)


def test_bootstrap_t_by_hand() -> None:
    values = normal(10, 2, seed=3).exp()
    found = cluster_bootstrap(values, draws=2000)
    ends = bootstrap_t_interval(found.draws, found.errors, found.mean, found.error, 0.9)
    for column in range(2):
        one = values[:, column]
        samples = resampled(one, 2000)
        mean, error = one.mean().item(), stats.sem(one)
        t = (samples.mean(1) - mean) / stats.sem(samples, axis=1)
        assert ends.low[column] == pytest.approx(mean - np.quantile(t, 0.95) * error, rel=1e-9)
        assert ends.high[column] == pytest.approx(mean - np.quantile(t, 0.05) * error, rel=1e-9)


def test_quantiles_equal_numpy() -> None:
    draws = normal(101, 3, 2, seed=4)
    shares = torch.rand(5, 3, 2, dtype=torch.float64)
    shares[0], shares[1] = 0, 1
    found = quantile_of_draws(draws, shares)
    for row in range(3):
        for column in range(2):
            expected = np.quantile(draws[:, row, column], shares[:, row, column].numpy())
            np.testing.assert_allclose(found[:, row, column], expected, rtol=1e-12, atol=1e-15)
    gaps = draws.clone()
    gaps[::3, 0, 0] = math.nan
    gaps[:, 0, 1] = math.nan
    found = quantile_of_draws(gaps, shares)
    kept = gaps[:, 0, 0][~gaps[:, 0, 0].isnan()]
    np.testing.assert_allclose(found[:, 0, 0], np.quantile(kept, shares[:, 0, 0].numpy()))
    assert found[:, 0, 1].isnan().all()
    ends = torch.tensor([-math.inf, 0.0, 1.0, math.inf])[:, None]
    found = quantile_of_draws(ends, torch.tensor([[0.1], [0.5], [0.9], [math.nan]]))[:, 0]
    assert found[:3].tolist() == [-math.inf, 0.5, math.inf]
    assert found[3].isnan()


@pytest.mark.parametrize("method", ["t", "bca", "percentile"])
def test_front_equals_its_parts(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = normal(12, 2, 5, seed=5).exp()
    values[2, 0, 0] = math.nan
    values[3, 1, 1] = math.inf
    found = bootstrap_interval(values, 0.9, method=method, draws=500)
    drawn = cluster_bootstrap(values, draws=500)
    ends = {
        "t": bootstrap_t_interval(drawn.draws, drawn.errors, drawn.mean, drawn.error, 0.9),
        "bca": bca_interval(drawn.draws, drawn.mean, drawn.left_out, 0.9),
        "percentile": percentile_interval(drawn.draws, 0.9),
    }[method]
    assert torch.equal(found.low, ends.low)
    assert torch.equal(found.high, ends.high)
    assert found.scenarios.tolist()[0] == [11, 12, 12, 12, 12]
    monkeypatch.setattr("wmscore.stats.bootstrap_intervals._PIECE", 1000)
    pieces = bootstrap_interval(values, 0.9, method=method, draws=500)
    for one, of_many in zip(found, pieces, strict=True):
        torch.testing.assert_close(one, of_many, rtol=1e-12, atol=1e-12)


def test_missing_scenarios_weigh_nothing() -> None:
    values = normal(9, 3, seed=6)
    values[[1, 4], 0] = math.nan
    values[:8, 1] = math.nan
    found = cluster_bootstrap(values, draws=400)
    counts = counts_of(9, 400)
    there = values[:, 0].isfinite()
    expected = counts[:, there] @ values[there, 0] / counts[:, there].sum(1)
    torch.testing.assert_close(found.draws[:, 0], expected, rtol=1e-12, atol=1e-12)
    samples = [values[there, 0].repeat_interleave(row[there].long()).numpy() for row in counts]
    errors = [stats.sem(sample) if len(sample) > 1 else math.nan for sample in samples]
    np.testing.assert_allclose(found.errors[:, 0], errors, rtol=1e-9, atol=1e-12)
    assert found.mean[0].item() == pytest.approx(values[there, 0].mean().item())
    assert found.left_out[:, 0].isnan().tolist() == (~there).tolist()
    # One value: its draws are that value, or nothing; no interval.
    assert found.draws[:, 1].isnan().equal(counts[:, 8] == 0)
    for method in ("t", "bca", "percentile"):
        result = bootstrap_interval(values, method=method, draws=400)
        assert result.low.isnan().tolist() == [False, True, False]
        assert result.reason.tolist() == [0, Reason.TOO_FEW_SAMPLES, 0]
        assert result.scenarios.tolist() == [7, 1, 9]


def test_equal_values_have_an_interval_of_no_width() -> None:
    values = torch.full((8, 1), 0.3)
    for method in ("t", "bca", "percentile"):
        found = bootstrap_interval(values, method=method, draws=200)
        assert found.low.item() == pytest.approx(values[0, 0].item())
        assert found.high.item() == pytest.approx(values[0, 0].item())


def test_t_has_no_end_where_draws_have_no_spread() -> None:
    found = bootstrap_interval(normal(3, 2, seed=1), method="t")  # 1 in 9 draws is of one scenario
    assert found.low.isnan().all()
    assert (found.reason == Reason.TOO_FEW_SAMPLES).all()
    assert bootstrap_interval(normal(6, 2, seed=1), method="t").low.isfinite().all()


@pytest.mark.parametrize(
    ("method", "least", "most"), [("t", 0.93, 0.97), ("percentile", 0.85, 0.92)]
)
def test_coverage(method: str, least: float, most: float) -> None:
    """Eight scenarios: bootstrap-t holds its level, percentiles are as much too narrow as known."""
    found = bootstrap_interval(normal(8, 3000, seed=8) + 1, method=method, draws=999)
    covers = ((found.low <= 1) & (found.high >= 1)).double().mean().item()
    assert least <= covers <= most


def test_nested_moments() -> None:
    """Variances of the draws are those of the theory of two stages."""
    cells = normal(6, 4, 1, seed=9) + 3 * normal(6, 1, 1, seed=10)
    within = cells.var(1, correction=0).mean().item() / 4
    between = cells.mean(1).var(correction=0).item()
    found = nested_bootstrap(cells, draws=20_000)
    assert found.draws.var().item() == pytest.approx((between + within) / 6, rel=0.05)
    fixed = nested_bootstrap(cells, fixed_scenarios=True, draws=20_000)
    assert fixed.draws.var().item() == pytest.approx(within / 6, rel=0.05)
    for result in (found, fixed):
        assert result.mean.item() == pytest.approx(cells.mean().item())
        assert result.draws.mean().item() == pytest.approx(cells.mean().item(), abs=0.03)
    assert found.error.item() == pytest.approx(stats.sem(cells.mean(1).flatten()))
    expected = math.sqrt((cells.var(1) / 4).sum()) / 6
    assert fixed.error.item() == pytest.approx(expected)


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("missing", [False, True])
def test_nested_equals_a_loop(fixed: bool, missing: bool) -> None:
    from wmscore.stats.bootstrap import _cells

    cells = normal(5, 3, 2, seed=11) + 100
    if missing:
        cells[0, 1, 0] = cells[3, :, 0] = cells[2, :2, 1] = math.nan
    found = nested_bootstrap(cells, fixed_scenarios=fixed, draws=60)
    places = _cells(60, 5, 3, fixed, torch.Generator().manual_seed(0))
    for draw in range(60):
        scenario = places[draw] // 3
        assert (scenario == scenario[:, :1]).all()
        if fixed:
            assert scenario[:, 0].tolist() == [0, 1, 2, 3, 4]
        for column in range(2):
            taken = cells.flatten(0, 1)[places[draw], column].numpy()  # [S, K]
            rows = [row[~np.isnan(row)] for row in taken]
            rows = [row for row in rows if len(row)]
            means = np.array([row.mean() for row in rows])
            assert found.draws[draw, column].item() == pytest.approx(means.mean(), rel=1e-12)
            if not fixed:
                expected = stats.sem(means)
            elif min(map(len, rows)) > 1:
                expected = math.sqrt(sum(stats.sem(row) ** 2 for row in rows)) / len(rows)
            else:
                expected = math.nan
            assert found.errors[draw, column].item() == pytest.approx(
                expected, rel=1e-9, abs=1e-12, nan_ok=True
            )


@pytest.mark.parametrize("fixed", [False, True])
def test_nested_does_not_depend_on_pieces(fixed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = normal(5, 3, 2, seed=11)
    whole = nested_bootstrap(cells, fixed_scenarios=fixed, draws=50, seed=2)
    monkeypatch.setattr("wmscore.stats.bootstrap._PIECE", 100)
    pieces = nested_bootstrap(cells, fixed_scenarios=fixed, draws=50, seed=2)
    for one, of_many in zip(whole, pieces, strict=True):
        assert torch.equal(one, of_many)
    alone = nested_bootstrap(cells[..., 1], fixed_scenarios=fixed, draws=50, seed=2)
    assert torch.equal(alone.draws, whole.draws[:, 1])


def test_one_seed_is_the_plain_panel() -> None:
    values = normal(7, 3, seed=12)
    found = nested_bootstrap(values[:, None], draws=3000)
    plain = cluster_bootstrap(values, draws=3000)
    torch.testing.assert_close(found.mean, plain.mean)
    torch.testing.assert_close(found.error, plain.error)
    torch.testing.assert_close(found.left_out, plain.left_out)
    torch.testing.assert_close(found.draws.std(0), plain.draws.std(0), rtol=0.05, atol=0)


def test_empty() -> None:
    found = cluster_bootstrap(torch.zeros(4, 0, 2), draws=5)
    assert found.draws.shape == (5, 0, 2)
    assert nested_bootstrap(torch.zeros(4, 2, 0), draws=5).draws.shape == (5, 0)
    assert bootstrap_interval(torch.zeros(4, 0), draws=5).low.shape == (0,)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: resample_counts(0), ValueError, "scenarios must be at least 1, got 0"),
        (lambda: resample_counts(3, 0), ValueError, "draws must be at least 1, got 0"),
        (lambda: resample_counts(3.0), TypeError, "scenarios must be an int, got float"),
        (lambda: resample_counts(3, seed=-1), ValueError, "seed must be at least 0"),
        (lambda: cluster_bootstrap([1.0]), TypeError, "values must be a torch.Tensor, got list"),
        (lambda: cluster_bootstrap(torch.ones(3).int()), TypeError, "floating point"),
        (lambda: cluster_bootstrap(torch.ones(3), draws=0), ValueError, "draws must be at least"),
        (lambda: cluster_bootstrap(torch.ones(0)), ValueError, r"a scenario, got shape \(0,\)"),
        (lambda: nested_bootstrap(torch.ones(3)), ValueError, r"\[S, K, ...\], got \(3,\)"),
        (lambda: nested_bootstrap(torch.ones(3, 0)), ValueError, r"\[S, K, ...\], got \(3, 0\)"),
        (lambda: nested_bootstrap(torch.ones(3, 2), draws=1.5), TypeError, "draws must be an int"),
        (lambda: percentile_interval(torch.ones(3), 1.0), ValueError, "level must be a number"),
        (lambda: percentile_interval(torch.ones(0)), ValueError, r"draws must have shape \[R"),
        (
            lambda: bca_interval(torch.ones(9, 2), torch.ones(3), torch.ones(4, 2)),
            ValueError,
            r"estimate must have shape \(2,\), got \(3,\)",
        ),
        (
            lambda: bca_interval(torch.ones(9, 2), torch.ones(2), torch.ones(4, 3)),
            ValueError,
            r"left_out must have shape \(4, 2\), got \(4, 3\)",
        ),
        (
            lambda: bootstrap_t_interval(*[torch.ones(9, 2)] * 3, torch.ones(2)),
            ValueError,
            r"estimate must have shape \(2,\), got \(9, 2\)",
        ),
        (
            lambda: quantile_of_draws(torch.ones(9, 2), torch.ones(1, 3)),
            ValueError,
            r"shares must have shape \[Q, ...\] with ... = \(2,\), got \(1, 3\)",
        ),
        (
            lambda: bootstrap_interval(torch.ones(4), method="basic"),
            ValueError,
            "method must be one of 't', 'bca', 'percentile', got 'basic'",
        ),
        (lambda: bootstrap_interval(torch.tensor(1.0)), ValueError, r"\[S, ...\], got \(\)"),
    ],
)
def test_bad_input(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
