"""Wilcoxon's signed ranks: scipy, enumeration with ties, missing pairs, calibration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from wmscore.functional import Reason
from wmscore.stats import signed_rank_test

ALTERNATIVES = ("two-sided", "greater", "less")


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def test_worked_example() -> None:
    found = signed_rank_test(torch.tensor([1.2, 0.4, -0.3, 0.9, 0.6, 0.1, 0.8, -0.2]))
    assert found.p_value.item() == 0.078125
    assert found.statistic.item() == 31
    assert found.effect.item() == pytest.approx(26 / 36)
    assert (found.exact.item(), found.scenarios.item(), found.reason.item()) == (True, 8, 0)


@pytest.mark.parametrize("alternative", ALTERNATIVES)
@pytest.mark.parametrize("method", ["exact", "normal"])
@pytest.mark.parametrize("scenarios", [6, 13, 50, 120])
def test_equals_scipy(alternative: str, method: str, scenarios: int) -> None:
    values = normal(scenarios, 4, seed=scenarios) + 0.2
    found = signed_rank_test(values, alternative=alternative, method=method)
    theirs = stats.wilcoxon(
        values.numpy(),
        alternative=alternative,
        method="asymptotic" if method == "normal" else "exact",
    )
    np.testing.assert_allclose(found.p_value, theirs.pvalue, atol=1e-12)
    up = np.where(values > 0, stats.rankdata(values.abs().numpy(), axis=0), 0).sum(0)
    np.testing.assert_allclose(found.statistic, up)
    assert (found.exact == (method == "exact")).all()


@pytest.mark.parametrize("alternative", ALTERNATIVES)
@pytest.mark.parametrize("scenarios", [12, 60])
def test_normal_with_ties_and_zeros_equals_scipy(alternative: str, scenarios: int) -> None:
    generator = torch.Generator().manual_seed(scenarios)
    values = torch.randint(-3, 5, (scenarios, 6), generator=generator).double() / 10
    assert (values == 0).any(0).all()
    found = signed_rank_test(values, alternative=alternative, method="normal")
    theirs = stats.wilcoxon(values.numpy(), alternative=alternative, method="asymptotic")
    np.testing.assert_allclose(found.p_value, theirs.pvalue, atol=1e-12)


def enumerated(values: np.ndarray, alternative: str) -> float:
    values = values[values != 0]
    ranks = (2 * stats.rankdata(np.abs(values))).astype(int)
    up = ranks[values > 0].sum()
    sums = np.array(
        [ranks[list(s)].sum() for s in itertools.product((False, True), repeat=len(ranks))]
    )
    high, low = np.mean(sums >= up), np.mean(sums <= up)
    return {"greater": high, "less": low, "two-sided": min(1.0, 2 * min(high, low))}[alternative]


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_exact_with_ties_equals_enumeration(alternative: str) -> None:
    generator = torch.Generator().manual_seed(2)
    values = torch.randint(-3, 5, (10, 12), generator=generator).double()
    values[8, 3] = math.nan
    found = signed_rank_test(values, alternative=alternative)
    assert found.exact.all()
    for column in range(12):
        kept = values[:, column][values[:, column].isfinite()].numpy()
        expected = enumerated(kept, alternative)
        assert found.p_value[column].item() == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_exact_with_ties_equals_scipy_permutations(alternative: str) -> None:
    values = (4 * normal(11, seed=3)).round() + 1
    ours = signed_rank_test(values, alternative=alternative).p_value.item()
    method = stats.PermutationMethod(n_resamples=np.inf)
    theirs = stats.wilcoxon(values.numpy(), alternative=alternative, method=method)
    assert ours == pytest.approx(theirs.pvalue, abs=1e-12)


def test_auto_is_exact_up_to_fifty_ranks() -> None:
    values = normal(52, 3, seed=4)
    values[0, 0] = math.nan
    values[:2, 1] = 0.0
    found = signed_rank_test(values)
    assert found.exact.tolist() == [False, True, False]
    assert found.scenarios.tolist() == [51, 52, 52]
    exact, close = (signed_rank_test(values, method=m).p_value for m in ("exact", "normal"))
    assert found.p_value[1] == exact[1]
    assert found.p_value[2] == close[2]
    assert (exact - close).abs().max() < 0.01


def test_columns_do_not_depend_on_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    values = (6 * normal(14, 3, 5, seed=5)).round() / 6
    values[4:9, 1, 2] = math.nan
    together = signed_rank_test(values)
    monkeypatch.setattr("wmscore.stats.wilcoxon._PIECE", 1000)
    for row, column in itertools.product(range(3), range(5)):
        alone = signed_rank_test(values[:, row, column])
        for one, of_many in zip(alone, together, strict=True):
            assert torch.equal(one, of_many[row, column])
    for one, of_many in zip(signed_rank_test(values), together, strict=True):
        assert torch.equal(one, of_many)
    kept = torch.cat([values[:4, 1, 2], values[9:, 1, 2]])
    assert signed_rank_test(kept).p_value == together.p_value[1, 2]


@pytest.mark.parametrize(("alternative", "least"), [("two-sided", 6), ("greater", 5), ("less", 5)])
def test_too_few_pairs_have_no_p_value(alternative: str, least: int) -> None:
    side = -1.0 if alternative == "less" else 1.0
    enough = signed_rank_test(torch.full((least,), side), alternative=alternative)
    assert enough.p_value.item() == (2 if least == 6 else 1) / 2**least
    for scenarios in range(least):
        few = signed_rank_test(torch.full((scenarios,), side), alternative=alternative)
        assert few.p_value.isnan()
        assert few.reason == Reason.TOO_FEW_SAMPLES
        assert few.statistic.isnan() == few.effect.isnan() == (scenarios == 0)


def test_no_difference_at_all() -> None:
    for method in ("auto", "normal"):
        found = signed_rank_test(torch.zeros(60, 2), method=method)
        assert found.p_value.tolist() == [1, 1]
        assert found.effect.tolist() == [0, 0]
    assert signed_rank_test(torch.zeros(20, 0)).p_value.shape == (0,)


@pytest.mark.parametrize("scenarios", [12, 25])
def test_calibrated_for_two_identical_models(scenarios: int) -> None:
    p_value = signed_rank_test(normal(scenarios, 4000, seed=7)).p_value
    # The p-values are coarse: those of the test itself say how often each level is reached.
    level = p_value[p_value <= 0.05].max().item()
    rejected = (p_value <= 0.05).double().mean().item()
    assert abs(rejected - level) < 4 * math.sqrt(level * (1 - level) / 4000)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: signed_rank_test([1.0]), TypeError, "differences must be a torch.Tensor"),
        (lambda: signed_rank_test(torch.tensor(1.0)), ValueError, r"shape \[S, ...\], got \(\)"),
        (
            lambda: signed_rank_test(torch.ones(6), alternative="both"),
            ValueError,
            "alternative must be one of 'two-sided', 'greater', 'less', got 'both'",
        ),
        (
            lambda: signed_rank_test(torch.ones(6), method="approx"),
            ValueError,
            "method must be one of 'auto', 'exact', 'normal', got 'approx'",
        ),
    ],
)
def test_bad_input(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
