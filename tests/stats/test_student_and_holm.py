"""Student's quantiles against scipy, intervals of means, Holm's correction."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from wmscore.functional import Reason
from wmscore.stats import _check, holm, mean_interval, student_quantile, student_two_sided

WORKED = [1.2, 0.4, -0.3, 0.9, 0.6, 0.1, 0.8, -0.2]


def of(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_reason_codes_are_those_of_functional() -> None:
    assert _check.DEFINED == Reason.DEFINED
    assert _check.TOO_FEW_SAMPLES == Reason.TOO_FEW_SAMPLES


def test_quantile_equals_scipy() -> None:
    whole = [*range(1, 60), 99, 499, 998, 999, 1000, 1001, 5000, 1e5, 1e7]
    freedom = of(*whole, 10.25)[:, None]
    tails = of(1e-6, 1e-4, 0.005, 0.025, 0.05, 0.1, 0.25, 0.4)
    probability = torch.cat([tails, 1 - tails])
    found = student_quantile(probability, freedom)
    expected = stats.t.ppf(probability.numpy(), freedom.numpy())
    assert found.shape == (len(freedom), 16)
    # How exact 1 - 1e-6 is in float64 bounds the upper tail.
    np.testing.assert_allclose(found[:, :8].numpy(), expected[:, :8], rtol=1e-9)
    np.testing.assert_allclose(found[:, 8:].numpy(), expected[:, 8:], rtol=1e-9)


def test_quantile_analytic() -> None:
    probability = of(0.6, 0.75, 0.9, 0.99)
    cauchy = torch.tan(math.pi * (probability - 0.5))
    torch.testing.assert_close(student_quantile(probability, of(1.0)), cauchy, rtol=1e-12, atol=0)
    centred = 2 * probability - 1
    two = centred * (2 / (1 - centred**2)).sqrt()
    torch.testing.assert_close(student_quantile(probability, of(2.0)), two, rtol=1e-12, atol=0)
    assert student_quantile(of(0.5), of(9.0)).item() == 0
    assert student_quantile(of(0.0, 1.0, -1.0, math.nan), of(9.0)).isnan().all()
    assert student_quantile(of(0.9), of(0.0, 0.5, math.nan)).isnan().all()


def test_interval_worked_example() -> None:
    found = mean_interval(of(*WORKED))
    assert found.mean.item() == pytest.approx(0.4375)
    assert found.low.item() == pytest.approx(-0.011462, abs=1e-6)
    assert found.high.item() == pytest.approx(0.886462, abs=1e-6)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.999])
def test_interval_equals_scipy(level: float) -> None:
    values = torch.randn(13, 4, dtype=torch.float64)
    values[3, 1] = math.nan
    values[5:, 2] = math.inf
    found = mean_interval(values, level=level)
    assert found.scenarios.tolist() == [13, 12, 5, 13]
    for column in range(4):
        kept = values[:, column][values[:, column].isfinite()].numpy()
        low, high = stats.t.interval(level, len(kept) - 1, kept.mean(), stats.sem(kept))
        assert found.low[column].item() == pytest.approx(low, rel=1e-9)
        assert found.high[column].item() == pytest.approx(high, rel=1e-9)
        for one, of_many in zip(mean_interval(values[:, column], level), found, strict=True):
            assert torch.equal(one, of_many[column])


def test_interval_of_few() -> None:
    values = torch.tensor([[1.0, 1.0, math.nan], [3.0, math.nan, math.nan]])
    found = mean_interval(values)
    assert found.scenarios.tolist() == [2, 1, 0]
    assert found.mean[:2].tolist() == [2, 1]
    assert found.mean[2].isnan()
    assert found.low.isnan().tolist() == found.high.isnan().tolist() == [False, True, True]
    assert found.reason.tolist() == [0, Reason.TOO_FEW_SAMPLES, Reason.TOO_FEW_SAMPLES]
    assert mean_interval(torch.zeros(0, 2)).mean.isnan().all()


def test_interval_covers() -> None:
    found = mean_interval(torch.randn(8, 4000, dtype=torch.float64) + 1)
    covers = ((found.low <= 1) & (found.high >= 1)).double().mean().item()
    assert abs(covers - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 4000)


def plain_holm(p_values: list[float]) -> list[float]:
    """Step by step, as Holm states it."""
    asked = [i for i, p in enumerate(p_values) if not math.isnan(p)]
    order = sorted(asked, key=lambda i: p_values[i])
    result, running = [math.nan] * len(p_values), 0.0
    for rank, i in enumerate(order):
        running = max(running, min(1.0, (len(order) - rank) * p_values[i]))
        result[i] = running
    return result


@pytest.mark.parametrize(
    ("p_values", "expected"),
    [
        ([0.01, 0.04, 0.03, 0.2], [0.04, 0.09, 0.09, 0.2]),
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.6, 0.7], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([], []),
    ],
)
def test_holm_worked_examples(p_values: list[float], expected: list[float]) -> None:
    assert holm(of(*p_values)).tolist() == pytest.approx(expected)


def test_holm_over_dims_ties_and_gaps() -> None:
    p_values = (torch.rand(5, 7, 6, dtype=torch.float64) * 20).round() / 20
    p_values[torch.rand(5, 7, 6) < 0.3] = math.nan
    p_values[0, 0] = math.nan
    found = holm(p_values, dim=1)
    assert found.shape == p_values.shape
    for row in range(5):
        for column in range(6):
            expected = plain_holm(p_values[row, :, column].tolist())
            np.testing.assert_allclose(found[row, :, column].numpy(), expected, rtol=1e-12)
    assert torch.equal(
        holm(p_values.movedim(1, -1)).nan_to_num(), found.movedim(1, -1).nan_to_num()
    )


def test_holm_keeps_the_family_wise_rate() -> None:
    p_values = torch.rand(20_000, 8, dtype=torch.float64)
    p_values[:, 3:] = p_values[:, 2:3]  # dependent ones too
    wrong = (holm(p_values) <= 0.05).any(-1).double().mean().item()
    assert wrong <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 20_000)
    independent = (holm(torch.rand(20_000, 8, dtype=torch.float64)) <= 0.05).any(-1)
    assert independent.double().mean().item() > 0.04


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: holm([0.1]), TypeError, "p_values must be a torch.Tensor, got list"),
        (lambda: holm(torch.tensor(0.1)), ValueError, "at least one dim"),
        (lambda: mean_interval(torch.ones(3).int()), TypeError, "values must be floating point"),
        (lambda: mean_interval(torch.ones(3), level=1.0), ValueError, "level must be a number"),
        (lambda: mean_interval(torch.ones(3), level="a"), TypeError, "level must be a number"),
        (lambda: mean_interval(torch.tensor(3.0)), ValueError, r"shape \[S, ...\]"),
        (lambda: student_quantile(0.5, of(3.0)), TypeError, "probability must be a torch.Tensor"),
        (lambda: student_quantile(of(0.5), torch.ones(1).int()), TypeError, "freedom must be"),
    ],
)
def test_bad_input(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_two_sided_equals_scipy() -> None:
    freedom = of(2, 3, 7, 19.5, 159, 799, 1e4, 1e6)[:, None]
    sizes = of(0.0, 1e-8, 1e-3, 0.5, 1.96, 4.0, 10.0, 100.0, -2.5)
    found = student_two_sided(sizes, freedom)
    expected = 2 * stats.t.sf(sizes.abs().numpy(), freedom.numpy())
    large = expected > 1e-100
    np.testing.assert_allclose(found.numpy()[large], expected[large], rtol=1e-9)
    assert float(found[torch.from_numpy(~large)].max()) < 1e-99
    cauchy = 2 / math.pi * torch.atan2(torch.ones_like(sizes), sizes.abs())
    torch.testing.assert_close(student_two_sided(sizes, of(1.0)), cauchy, rtol=1e-12, atol=0)


def test_two_sided_undefined_and_round_trip() -> None:
    assert student_two_sided(of(math.nan, 1.0, 1.0), of(3.0, 0.5, math.nan)).isnan().all()
    assert student_two_sided(of(math.inf), of(3.0)).item() == 0
    freedom = of(1, 5, 30)
    limit = student_quantile(of(0.975), freedom)
    torch.testing.assert_close(
        student_two_sided(limit, freedom), torch.full_like(limit, 0.05), rtol=1e-10, atol=0
    )
    with pytest.raises(TypeError, match="statistic must be floating point"):
        student_two_sided(torch.tensor(1), of(3.0))
