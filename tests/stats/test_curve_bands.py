"""Bands of curves: plain resampling, coverage of whole curves, missing steps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from wmscore.functional import Reason
from wmscore.stats import mean_band, quantile_band, resample_counts


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def samples(curves: Tensor, draws: int) -> np.ndarray:
    """The panels that the draws stand for, [R, S, T]."""
    counts = torch.cat(list(resample_counts(len(curves), draws))).long().numpy()
    return np.stack([np.repeat(curves.numpy(), row, axis=0) for row in counts])


def test_mean_band_by_hand() -> None:
    curves = normal(9, 6, 2, seed=1).cumsum(1)
    found = mean_band(curves, 0.9, draws=400)
    for column in range(2):
        one = curves[..., column]
        drawn = samples(one, 400)
        mean, error = one.mean(0).numpy(), stats.sem(one.numpy())
        size = np.abs(drawn.mean(1) - mean) / stats.sem(drawn, axis=1)
        each, whole = np.quantile(size, 0.9, axis=0), np.quantile(size.max(1), 0.9)
        for end, factor, sign in (
            (found.low, each, -1),
            (found.high, each, 1),
            (found.band_low, whole, -1),
            (found.band_high, whole, 1),
        ):
            np.testing.assert_allclose(end[:, column], mean + sign * factor * error, rtol=1e-9)
    assert (found.scenarios == 9).all()
    assert (found.reason == 0).all()


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.75])
def test_quantile_band_by_hand(quantile: float) -> None:
    curves = normal(8, 5, seed=2).cumsum(1)
    found = quantile_band(curves, quantile, 0.9, draws=300)
    drawn = np.quantile(samples(curves, 300), quantile, axis=1)  # [R, T]
    np.testing.assert_allclose(found.curve, np.quantile(curves.numpy(), quantile, axis=0))
    spread = drawn.std(0, ddof=1)
    size = np.abs(drawn - found.curve.numpy()) / spread
    each, whole = np.quantile(size, 0.9, axis=0), np.quantile(size.max(1), 0.9)
    for end, half in (
        (found.low, -each * spread),
        (found.high, each * spread),
        (found.band_low, -whole * spread),
        (found.band_high, whole * spread),
    ):
        np.testing.assert_allclose(end, found.curve.numpy() + half, rtol=1e-9)


@pytest.mark.parametrize("call", [mean_band, quantile_band])
def test_missing_steps(call, monkeypatch: pytest.MonkeyPatch) -> None:
    curves = normal(9, 5, 2, seed=3)
    curves[6:, 3] = math.nan  # three curves end early
    curves[1:, 4, 0] = math.nan
    curves[:, 4, 1] = math.inf
    found = call(curves, draws=300)
    assert found.scenarios.tolist() == [[9, 9], [9, 9], [9, 9], [6, 6], [1, 0]]
    whole = call(curves[:, :3], draws=300)
    for name in ("curve", "low", "high"):
        assert torch.equal(getattr(found, name)[:3], getattr(whole, name))
        assert getattr(found, name)[4, 1].isnan()
    assert found.low[:4].isfinite().all()
    for end in (found.low, found.high, found.band_low, found.band_high):
        assert end[4].isnan().all()
    assert (found.reason[4] == Reason.TOO_FEW_SAMPLES).all()
    assert (found.reason[:4] == 0).all()
    assert found.curve[4, 0] == curves[0, 4, 0]
    monkeypatch.setattr("wmscore.stats.curve_bands._PIECE", 100)
    monkeypatch.setattr("wmscore.stats.resampling._PIECE", 100)
    for one, piece in zip(found, call(curves, draws=300), strict=True):
        torch.testing.assert_close(one, piece, rtol=1e-12, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("call", [mean_band, quantile_band])
def test_steps_that_are_alike_cost_nothing(call) -> None:
    curves = normal(12, 1, seed=4).expand(12, 7)
    found = call(curves, draws=500)
    torch.testing.assert_close(found.band_high, found.high, rtol=0.15, atol=0)
    apart = call(normal(12, 7, seed=4), draws=500)
    assert (apart.band_high >= apart.high).all()
    assert (apart.band_high - apart.high).mean() > 0.1
    # Steps at which all scenarios are the same have a band of no width and widen no other.
    still = torch.cat([normal(12, 1, seed=4), torch.full((12, 1), 0.5)], 1)
    flat = call(still, draws=500)
    assert flat.low[1] == flat.high[1] == flat.band_low[1] == flat.band_high[1] == 0.5
    torch.testing.assert_close(flat.band_high[0], call(still[:, :1], draws=500).band_high[0])


@pytest.mark.parametrize(
    ("call", "scenarios", "least", "most"),
    [(mean_band, 8, 0.92, 0.98), (mean_band, 20, 0.92, 0.98), (quantile_band, 41, 0.89, 0.99)],
)
def test_whole_curves_are_covered(call, scenarios: int, least: float, most: float) -> None:
    """Of random walks: at each step alone the same level would lose whole curves more often."""
    panels = 400
    curves = normal(scenarios, 12, panels, seed=5).cumsum(1)
    found = call(curves, draws=400)
    whole = ((found.band_low <= 0) & (found.band_high >= 0)).all(0).double().mean().item()
    each = ((found.low <= 0) & (found.high >= 0)).double().mean().item()
    lost = ((found.low <= 0) & (found.high >= 0)).all(0).double().mean().item()
    assert least <= whole <= most
    assert each > 0.91
    assert lost < 0.88


def test_two_scenarios_have_no_studentised_band() -> None:
    found = mean_band(normal(2, 3), draws=200)
    assert found.low.isnan().all()
    assert (found.reason == Reason.TOO_FEW_SAMPLES).all()
    assert mean_band(torch.zeros(4, 3, 0), draws=5).low.shape == (3, 0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: mean_band(torch.ones(3)), ValueError, r"\[S, T, ...\], got \(3,\)"),
        (lambda: mean_band(torch.ones(0, 3)), ValueError, r"\[S, T, ...\], got \(0, 3\)"),
        (lambda: mean_band([1.0]), TypeError, "curves must be a torch.Tensor"),
        (lambda: mean_band(torch.ones(3, 2), draws=0), ValueError, "draws must be at least 1"),
        (lambda: quantile_band(torch.ones(3, 2), 1.0), ValueError, "quantile must be a number"),
        (lambda: quantile_band(torch.ones(3, 2), level=0), ValueError, "level must be a number"),
    ],
)
def test_bad_input(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
