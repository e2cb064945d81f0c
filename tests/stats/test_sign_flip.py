"""Sign-flip tests: enumeration, scipy, worked values, missing pairs, calibration, bad input."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from wmscore.functional import Reason
from wmscore.stats import EXACT_SCENARIOS, sign_flip_norm_test, sign_flip_test

WORKED = [1.2, 0.4, -0.3, 0.9, 0.6, 0.1, 0.8, -0.2]


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def enumerated(values: list[float], alternative: str) -> float:
    """All patterns, one at a time, in whole thousandths so that no tie is lost to rounding."""
    whole = [round(1000 * value) for value in values]
    seen, extreme, patterns = sum(whole), 0, 0
    for signs in itertools.product((1, -1), repeat=len(whole)):
        total = sum(s * v for s, v in zip(signs, whole, strict=True))
        more = {
            "two-sided": abs(total) >= abs(seen),
            "greater": total >= seen,
            "less": total <= seen,
        }[alternative]
        extreme += more
        patterns += 1
    return extreme / patterns


def test_worked_example() -> None:
    found = sign_flip_test(torch.tensor(WORKED))
    assert found.p_value.item() == 0.0703125
    assert found.statistic.item() == pytest.approx(0.4375)
    assert (found.exact.item(), found.scenarios.item(), found.reason.item()) == (True, 8, 0)


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
@pytest.mark.parametrize("scenarios", [6, 7, 11])
@pytest.mark.parametrize("steps", [1, 100, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_enumeration(
    alternative: str, scenarios: int, steps: int, dtype: torch.dtype
) -> None:
    """Coarse values tie: with steps of 1 most sums do."""
    generator = torch.Generator().manual_seed(scenarios)
    whole = torch.randint(-2 * steps, 3 * steps + 1, (scenarios, 5), generator=generator)
    values = whole.to(dtype) / steps
    found = sign_flip_test(values, alternative=alternative)
    for column in range(5):
        expected = enumerated(values[:, column].tolist(), alternative)
        assert found.p_value[column].item() == expected


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_equals_scipy(alternative: str) -> None:
    values = normal(12, 3, seed=4) + 0.3
    found = sign_flip_test(values, alternative=alternative)
    for column in range(3):
        theirs = stats.permutation_test(
            (values[:, column].numpy(),),
            np.mean,
            permutation_type="samples",
            n_resamples=np.inf,
            alternative=alternative,
        )
        assert found.p_value[column].item() == pytest.approx(theirs.pvalue, abs=1e-12)
        assert found.statistic[column].item() == pytest.approx(theirs.statistic)


def test_draws_estimate_the_exact_value() -> None:
    """Beyond 16 pairs: 17 whose last difference is 0, so that 16 give the exact answer."""
    values = normal(17, 40, seed=1) + 0.3
    values[16] = 0.0
    draws = 4000
    drawn = sign_flip_test(values, draws=draws)
    exact = sign_flip_test(values[:16])
    assert not drawn.exact.any()
    assert exact.exact.all()
    error = (exact.p_value * (1 - exact.p_value) / draws).sqrt() + 1 / draws
    assert ((drawn.p_value - exact.p_value).abs() <= 4.5 * error).all()
    assert (drawn.p_value * (1 + draws)).round().sub(drawn.p_value * (1 + draws)).abs().max() < 1e-9
    assert sign_flip_test(values + 100, draws=99).p_value[0].item() == 1 / 100
    again, other = sign_flip_test(values, draws=draws), sign_flip_test(values, draws=draws, seed=1)
    assert torch.equal(drawn.p_value, again.p_value)
    assert not torch.equal(drawn.p_value, other.p_value)


@pytest.mark.parametrize("scenarios", [12, 30])
def test_columns_do_not_depend_on_each_other(scenarios: int) -> None:
    values = normal(scenarios, 4, 6, seed=2)
    values[: scenarios // 2, 1, 3] = math.nan
    together = sign_flip_test(values, draws=500)
    assert together.p_value.shape == (4, 6)
    for row, column in itertools.product(range(4), range(6)):
        alone = sign_flip_test(values[:, row, column], draws=500)
        for one, of_many in zip(alone, together, strict=True):
            assert torch.equal(one, of_many[row, column])


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
@pytest.mark.parametrize("scenarios", [13, 30, 100])
def test_pieces(alternative: str, scenarios: int, monkeypatch: pytest.MonkeyPatch) -> None:
    values = normal(scenarios, 7, seed=2)
    vectors = normal(scenarios, 5, 3, seed=3)
    whole = sign_flip_test(values, draws=1000, alternative=alternative)
    norms = sign_flip_norm_test(vectors, draws=1000)
    for piece, tile in ((50, 2), (700, 1), (1 << 18, 3)):
        monkeypatch.setattr("wmscore.stats.sign_flip._PIECE", piece)
        monkeypatch.setattr("wmscore.stats.sign_flip._TILE", tile)
        found = sign_flip_test(values, draws=1000, alternative=alternative)
        assert torch.equal(found.p_value, whole.p_value)
        assert torch.equal(sign_flip_norm_test(vectors, draws=1000).p_value, norms.p_value)


@pytest.mark.parametrize("scenarios", [17, 64, 65, 200])
def test_signs_are_fair_and_independent(scenarios: int) -> None:
    """With one scenario far larger than the others, the p-value is how often its sign is +."""
    draws = 4000
    for place in (0, scenarios - 1):
        values = 0.001 * torch.ones(scenarios, dtype=torch.float64)
        values[place] = 1.0
        values[values < 1] *= -1  # every pattern with its sign + is as extreme as what was seen
        found = sign_flip_test(values, draws=draws, alternative="greater").p_value.item()
        assert abs(found - 0.5) < 4 * 0.5 / math.sqrt(draws)
    pair = torch.zeros(scenarios, dtype=torch.float64)
    pair[0], pair[-1] = 1.0, 1.0
    found = sign_flip_test(pair, draws=draws, alternative="greater").p_value.item()
    assert abs(found - 0.25) < 4 * math.sqrt(0.25 * 0.75 / draws)


def test_missing_pairs_are_dropped_and_counted() -> None:
    values = normal(24, 3, seed=3) + 0.4
    values[::2, 0] = math.nan  # 12 are left: exact
    values[3, 1] = math.inf
    found = sign_flip_test(values)
    assert found.scenarios.tolist() == [12, 23, 24]
    assert found.exact.tolist() == [True, False, False]
    left = sign_flip_test(values[1::2, 0])
    assert found.p_value[0] == left.p_value
    assert found.statistic[0].item() == pytest.approx(left.statistic.item())
    kept = torch.cat([values[:3, 1], values[4:, 1]])
    assert found.statistic[1].item() == pytest.approx(kept.mean().item())


@pytest.mark.parametrize(("alternative", "least"), [("two-sided", 6), ("greater", 5), ("less", 5)])
def test_too_few_pairs_have_no_p_value(alternative: str, least: int) -> None:
    side = -1.0 if alternative == "less" else 1.0
    enough = sign_flip_test(torch.full((least,), side), alternative=alternative)
    assert enough.p_value.item() == (2 if least == 6 else 1) / 2**least
    for scenarios in range(least):
        few = sign_flip_test(torch.full((scenarios,), side), alternative=alternative)
        assert few.p_value.isnan()
        assert few.reason == Reason.TOO_FEW_SAMPLES
        assert few.scenarios == scenarios
        assert few.statistic.isnan() == (scenarios == 0)


def test_no_difference_at_all() -> None:
    found = sign_flip_test(torch.zeros(20, 2))
    assert found.p_value.tolist() == [1, 1]
    assert sign_flip_test(torch.zeros(8)).p_value.item() == 1


def skewed(shape: tuple[int, ...], seed: int) -> Tensor:
    return normal(*shape, seed=seed).exp() - normal(*shape, seed=seed + 1).exp()


def wild(shape: tuple[int, ...], seed: int) -> Tensor:
    """Scenarios of very different spread."""
    return normal(*shape, seed=seed) * normal(shape[0], 1, seed=seed + 1).exp() ** 2


@pytest.mark.parametrize("make", [normal, skewed, wild])
@pytest.mark.parametrize("scenarios", [12, 25])
def test_calibrated_for_two_identical_models(make, scenarios: int) -> None:
    shape = (scenarios, 2000)
    values = normal(*shape, seed=7) if make is normal else make(shape, 7)
    p_value = sign_flip_test(values, draws=999).p_value
    assert stats.kstest(p_value.numpy(), "uniform").pvalue > 0.01
    assert 0.03 <= (p_value <= 0.05).double().mean().item() <= 0.07


@pytest.mark.parametrize("scenarios", [8, 25])
def test_calibrated_for_discrete_differences(scenarios: int) -> None:
    """Ties make the p-values coarse: never too often small, and a randomised one is uniform."""
    generator = torch.Generator().manual_seed(5)
    values = torch.randint(0, 4, (2, scenarios, 4000), generator=generator)
    differences = (values[0] - values[1]).to(torch.float64)
    p_value = sign_flip_test(differences, draws=1999).p_value
    for level in (0.01, 0.05, 0.1, 0.2, 0.5):
        rejected = (p_value <= level).double().mean().item()
        assert rejected <= level + 3 * math.sqrt(level * (1 - level) / 4000)
    # Strictly more extreme patterns, and a random share of the tied ones.
    greater = sign_flip_test(differences, draws=1999, alternative="greater").p_value
    less = sign_flip_test(differences, draws=1999, alternative="less").p_value
    share = torch.rand(4000, dtype=torch.float64, generator=generator)
    tied = greater + less - 1
    randomised = greater - share * tied
    assert stats.kstest(randomised.numpy(), "uniform").pvalue > 0.01


def norm_enumerated(values: np.ndarray) -> float:
    seen = (values.sum(0) ** 2).sum()
    signs = itertools.product((1, -1), repeat=len(values))
    sums = [((np.array(s)[:, None] * values).sum(0) ** 2).sum() for s in signs]
    return float(np.mean(np.array(sums) >= seen - 1e-9))


def test_vectors_equal_enumeration() -> None:
    values = normal(9, 3, 2, seed=6) + torch.tensor([0.5, -0.2])
    scale = torch.tensor([[1.0, 2.0], [0.5, 1.0], [3.0, 0.1]])
    found = sign_flip_norm_test(values, scale=scale)
    for column in range(3):
        scaled = (values[:, column] / scale[column]).numpy()
        assert found.p_value[column].item() == norm_enumerated(scaled)
        assert found.statistic[column].item() == pytest.approx((scaled.mean(0) ** 2).sum())


def test_a_vector_of_one_is_the_two_sided_test() -> None:
    for scenarios in (10, 20):
        values = normal(scenarios, 8, seed=8) + 0.2
        scalar = sign_flip_test(values, draws=500)
        vector = sign_flip_norm_test(values[..., None], draws=500)
        assert torch.equal(scalar.p_value, vector.p_value)
        assert torch.allclose(scalar.statistic.square(), vector.statistic)


def test_vectors_find_what_no_component_shows() -> None:
    values = normal(20, 1, 12, seed=9) + 0.35
    each = sign_flip_test(values).p_value
    assert sign_flip_norm_test(values).p_value.item() < 0.005
    assert each.median() > 0.02


def test_vectors_with_a_gap_are_missing() -> None:
    values = normal(8, 2, seed=1)
    values[2, 1] = math.nan
    found = sign_flip_norm_test(values)
    assert found.scenarios.item() == 7
    assert found.p_value == sign_flip_norm_test(values[[0, 1, 3, 4, 5, 6, 7]]).p_value


def test_vectors_are_calibrated() -> None:
    correlated = normal(24, 1500, 3, seed=11) @ normal(3, 3, seed=12)
    p_value = sign_flip_norm_test(correlated, draws=499).p_value
    assert stats.kstest(p_value.numpy(), "uniform").pvalue > 0.01
    assert 0.03 <= (p_value <= 0.05).double().mean().item() <= 0.07


def test_empty() -> None:
    assert sign_flip_test(torch.zeros(20, 0)).p_value.shape == (0,)
    assert sign_flip_norm_test(torch.zeros(8, 0, 3)).p_value.shape == (0,)
    assert EXACT_SCENARIOS == 16


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: sign_flip_test([1.0]), TypeError, "differences must be a torch.Tensor, got list"),
        (lambda: sign_flip_test(torch.ones(6).long()), TypeError, "floating point, got torch.int"),
        (lambda: sign_flip_test(torch.tensor(1.0)), ValueError, r"shape \[S, ...\], got \(\)"),
        (lambda: sign_flip_test(torch.ones(6), draws=0), ValueError, "draws must be at least 1"),
        (lambda: sign_flip_test(torch.ones(6), draws=1.5), TypeError, "draws must be an int"),
        (lambda: sign_flip_test(torch.ones(6), seed=-1), ValueError, "seed must be at least 0"),
        (
            lambda: sign_flip_test(torch.ones(6), alternative="both"),
            ValueError,
            "alternative must be one of 'two-sided', 'greater', 'less', got 'both'",
        ),
        (lambda: sign_flip_norm_test(torch.ones(6)), ValueError, r"\[S, ..., D\], got \(6,\)"),
        (lambda: sign_flip_norm_test(torch.ones(6, 0)), ValueError, r"got \(6, 0\)"),
        (
            lambda: sign_flip_norm_test(torch.ones(6, 2), scale=torch.ones(3)),
            ValueError,
            r"scale must have a shape that broadcasts to \[..., D\] = \(2,\), got \(3,\)",
        ),
        (
            lambda: sign_flip_norm_test(torch.ones(6, 2), scale=torch.zeros(2)),
            ValueError,
            "scale must be above 0, got 0.0",
        ),
    ],
)
def test_bad_input(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
