"""Rolled-out against one-step error: known laws of growth, undefined steps, bad input."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import theilslopes

from wmscore.functional import Reason, error_accumulation

NAN, INF = math.nan, math.inf
STEP = torch.arange(1, 33, dtype=torch.float64)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_laws_of_growth(power: float) -> None:
    forced = torch.linspace(0.1, 0.4, 32, dtype=torch.float64)
    found = error_accumulation(forced * STEP**power, forced)
    torch.testing.assert_close(found.ratio, STEP**power)
    torch.testing.assert_close(found.difference, forced * (STEP**power - 1))
    assert found.exponent.item() == pytest.approx(power, abs=1e-12)
    assert (found.slope.item() > 0) == (power > 0)
    squared = error_accumulation((forced * STEP**power) ** 2, forced**2)
    assert squared.exponent.item() == pytest.approx(2 * power, abs=1e-12)


def test_growth_equals_scipy() -> None:
    generator = torch.Generator().manual_seed(0)
    rolled, forced = torch.rand(2, 10, 32, dtype=torch.float64, generator=generator) + 0.1
    rolled[:, 4] = NAN
    found = error_accumulation(rolled, forced)
    kept = (~rolled[0].isnan()).numpy()
    for row in range(10):
        difference = (rolled - forced)[row].numpy()[kept]
        ratio = (rolled / forced)[row].log().numpy()[kept]
        step = STEP.numpy()[kept]
        assert found.slope[row].item() == pytest.approx(theilslopes(difference, step)[0])
        exponent = theilslopes(ratio, STEP.log().numpy()[kept])[0]
        assert found.exponent[row].item() == pytest.approx(exponent)
    doubled = error_accumulation(2 * rolled, 2 * forced)
    torch.testing.assert_close(doubled.ratio, found.ratio, equal_nan=True)
    torch.testing.assert_close(doubled.slope, 2 * found.slope)


def test_perfect_one_step_predictions() -> None:
    rolled, forced = torch.tensor([0.0, 0.5, 0.25, 0.0]), torch.tensor([0.0, 0.0, 0.25, 0.5])
    found = error_accumulation(rolled, forced)
    no = Reason.NO_ERROR
    assert found.reason["ratio"].tolist() == [no, no, 0, 0]
    assert found.reason["difference"].tolist() == [0, 0, 0, 0]
    assert found.ratio[2:].tolist() == [1, 0]
    assert found.ratio[:2].isnan().all()
    assert found.difference.tolist() == [0, 0.5, 0, -0.5]
    assert found.reason["slope"] == Reason.DEFINED
    assert found.reason["exponent"] == Reason.TOO_FEW_STEPS  # one ratio has a logarithm
    assert found.exponent.isnan()


def test_undefined_steps() -> None:
    rolled = torch.tensor([[0.5, NAN, 1.5, 2.0], [1.0, INF, 1.0, 1.0], [1.0, 2.0, NAN, NAN]])
    forced = torch.tensor([[0.5, 0.5, NAN, 0.5], [1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    valid = torch.tensor([[True] * 4, [True] * 4, [True, False, True, True]])
    found = error_accumulation(rolled, forced, valid=valid)
    bad, no_frame, few = Reason.NON_FINITE, Reason.NO_FRAME, Reason.TOO_FEW_STEPS
    steps = [[0, bad, bad, 0], [0, bad, 0, 0], [0, no_frame, bad, bad]]
    assert found.reason["difference"].tolist() == steps
    assert found.reason["ratio"].tolist() == steps
    assert found.difference.isnan().tolist() == [[bool(code) for code in row] for row in steps]
    assert found.reason["slope"].tolist() == [0, bad, few]
    assert found.reason["exponent"].tolist() == [0, bad, few]
    assert found.slope[0].item() == 0.5
    assert found.exponent[0].item() == pytest.approx(1)
    assert found.slope[1:].isnan().all()
    assert found.exponent[1:].isnan().all()


def test_errors() -> None:
    curve = torch.rand(2, 5)
    with pytest.raises(ValueError, match=r"teacher_forced must have shape \(2, 5\), got \(5,\)"):
        error_accumulation(curve, curve[0])
    with pytest.raises(TypeError, match="rolled_out must be floating point"):
        error_accumulation(curve.int(), curve)
    with pytest.raises(TypeError, match="teacher_forced must be floating point"):
        error_accumulation(curve, curve.int())
    with pytest.raises(TypeError, match="valid must be bool"):
        error_accumulation(curve, curve, valid=curve)
