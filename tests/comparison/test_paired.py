"""The difference of two models on tensors: worked values, oracles, missing cells, calibration."""

from __future__ import annotations

import doctest
import importlib
import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from wmscore.comparison import paired_difference, scenario_differences
from wmscore.functional import Reason

WORKED = [1.2, 0.4, -0.3, 0.9, 0.6, 0.1, 0.8, -0.2]


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def panels(
    scenarios: int, seeds: int, count: int, *, interaction: float, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Two equal models on many panels, `[S, K, panels]`."""
    hard = normal(scenarios, 1, count, seed=seed)
    cells = [
        hard
        + interaction * normal(scenarios, 1, count, seed=seed + 1 + m)
        + 0.5 * normal(scenarios, seeds, count, seed=seed + 11 + m)
        for m in range(2)
    ]
    return cells[0], cells[1]


@pytest.mark.parametrize("module", ["paired", "gate"])
def test_examples(module: str) -> None:
    found = doctest.testmod(importlib.import_module(f"wmscore.comparison.{module}"))
    assert found.attempted > 0
    assert found.failed == 0


def test_worked_example() -> None:
    old = normal(8, 3)
    found = paired_difference(old, old + torch.tensor(WORKED, dtype=torch.float64)[:, None])
    assert found.estimate.item() == pytest.approx(0.4375, abs=1e-12)
    assert found.p_value.item() == 18 / 256
    assert found.low.item() == pytest.approx(-0.011462, abs=1e-6)
    assert found.high.item() == pytest.approx(0.886462, abs=1e-6)
    assert (found.better.item(), found.worse.item(), found.pairs.item()) == (6, 2, 24)
    assert found.deviation.item() == pytest.approx(np.std(WORKED, ddof=1))
    assert found.candidate.item() - found.baseline.item() == pytest.approx(0.4375)


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_scenarios_equal_scipy_on_scenario_means(level: float) -> None:
    old, new = normal(9, 4), normal(9, 4, seed=1) + 0.5
    gone = torch.rand(9, 4, generator=torch.Generator().manual_seed(3)) < 0.3
    gone[:, 3], gone[2] = False, True  # one scenario has no pair
    new = new.masked_fill(gone, math.nan)
    old[0, 0] = math.inf
    delta = (new - old).masked_fill(gone, math.nan)
    delta[0, 0] = math.nan
    means = np.array([np.nanmean(row) for row in delta.numpy()[[0, 1, 3, 4, 5, 6, 7, 8]]])
    found = paired_difference(old, new, level=level)
    oracle = stats.ttest_1samp(means, 0)
    interval = oracle.confidence_interval(level)
    assert found.estimate.item() == pytest.approx(means.mean(), abs=1e-12)
    assert found.low.item() == pytest.approx(interval.low, abs=1e-9)
    assert found.high.item() == pytest.approx(interval.high, abs=1e-9)
    assert found.error.item() == pytest.approx(stats.sem(means), abs=1e-12)
    flipped = stats.permutation_test(
        (means,), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert found.p_value.item() == pytest.approx(flipped.pvalue, abs=1e-12)
    assert found.scenarios.item() == 8
    assert found.pairs.item() == int(delta.isfinite().sum())
    torch.testing.assert_close(
        scenario_differences(old, new)[[0, 1, 3, 4, 5, 6, 7, 8]], torch.from_numpy(means)
    )
    assert scenario_differences(old, new)[2].isnan()


def test_each_scenario_weighs_the_same_whatever_its_pairs() -> None:
    old = torch.zeros(2, 3)
    new = torch.tensor([[1.0, 1.0, 1.0], [4.0, math.nan, math.nan]])
    assert paired_difference(old, new).estimate.item() == 2.5


def test_swapping_the_models_turns_everything_round() -> None:
    old, new = normal(10, 3, 4), normal(10, 3, 4, seed=1)
    for estimand in ("scenarios", "seeds"):
        a = paired_difference(old, new, estimand=estimand, draws=200)
        b = paired_difference(new, old, estimand=estimand, draws=200)
        torch.testing.assert_close(a.estimate, -b.estimate)
        torch.testing.assert_close(a.low, -b.high)
        torch.testing.assert_close(a.p_value, b.p_value)
        assert torch.equal(a.better, b.worse)


def test_seeds_of_equal_spread_equal_a_pooled_t() -> None:
    """With two scenarios whose differences spread alike, Satterthwaite has all their freedom."""
    spread = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)
    delta = torch.stack([2 + spread, 5 - spread])
    found = paired_difference(torch.zeros_like(delta), delta, estimand="seeds")
    error = math.sqrt(2 * 1.0 / 3) / 2
    half = stats.t.ppf(0.975, 4) * error
    assert found.estimate.item() == pytest.approx(3.5)
    assert found.low.item() == pytest.approx(3.5 - half, abs=1e-9)
    assert found.high.item() == pytest.approx(3.5 + half, abs=1e-9)


def test_seeds_of_one_scenario_equal_scipy() -> None:
    old, new = normal(1, 9), normal(1, 9, seed=1) + 1
    found = paired_difference(old, new, estimand="seeds")
    delta = (new - old)[0].numpy()
    interval = stats.ttest_1samp(delta, 0).confidence_interval(0.95)
    assert found.low.item() == pytest.approx(interval.low, abs=1e-9)
    flipped = stats.permutation_test(
        (delta,), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert found.p_value.item() == pytest.approx(flipped.pvalue, abs=1e-12)
    over = paired_difference(old, new)
    assert over.low.isnan()
    assert over.p_value.isnan()
    assert over.reason.item() == int(Reason.TOO_FEW_SAMPLES)


def test_seeds_with_lone_pairs_take_the_pooled_variance() -> None:
    delta = torch.tensor(
        [[1.0, 3.0, 2.0], [4.0, 8.0, math.nan], [5.0, math.nan, math.nan]], dtype=torch.float64
    )
    found = paired_difference(torch.zeros_like(delta), delta, estimand="seeds")
    variances, counts = [1.0, 8.0], [3, 2]
    pooled = (2 * 1.0 + 1 * 8.0) / 3
    total = (1.0 / 3 + 8.0 / 2 + pooled / 1) / 9
    terms = [v / k / 9 + (k - 1) / 3 * v / 9 for v, k in zip(variances, counts, strict=True)]
    assert sum(terms) == pytest.approx(total)
    freedom = total**2 / sum(t**2 / (k - 1) for t, k in zip(terms, counts, strict=True))
    half = stats.t.ppf(0.975, freedom) * math.sqrt(total)
    assert found.error.item() == pytest.approx(math.sqrt(total))
    assert found.estimate.item() == pytest.approx((2 + 6 + 5) / 3)
    assert found.high.item() - found.estimate.item() == pytest.approx(half, rel=1e-6)


def test_seeds_swap_labels_within_pairs_of_unequal_weight() -> None:
    delta = torch.tensor([[1.0, 2.0, -1.0, 0.5], [3.0, 1.5, math.nan, math.nan]])
    found = paired_difference(torch.zeros_like(delta), delta, estimand="seeds")
    weighted = [0.25, 0.5, -0.25, 0.125, 1.5, 0.75]
    seen = abs(sum(weighted))
    signs = list(itertools.product((1, -1), repeat=6))
    extreme = sum(
        abs(sum(s * w for s, w in zip(pattern, weighted, strict=True))) >= seen - 1e-9
        for pattern in signs
    )
    assert found.p_value.item() == extreme / 64


def test_seeds_that_repeat_are_one_unit() -> None:
    """Eight scenarios of four copies are eight units for a test, however many rows."""
    gain = torch.tensor([1.0, 2.0, 3.0, 1.0, 2.0, 1.0, 1.0, 2.0])
    old = torch.zeros(8, 4)
    still = paired_difference(old, old + gain[:, None], estimand="seeds")
    assert still.p_value.isnan()
    assert still.low.item() == still.high.item() == still.estimate.item()
    new = old + gain[:, None]
    new[0, 0] += 1  # one scenario varies: 7 units and its 4 pairs
    found = paired_difference(old, new, estimand="seeds")
    assert found.p_value.item() == 2 / 2**11
    assert found.reason.item() == 0


def test_too_few_scenarios_have_no_p_value_but_an_interval() -> None:
    old = normal(5, 4)
    found = paired_difference(old, old + 1 + 0.1 * normal(5, 4, seed=1))
    assert found.p_value.isnan()
    assert found.reason.item() == int(Reason.TOO_FEW_SAMPLES)
    assert found.low.item() > 0.8


def test_nothing_to_compare() -> None:
    old = torch.full((6, 2), math.nan)
    found = paired_difference(old, old)
    assert found.estimate.isnan()
    assert (found.scenarios.item(), found.pairs.item(), found.better.item()) == (0, 0, 0)
    seeds = paired_difference(old, old, estimand="seeds")
    assert seeds.low.isnan()
    assert seeds.p_value.isnan()


def test_correlation_of_paired_seeds() -> None:
    common = normal(6, 5, seed=2)
    old, new = common + 0.3 * normal(6, 5), common + 0.3 * normal(6, 5, seed=1)
    found = paired_difference(old + 100 * normal(6, 1, seed=5), new)
    centred = [(x - x.mean(1, keepdim=True)).flatten().numpy() for x in (old, new)]
    assert found.seed_correlation.item() == pytest.approx(np.corrcoef(*centred)[0, 1])
    assert paired_difference(old, old[:, :1].expand(6, 5)).seed_correlation.isnan()
    third = torch.full((6, 3), 0.1)  # a mean of three of them is off by rounding
    assert paired_difference(third, normal(6, 3)).seed_correlation.isnan()


def test_columns_are_independent_of_each_other() -> None:
    old, new = normal(20, 3, 7), normal(20, 3, 7, seed=1)
    old[4, 1, 3] = math.nan
    for estimand in ("scenarios", "seeds"):
        whole = paired_difference(old, new, estimand=estimand, draws=500)
        for column in range(7):
            lone = paired_difference(
                old[..., column], new[..., column], estimand=estimand, draws=500
            )
            for a, b in zip(whole, lone, strict=True):
                assert torch.equal(a[column].nan_to_num(-9.0), b.nan_to_num(-9.0))


def test_order_of_scenarios_and_seeds_does_not_matter() -> None:
    old, new = normal(9, 4), normal(9, 4, seed=1)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(1))
    for estimand in ("scenarios", "seeds"):
        a = paired_difference(old, new, estimand=estimand)
        b = paired_difference(old[order].flip(1), new[order].flip(1), estimand=estimand)
        for x, y in list(zip(a, b, strict=True))[:4]:
            torch.testing.assert_close(x, y)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_other_dtypes(dtype: torch.dtype) -> None:
    old = torch.arange(24.0).view(8, 3)
    new = old + torch.arange(8.0)[:, None] - 2
    expected = paired_difference(old.double(), new.double())
    found = paired_difference(old.to(dtype), new.to(dtype))
    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(a, b, equal_nan=True)


@pytest.mark.parametrize("interaction", [0.0, 0.3])
def test_calibration_of_scenarios(interaction: float) -> None:
    """2,000 panels of two equal models: 5 % rejected, 95 % covered, with Monte Carlo error."""
    found = paired_difference(*panels(10, 4, 2000, interaction=interaction))
    rejected = (found.p_value <= 0.05).double().mean().item()
    covered = ((found.low <= 0) & (found.high >= 0)).double().mean().item()
    assert 0.033 <= rejected <= 0.065
    assert 0.935 <= covered <= 0.965


def test_calibration_of_seeds_on_a_fixed_panel() -> None:
    """The difference on the fixed scenarios is covered; the one of new scenarios is not."""
    old, new = panels(6, 4, 2000, interaction=0.0)
    found = paired_difference(old, new, estimand="seeds", draws=500)
    rejected = (found.p_value <= 0.05).double().mean().item()
    covered = ((found.low <= 0) & (found.high >= 0)).double().mean().item()
    assert 0.033 <= rejected <= 0.067
    assert 0.935 <= covered <= 0.972
    old, new = panels(6, 4, 2000, interaction=0.6)
    narrow = paired_difference(old, new, estimand="seeds", draws=200)
    assert (narrow.p_value <= 0.05).double().mean().item() > 0.2


@pytest.mark.parametrize(
    ("old", "new", "options", "error", "text"),
    [
        ([[1.0]], torch.ones(1, 1), {}, TypeError, "baseline must be a torch.Tensor, got list"),
        (torch.ones(2, 2), torch.ones(2, 3), {}, ValueError, r"candidate must have the shape"),
        (torch.ones(2, 2), torch.ones(2, 2).int(), {}, TypeError, "must be floating point"),
        (torch.ones(3), torch.ones(3), {}, ValueError, r"shape \[S, K, ...\]"),
        (torch.ones(0, 3), torch.ones(0, 3), {}, ValueError, "at least 1"),
        (torch.ones(3, 0), torch.ones(3, 0), {}, ValueError, "at least 1"),
        (torch.ones(2, 2), torch.ones(2, 2), {"estimand": "rows"}, ValueError, "'scenarios'"),
        (torch.ones(2, 2), torch.ones(2, 2), {"level": 95}, ValueError, "level must be"),
        (torch.ones(2, 2), torch.ones(2, 2), {"level": "95"}, TypeError, "level must be"),
        (torch.ones(2, 2), torch.ones(2, 2), {"draws": 0}, ValueError, "draws must be"),
    ],
)
def test_bad_input(
    old: object, new: object, options: dict[str, object], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        paired_difference(old, new, **options)
