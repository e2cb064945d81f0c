"""Slope, segment drift and end drift of curves: scipy, plain loops, known answers, invariances."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import theilslopes
from torch import Tensor

from wmscore.functional import Reason, drift_slope, end_drift, segment_drift
from wmscore.functional import _curves as curves_module

NAN = math.nan


def gappy_curves(rows: int, steps: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Noisy curves with ties and NaN, and a mask."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(rows, steps, dtype=torch.float64, generator=generator)
    values = (4 * values).round() / 4 + 0.1 * torch.arange(steps)
    values[torch.rand(rows, steps, generator=generator) < 0.2] = NAN
    valid = torch.rand(rows, steps, generator=generator) < 0.85
    return values, valid


# --- slope ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [2, 3, 4, 7, 24])
def test_slope_equals_scipy(steps: int) -> None:
    values, valid = gappy_curves(40, steps, seed=steps)
    found = drift_slope(values, valid=valid)
    assert found.slope.dtype == torch.float64
    seen = 0
    for row in range(40):
        defined = (~values[row].isnan() & valid[row]).numpy()
        if defined.sum() < 2:
            assert found.slope[row].isnan()
            assert found.intercept[row].isnan()
            assert found.reason[row] == Reason.TOO_FEW_STEPS
            continue
        seen += 1
        step = torch.arange(1, steps + 1).numpy()[defined]
        slope, intercept, *_ = theilslopes(values[row].numpy()[defined], step)
        assert found.slope[row].item() == pytest.approx(slope, abs=1e-12)
        assert found.intercept[row].item() == pytest.approx(intercept, abs=1e-12)
        assert found.reason[row] == Reason.DEFINED
    assert seen > 5


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_both_ways_to_the_median(count: int) -> None:
    values, _ = gappy_curves(60, count, seed=count)
    ways = curves_module.middle_by_selection, curves_module.middle_by_sorting
    selected, ordered = (torch.stack(way(values)) for way in ways)
    torch.testing.assert_close(selected, ordered, rtol=0, atol=0, equal_nan=True)
    known = ~values.isnan().all(-1)
    found = curves_module.median(values)
    assert found.isnan().equal(~known)
    expected = np.nanmedian(values[known].numpy(), -1)
    np.testing.assert_allclose(found[known].numpy(), expected, rtol=1e-15, atol=0)


def test_slope_of_a_line_and_of_a_line_with_outliers() -> None:
    step = torch.arange(1, 31, dtype=torch.float32)
    line = 0.5 * step - 3
    wild = line.clone()
    wild[[2, 9, 17, 29]] = torch.tensor([1e6, -1e6, 1e6, 1e6])
    assert drift_slope(line).intercept.item() == pytest.approx(-3)
    for curve in (line, wild):
        assert drift_slope(curve).slope.item() == pytest.approx(0.5)


def test_slope_needs_two_steps_and_finite_values() -> None:
    values = torch.tensor([[1.0, NAN, NAN], [NAN, NAN, NAN], [1.0, math.inf, 2.0], [1, NAN, 5]])
    found = drift_slope(values)
    assert found.reason.tolist() == [
        Reason.TOO_FEW_STEPS,
        Reason.TOO_FEW_STEPS,
        Reason.NON_FINITE,
        Reason.DEFINED,
    ]
    assert found.slope.isnan().tolist() == [True, True, True, False]
    assert found.slope[3].item() == 2
    # An infinite step that does not count does no harm.
    masked = drift_slope(values[2], valid=torch.tensor([True, False, True]))
    assert masked.slope.item() == 0.5
    assert drift_slope(torch.ones(3, 1)).reason.tolist() == [Reason.TOO_FEW_STEPS] * 3


def test_slope_is_equivariant_and_independent_of_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    values, valid = gappy_curves(30, 12)
    whole = drift_slope(values, valid=valid)
    order = torch.randperm(30)
    torch.testing.assert_close(
        drift_slope(values[order], valid=valid[order]).slope,
        whole.slope[order],
        rtol=0,
        atol=0,
        equal_nan=True,
    )
    scaled = drift_slope(-4 * values + 8, valid=valid)
    torch.testing.assert_close(scaled.slope, -4 * whole.slope, equal_nan=True)
    torch.testing.assert_close(scaled.intercept, -4 * whole.intercept + 8, equal_nan=True)
    monkeypatch.setattr(curves_module, "piece_elements", lambda device: 200)
    pieces = drift_slope(values, valid=valid)
    torch.testing.assert_close(pieces.slope, whole.slope, rtol=0, atol=0, equal_nan=True)


def test_leading_dims() -> None:
    values, _ = gappy_curves(24, 9)
    cube = values.view(2, 3, 4, 9)
    for summary in (drift_slope, segment_drift, end_drift):
        flat, shaped = summary(values), summary(cube)
        for one, many in zip(flat, shaped, strict=True):
            assert many.shape[:3] == (2, 3, 4)
            torch.testing.assert_close(many.reshape(one.shape), one, equal_nan=True)
        assert summary(values[:0])[0].shape == (0,)


# --- segments -------------------------------------------------------------------------------------


def plain_segment_means(values: list[float], segments: int) -> list[float]:
    """One curve, one step at a time: step i of T belongs to segment g with gT/G <= i < (g+1)T/G."""
    steps, bins = len(values), [[] for _ in range(segments)]
    cuts = [math.floor(g * steps / segments) for g in range(segments + 1)]
    for i, value in enumerate(values):
        (g,) = [g for g in range(segments) if cuts[g] <= i < cuts[g + 1]]
        if not math.isnan(value):
            bins[g].append(value)
    return [sum(b) / len(b) if b else NAN for b in bins]


@pytest.mark.parametrize(("steps", "segments"), [(16, 8), (19, 4), (8, 8), (3, 2), (30, 7)])
def test_segments_equal_plain_loops(steps: int, segments: int) -> None:
    values, valid = gappy_curves(60, steps, seed=1)
    masked = values.masked_fill(~valid, NAN)
    found = segment_drift(values, segments, valid=valid)
    ends = end_drift(values, segments, valid=valid)
    for row in range(60):
        means = plain_segment_means(masked[row].tolist(), segments)
        assert found.means[row].tolist() == pytest.approx(means, nan_ok=True)
        rises = {g: m - means[0] for g, m in enumerate(means) if g and not math.isnan(m - means[0])}
        if rises:
            assert found.drift[row].item() == pytest.approx(max(rises.values()), abs=1e-12)
            worst = found.worst[row].item()
            assert rises[worst] == pytest.approx(max(rises.values()), abs=1e-12)
            assert found.reason[row] == Reason.DEFINED
        else:
            assert found.drift[row].isnan()
            assert (found.worst[row], found.reason[row]) == (-1, Reason.TOO_FEW_STEPS)
        last = means[-1] - means[0]
        assert ends.drift[row].item() == pytest.approx(last, abs=1e-12, nan_ok=True)
        assert (ends.reason[row] == Reason.TOO_FEW_STEPS) == math.isnan(last)


@pytest.mark.parametrize("segment", range(1, 8))
def test_a_dip_weighs_the_same_wherever_it_is(segment: int) -> None:
    """A weight that falls with time, as in LV-Bench's drift error, would forgive the late one."""
    curve = torch.full((64,), 0.1)
    curve[8 * segment : 8 * segment + 8] += 0.5
    found = segment_drift(curve)
    assert found.drift.item() == pytest.approx(0.5)
    assert found.worst.item() == segment


