"""Uniformity of p-values: scipy, stepped p-values of exact tests, power."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.stats import _ksstats
from torch import Tensor

from wmscore.functional import Reason
from wmscore.stats import sign_flip_test, uniformity_test
from wmscore.stats._kolmogorov import one_sided_tail, two_sided_tail


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("samples", [1, 2, 7, 50, 400, 3000])
@pytest.mark.parametrize("power", [1.0, 1.1, 2.0])
def test_equals_scipy(samples: int, power: float) -> None:
    values = uniform(samples, 3, seed=samples) ** power
    for ours, theirs in (("two-sided", "two-sided"), ("small", "greater")):
        found = uniformity_test(values, alternative=ours)
        for column in range(3):
            expected = stats.kstest(
                values[:, column].numpy(), "uniform", alternative=theirs, method="exact"
            )
            assert found.distance[column].item() == pytest.approx(expected.statistic, abs=1e-15)
            # Theirs is Pelz and Good's approximation of D's tail from 141 values on.
            error = 1e-9 if samples <= 140 or ours == "small" else 1e-6
            assert found.p_value[column].item() == pytest.approx(expected.pvalue, abs=error)


SCALED = (0.3, 0.5, 0.8, 1.0, 1.36, 2.0, 3.0, 4.2, 4.3, 6.0)


@pytest.mark.parametrize("samples", [1, 3, 10, 140, 141, 300])
def test_tails_equal_scipy(samples: int) -> None:
    for distance in [*(np.array(SCALED) / math.sqrt(samples)), 0.4999, 0.5, 0.9, 1.0]:
        if distance <= 1:
            exact = _ksstats._kolmogn_DMTW(samples, distance, cdf=False)
            assert two_sided_tail(samples, distance) == pytest.approx(exact, abs=1e-10)
            one = stats.ksone.sf(distance, samples)
            assert one_sided_tail(samples, distance) == pytest.approx(one, abs=1e-11)


@pytest.mark.parametrize(("samples", "error"), [(10_000, 1e-9), (10_001, 1e-5), (10**6, 1e-7)])
def test_tails_of_many_are_close_to_scipy(samples: int, error: float) -> None:
    for x in (0.35, 0.9, 1.01, 1.36, 4.3):
        distance = x / math.sqrt(samples)
        theirs = stats.kstwo.sf(distance, samples)
        assert two_sided_tail(samples, distance) == pytest.approx(theirs, abs=error)


def test_gaps_are_left_out() -> None:
    values = uniform(30, 3, seed=1)
    values[::3, 0] = math.nan
    values[:, 1] = math.nan
    found = uniformity_test(values)
    alone = uniformity_test(values[:, 0][~values[:, 0].isnan()])
    assert found.samples.tolist() == [20, 0, 30]
    assert found.distance[0] == alone.distance
    assert found.p_value[0] == alone.p_value
    assert found.p_value[1].isnan()
    assert found.distance[1].isnan()
    assert found.reason.tolist() == [0, Reason.TOO_FEW_SAMPLES, 0]
    assert uniformity_test(torch.zeros(4, 0)).p_value.shape == (0,)


def exact_p_values(scenarios: int, panels: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(scenarios, panels, dtype=torch.float64, generator=generator)
    return sign_flip_test(values).p_value


def test_stepped_p_values_of_a_valid_test() -> None:
    """As they are, six pairs look far from uniform; their steps are what explains it."""
    p_values = exact_p_values(6, 3000, seed=2)
    assert uniformity_test(p_values).p_value < 1e-3
    step = 2.0**-5
    seeds = [uniformity_test(p_values, step=step, seed=s).p_value.item() for s in range(5)]
    assert min(seeds) > 0.01
    assert len(set(seeds)) == 5
    assert uniformity_test(p_values, alternative="small").p_value > 0.05
    # The check of steps is itself calibrated: its p-values over many sets are uniform.
    many = uniformity_test(exact_p_values(6, 300 * 200, seed=3).reshape(200, 300), step=step)
    assert stats.kstest(many.p_value.numpy(), "uniform").pvalue > 0.01


def test_invalid_tests_are_found() -> None:
    p_values = exact_p_values(6, 3000, seed=2)
    too_small = p_values * 0.9
    assert uniformity_test(too_small, step=2.0**-5).p_value < 1e-3
    assert uniformity_test(uniform(3000) ** 1.2, alternative="small").p_value < 1e-6
    # Too large is safe, and only the two-sided test minds it.
    assert uniformity_test(uniform(3000) ** 0.8, alternative="small").p_value > 0.5
    assert uniformity_test(uniform(3000) ** 0.8).p_value < 1e-6


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: uniformity_test([0.1]), TypeError, "p_values must be a torch.Tensor"),
        (lambda: uniformity_test(torch.tensor(0.1)), ValueError, r"\[N, ...\], got \(\)"),
        (lambda: uniformity_test(torch.tensor([1.5])), ValueError, r"p_values must be in \[0, 1\]"),
        (lambda: uniformity_test(torch.ones(2), step=-1.0), ValueError, r"step must be in \[0, 1"),
        (
            lambda: uniformity_test(torch.ones(2), alternative="less"),
            ValueError,
            "alternative must be one of 'two-sided', 'small', got 'less'",
        ),
    ],
)
def test_bad_input(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
