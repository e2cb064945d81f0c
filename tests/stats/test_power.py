"""Power against statsmodels and a plain integral, and its inverses against it."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from statsmodels.stats.power import TTestPower
from torch import Tensor

from wmscore.stats import (
    detectable_difference,
    mean_interval,
    paired_power,
    scenarios_needed,
)

EFFECTS = [0.0, 0.05, 0.2, 0.5, 1.0, 2.0, 5.0]
SIZES = [2, 3, 4, 6, 8, 12, 20, 50, 199, 1000]
LEVELS = [0.8, 0.95, 0.99, 0.999]


def of(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def plain_tail(effect: float, size: int, level: float) -> float:
    """P(T > c), integrated over the estimated deviation as the definition has it."""
    freedom = size - 1
    critical = stats.t.isf((1 - level) / 2, freedom)

    def part(u: float) -> float:
        density = stats.chi.pdf(u * math.sqrt(freedom), freedom) * math.sqrt(freedom)
        return float(density * stats.norm.cdf(effect * math.sqrt(size) - critical * u))

    edges = sorted({0.0, 1.0, effect * math.sqrt(size) / critical, 10.0})
    pieces = [
        integrate.quad(part, low, high, epsabs=1e-13, limit=400)[0] for low, high in pairwise(edges)
    ]
    return sum(pieces)


@pytest.mark.parametrize("level", LEVELS)
def test_power_equals_statsmodels(level: float) -> None:
    sizes = torch.tensor(SIZES)[:, None]
    found = paired_power(of(*EFFECTS), 1.0, sizes, level=level)
    oracle = TTestPower()
    expected = np.array(
        [[oracle.power(d, n, 1 - level) for d in EFFECTS] for n in SIZES], dtype=float
    )
    known = np.isfinite(expected)  # scipy's noncentral t gives up far out
    assert known.mean() > 0.7
    np.testing.assert_allclose(found.numpy()[known], expected[known], rtol=0, atol=1e-11)
    one_sided = paired_power(of(*EFFECTS), 1.0, sizes, level=level, margin=0.0)
    expected = np.array(
        [
            [oracle.power(d, n, (1 - level) / 2, alternative="larger") for d in EFFECTS]
            for n in SIZES
        ]
    )
    known = np.isfinite(expected)
    np.testing.assert_allclose(one_sided.numpy()[known], expected[known], rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    ("effect", "size", "level"), [(5, 3, 0.99), (2, 20, 0.999), (1, 50, 0.999), (0.2, 1000, 0.99)]
)
def test_power_where_scipy_has_none(effect: float, size: int, level: float) -> None:
    found = paired_power(float(effect), 1.0, size, level=level, margin=0.0).item()
    assert found == pytest.approx(plain_tail(effect, size, level), abs=1e-9)


def test_power_analytic() -> None:
    # Without a difference, the share of false alarms; with an enormous panel, the normal's.
    assert paired_power(0.0, 1.0, of(2, 5, 1000)).tolist() == pytest.approx([0.05] * 3, abs=1e-12)
    worse = paired_power(-1.0, 1.0, 20, margin=1.0)
    assert worse.item() == pytest.approx(0.025, abs=1e-12)
    large = 10**8
    for shift in (0.5, 1.96, 4.0):
        found = paired_power(shift / math.sqrt(large), 1.0, large, margin=0.0).item()
        assert found == pytest.approx(stats.norm.cdf(shift - stats.norm.ppf(0.975)), abs=1e-8)
    assert paired_power(of(1, -1), 0.0, 2).tolist() == [1.0, 1.0]
    assert paired_power(0.5, 1.0, 34).item() == pytest.approx(0.807778, abs=1e-6)


def test_units_and_margins() -> None:
    # Only the difference from the margin on, in standard deviations, counts.
    plain = paired_power(0.5, 1.0, 12, margin=0.0)
    assert paired_power(-1.0, 4.0, 12, margin=3.0).item() == pytest.approx(plain.item(), rel=1e-12)
    assert paired_power(-0.5, 1.0, 12).item() == paired_power(0.5, 1.0, 12).item()
    assert paired_power(-0.5, 1.0, 12, margin=0.0).item() < 0.001


def test_undefined() -> None:
    found = paired_power(of(1.0, math.nan, 0.0, 1.0), of(1.0, 1.0, 0.0, 1.0), of(8, 8, 8, 1))
    assert found.isnan().tolist() == [False, True, True, True]
    needed = scenarios_needed(of(math.nan, 0.0, 0.0, 1.0), of(1.0, 1.0, 0.0, math.inf))
    assert needed.isnan().tolist() == [True, False, True, False]
    assert needed[[1, 3]].tolist() == [math.inf, math.inf]
    assert detectable_difference(1.0, of(1, 0, math.nan)).isnan().all()


def test_scenarios_worked_example() -> None:
    found = scenarios_needed(of(0.2, 0.3, 0.5, 0.8, 1.0, 1.5), 1.0)
    assert found.tolist() == [199, 90, 34, 15, 10, 6]


@pytest.mark.parametrize("margin", [None, 0.0, 0.3])
@pytest.mark.parametrize("power", [0.5, 0.8, 0.95])
def test_scenarios_are_the_fewest(power: float, margin: float | None) -> None:
    effect = torch.logspace(-2.5, 1, 24, dtype=torch.float64)
    found = scenarios_needed(effect, 1.0, power=power, margin=margin, level=0.9)
    reached = paired_power(effect, 1.0, found, margin=margin, level=0.9)
    assert (reached >= power).all()
    fewer = paired_power(effect, 1.0, found - 1, margin=margin, level=0.9)
    assert ((fewer < power) | (found == 2)).all()
    assert (found[1:] <= found[:-1]).all()
    if margin is None:
        assert found.max() > 10_000


def test_scenarios_that_no_number_reaches() -> None:
    assert scenarios_needed(0.0, 1.0).item() == math.inf
    assert scenarios_needed(-0.3, 1.0, margin=0.3).item() == math.inf
    assert scenarios_needed(-0.4, 1.0, margin=0.3).item() == math.inf
    assert (
        scenarios_needed(-0.2, 1.0, margin=0.3).item()
        == scenarios_needed(0.1, 1.0, margin=0.0).item()
    )


@pytest.mark.parametrize("power", [0.1, 0.5, 0.8, 0.99])
@pytest.mark.parametrize("margin", [None, 0.25])
def test_detectable_difference_has_the_power(power: float, margin: float | None) -> None:
    sizes, sd = torch.tensor(SIZES)[:, None], of(0.5, 1.0, 7.0)
    found = detectable_difference(sd, sizes, power=power, margin=margin)
    assert found.shape == (len(SIZES), 3)
    reached = paired_power(found, sd, sizes, margin=margin)
    torch.testing.assert_close(reached, torch.full_like(reached, power), rtol=0, atol=1e-10)
    assert (found[1:] < found[:-1]).all()


def test_detectable_difference_equals_statsmodels() -> None:
    expected = TTestPower().solve_power(None, 34, 0.05, 0.8)
    found = detectable_difference(1.0, 34).item()
    assert found == pytest.approx(expected, abs=1e-5)  # how far it solves


def test_power_is_how_often_the_interval_settles_it() -> None:
    generator = torch.Generator().manual_seed(0)
    panels = torch.randn(8, 20_000, dtype=torch.float64, generator=generator) + 0.7
    some = mean_interval(panels[:, :9])
    half = stats.t.ppf(0.975, 7) * panels.std(0) / math.sqrt(8)
    low, high = panels.mean(0) - half, panels.mean(0) + half
    torch.testing.assert_close(some.low, low[:9])
    for margin, settled in ((None, (low > 0) | (high < 0)), (0.4, low > -0.4)):
        expected = paired_power(0.7, 1.0, 8, margin=margin).item()
        assert settled.double().mean().item() == pytest.approx(expected, abs=0.012)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: paired_power("1", 1.0, 8), TypeError, "difference must be a number or a"),
        (lambda: paired_power(1.0, -1.0, 8), ValueError, "sd must be at least 0, got -1"),
        (lambda: paired_power(1.0, 1.0, 8, level=0.05), ValueError, "a test at 5 % has 0.95"),
        (lambda: paired_power(1.0, 1.0, True), TypeError, "scenarios must be a number"),
        (lambda: paired_power(1.0, 1.0, 8, margin=-1.0), ValueError, "margin must be at least 0"),
        (lambda: scenarios_needed(1.0, 1.0, power=0.04), ValueError, "power must be a number"),
        (lambda: detectable_difference(1.0, 8, power=1.0), ValueError, "power must be a number"),
        (lambda: detectable_difference(torch.ones(1) > 0, 8), TypeError, "sd must hold real"),
    ],
)
def test_bad_input(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