def test_end_drift_misses_a_collapse_in_the_middle() -> None:
    curve = torch.full((64,), 0.2)
    curve[24:40] = 0.9
    assert end_drift(curve).drift.item() == 0
    assert segment_drift(curve).drift.item() == pytest.approx(0.7)
    assert segment_drift(curve).worst.item() in (3, 4)


def test_direction() -> None:
    values, valid = gappy_curves(30, 24)
    distance = segment_drift(values, valid=valid)
    similarity = segment_drift(1 - values, valid=valid, higher_is_better=True)
    torch.testing.assert_close(similarity.drift, distance.drift, equal_nan=True)
    assert similarity.worst.equal(distance.worst)
    torch.testing.assert_close(similarity.means, 1 - distance.means, equal_nan=True)
    ends = end_drift(1 - values, valid=valid, higher_is_better=True).drift
    torch.testing.assert_close(ends, end_drift(values, valid=valid).drift, equal_nan=True)
    better = segment_drift(torch.tensor([4.0, 3.0, 2.0, 1.0]), segments=2)
    assert better.drift.item() == -2  # not cut off at 0


def test_undefined_segments() -> None:
    few = segment_drift(torch.ones(2, 7))
    assert few.reason.tolist() == [Reason.TOO_FEW_STEPS] * 2
    assert few.means.shape == (2, 8)
    assert few.means.isnan().all()
    assert end_drift(torch.ones(2, 7)).reason.tolist() == [Reason.TOO_FEW_STEPS] * 2
    values = torch.tensor(
        [
            [NAN, NAN, 1, 1, 2, 2],  # no beginning
            [1, NAN, NAN, NAN, NAN, 3],  # a hole in the middle
            [1, 1, 4, 2, NAN, NAN],  # no end
            [1, 1, NAN, NAN, NAN, NAN],  # nothing but the beginning
            [1, 1, math.inf, 1, 1, 1],
        ]
    )
    found, ends = segment_drift(values, segments=3), end_drift(values, segments=3)
    few_steps, defined, infinite = Reason.TOO_FEW_STEPS, Reason.DEFINED, Reason.NON_FINITE
    assert found.reason.tolist() == [few_steps, defined, defined, few_steps, infinite]
    assert ends.reason.tolist() == [few_steps, defined, few_steps, few_steps, infinite]
    assert found.drift[1:3].tolist() == [2, 2]
    assert found.worst.tolist() == [-1, 2, 1, -1, -1]
    assert ends.drift[1].item() == 2
    assert ends.drift[[0, 2, 3, 4]].isnan().all()


def test_flat_noise_has_the_stated_segment_drift() -> None:
    noise = torch.randn(20_000, 64, generator=torch.Generator().manual_seed(0))
    assert segment_drift(noise).drift.mean().item() == pytest.approx(0.48, abs=0.01)


@pytest.mark.parametrize("summary", [drift_slope, segment_drift, end_drift])
def test_errors_of_curves(summary) -> None:
    with pytest.raises(TypeError, match=r"values must be a torch.Tensor, got list"):
        summary([1.0, 2.0])
    with pytest.raises(TypeError, match="values must be floating point"):
        summary(torch.arange(9))
    with pytest.raises(ValueError, match="at least one step"):
        summary(torch.ones(3, 0))
    with pytest.raises(TypeError, match="valid must be bool"):
        summary(torch.ones(3, 9), valid=torch.ones(3, 9))
    with pytest.raises(ValueError, match=r"valid must have a shape that broadcasts to \(3, 9\)"):
        summary(torch.ones(3, 9), valid=torch.ones(2, 9) > 0)


def test_errors_of_segments() -> None:
    for summary in (segment_drift, end_drift):
        with pytest.raises(ValueError, match="segments must be at least 2, got 1"):
            summary(torch.ones(9), 1)
        with pytest.raises(TypeError, match="segments must be an int, got float"):
            summary(torch.ones(9), 2.0)
