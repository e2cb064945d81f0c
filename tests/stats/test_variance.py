"""Variance of paired differences: against statsmodels' tables, simulation, and worked cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from statsmodels.regression.linear_model import OLS
from torch import Tensor

from wmscore.functional import Reason
from wmscore.stats import (
    mean_interval,
    paired_power,
    paired_variance,
    scenarios_needed,
    seeds_needed,
)


def of(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def random_cells(*shape: int, missing: float = 0.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    one, two = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    two = (
        two
        + one / 2
        + torch.randn(shape[0], *[1] * (len(shape) - 1), generator=generator, dtype=torch.float64)
    )
    for cells in (one, two):
        cells[torch.rand(shape, generator=generator) < missing] = math.nan
    return one, two


def dummies(scenario: np.ndarray) -> np.ndarray:
    return (scenario[:, None] == np.unique(scenario)[None]).astype(float)


@pytest.mark.parametrize("missing", [0.0, 0.35])
def test_equals_an_analysis_of_variance(missing: float) -> None:
    one, two = random_cells(9, 6, missing=missing)
    found = paired_variance(one, two)
    there = (one.isfinite() & two.isfinite()).numpy()
    scenario = np.nonzero(there)[0]
    design = dummies(scenario)
    x, y = one.numpy()[there], two.numpy()[there]
    fit = OLS(y - x, design).fit()
    counts = design.sum(0)
    means = fit.params
    assert found.pairs.item() == there.sum()
    assert found.scenarios.item() == len(counts)
    np.testing.assert_allclose(found.within, fit.mse_resid, rtol=1e-10)
    np.testing.assert_allclose(found.mean, means.mean(), rtol=1e-10)
    np.testing.assert_allclose(found.sd, means.std(ddof=1), rtol=1e-10)
    np.testing.assert_allclose(found.seeds, 1 / (1 / counts).mean(), rtol=1e-10)
    expected = max(0.0, means.var(ddof=1) - fit.mse_resid * (1 / counts).mean())
    np.testing.assert_allclose(found.between, expected, rtol=1e-9)
    assert expected > 0
    if not missing:  # the textbook's expected mean squares
        between = fit.nobs * ((means - means.mean()) ** 2).sum() / len(means) / (len(means) - 1)
        np.testing.assert_allclose(found.between, (between - fit.mse_resid) / 6, rtol=1e-9)
    rest = [OLS(values, design).fit().resid for values in (x, y)]
    np.testing.assert_allclose(found.correlation, np.corrcoef(*rest)[0, 1], rtol=1e-9)
    np.testing.assert_allclose(found.sd_with(found.seeds), found.sd, rtol=1e-9)


def test_sd_is_that_of_the_interval() -> None:
    one, two = random_cells(7, 4)
    found = paired_variance(one, two)
    interval = mean_interval((two - one).mean(1))
    half = (interval.high - interval.low).item() / 2
    t_quantile = 2.446911851  # 6 degrees of freedom
    assert half == pytest.approx(t_quantile * found.sd.item() / math.sqrt(7), rel=1e-8)


def test_columns_are_independent_of_each_other() -> None:
    one, two = random_cells(6, 5, 3, 2, missing=0.3)
    found = paired_variance(one, two)
    for i in range(3):
        for j in range(2):
            alone = paired_variance(one[..., i, j], two[..., i, j])
            for value, of_many in zip(alone, found, strict=True):
                assert torch.equal(value, of_many[i, j])


def test_parts_are_found_again() -> None:
    """u cancels in the difference; v stays; e is correlated between the models."""
    generator = torch.Generator().manual_seed(3)
    panels, scenarios, seeds, rho = 1000, 40, 4, 0.6

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, panels, generator=generator, dtype=torch.float64)

    common, shared = 5 * normal(scenarios, 1), normal(scenarios, seeds)
    cells = [
        common
        + 0.3 * normal(scenarios, 1)
        + 0.5 * (math.sqrt(rho) * shared + math.sqrt(1 - rho) * normal(scenarios, seeds))
        for _ in range(2)
    ]
    found = paired_variance(*cells)
    assert found.within.mean().item() == pytest.approx(2 * 0.25 * (1 - rho), rel=0.01)
    assert found.between.mean().item() == pytest.approx(2 * 0.09, rel=0.02)
    assert found.correlation.mean().item() == pytest.approx(rho, abs=0.01)
    expected = 2 * 0.09 + 2 * 0.25 * (1 - rho) / seeds
    assert found.sd.square().mean().item() == pytest.approx(expected, rel=0.02)


def test_too_few() -> None:
    nan = math.nan
    one = torch.zeros(3, 2, 4)
    two = torch.stack(
        [
            torch.tensor([[1.0, nan], [2.0, nan], [3.0, nan]]),  # one pair each: no within
            torch.tensor([[1.0, 2.0], [nan, nan], [nan, nan]]),  # one scenario
            torch.full((3, 2), nan),
            torch.tensor([[1.0, 3.0], [2.0, nan], [nan, math.inf]]),
        ],
        -1,
    )
    found = paired_variance(one, two)
    few = int(Reason.TOO_FEW_SAMPLES)
    assert found.reason.tolist() == [few, few, few, 0]
    assert found.scenarios.tolist() == [3, 1, 0, 2]
    assert found.pairs.tolist() == [3, 2, 0, 3]
    assert found.sd[0].item() == 1
    assert found.sd[1:3].isnan().all()
    assert found.between.isnan().tolist() == found.within.isnan().tolist()
    assert found.between.isnan().tolist() == [True, True, True, False]
    assert found.within[3].item() == 2  # (1, 3) around 2
    assert found.correlation.isnan().all()  # a baseline that does not vary


def test_identical_models_have_no_variance() -> None:
    cells = torch.rand(5, 3)
    found = paired_variance(cells, cells)
    assert (found.mean, found.sd, found.between, found.within) == (0, 0, 0, 0)
    assert found.correlation.item() == pytest.approx(1)


def test_seeds_are_the_fewest() -> None:
    difference = of(0.5, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0)
    between, within = 0.25, 4.0
    for margin in (None, 0.2):
        found = seeds_needed(difference, between, within, 20, margin=margin)
        finite = found.isfinite()
        assert finite.sum() >= 5

        def power(seeds: Tensor, margin: float | None = margin) -> Tensor:
            sd = (between + within / seeds).sqrt()
            return paired_power(difference, sd, 20, margin=margin)

        assert (power(found)[finite] >= 0.8 - 1e-9).all()
        fewer = power(found - 1)[finite]
        assert ((fewer < 0.8) | (found[finite] == 1)).all()
    assert seeds_needed(difference, between, within, 20).isinf().any() == bool(
        (paired_power(difference, 0.5, 20) < 0.8).any()
    )


def test_seeds_that_no_number_reaches() -> None:
    # Scenario by model interaction alone hides the difference: only scenarios help.
    assert seeds_needed(0.3, 0.5, 4.0, 20).item() == math.inf
    assert scenarios_needed(0.3, math.sqrt(0.5)).isfinite()
    assert seeds_needed(0.0, 0.5, 4.0, 20).item() == math.inf
    assert seeds_needed(-0.5, 0.0, 4.0, 20, margin=0.5).item() == math.inf
    assert seeds_needed(0.0, 0.0, 0.0, 20).item() == math.inf
    assert seeds_needed(1.0, 0.0, 0.0, 20).item() == 1
    assert seeds_needed(1.0, 0.5, 0.0, 20).item() == 1
    assert seeds_needed(1.0, 0.5, 1.0, of(1, 20)).isnan().tolist() == [True, False]
    assert seeds_needed(math.nan, 0.5, 1.0, 20).isnan()


def test_without_interaction_seeds_are_as_good_as_scenarios() -> None:
    assert seeds_needed(0.2, 0.0, 4.0, 20).isfinite()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: paired_variance(torch.ones(3), torch.ones(3)), ValueError, r"\[S, K, ...\]"),
        (
            lambda: paired_variance(torch.ones(3, 2), torch.ones(3, 1)),
            ValueError,
            r"candidate must have the shape of baseline, \(3, 2\), got \(3, 1\)",
        ),
        (
            lambda: paired_variance(torch.ones(3, 2).int(), torch.ones(3, 2)),
            TypeError,
            "baseline must be floating point",
        ),
        (lambda: seeds_needed(1.0, -1.0, 1.0, 20), ValueError, "between must be at least 0"),
        (lambda: seeds_needed(1.0, 1.0, 1.0, 20, level=0.05), ValueError, "level of confidence"),
    ],
)
def test_bad_input(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
