"""Drift onset: plain least squares, known onsets, false alarms, gaps, invariances, bad input."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from wmscore.functional import ONSET_EVIDENCE, Reason, drift_onset
from wmscore.functional import _curves as curves_module

NAN = math.nan


def plain_fit(curve: np.ndarray) -> tuple[int, int, float, float]:
    """Start, end (1-based), change and explained share of the best rise, by numpy's lstsq."""
    step = np.arange(1, len(curve) + 1)
    there = ~np.isnan(curve)
    x, y = step[there], curve[there]
    total = ((y - y.mean()) ** 2).sum()
    best = (0, 0, 0.0, -1.0)
    for s in x:
        before, raised = (x < s).sum(), (x >= s).sum()
        for e in x[x >= s]:
            from_start = before == 0 and (raised - (x >= e).sum()) >= 2
            if not ((before >= 2 or from_start) and raised >= 2):
                continue
            rise = np.clip(x - s + 1, 0, e - s + 1)
            design = np.stack([np.ones(len(x)), rise], 1)
            (a, b), *_ = np.linalg.lstsq(design, y, rcond=None)
            share = 1 - ((y - a - b * rise) ** 2).sum() / total
            if b > 0 and share > best[3] + 1e-12:
                best = (int(s), int(e), b * (e - s + 1), share)
    return best


def plain_stays(curve: np.ndarray, start: int, end: int) -> bool:
    """Whether the halves that are furthest from the rise lie on its two sides."""
    step = np.arange(1, len(curve) + 1)
    there = ~np.isnan(curve)
    x, y = step[there], curve[there]
    rise = np.clip(x - start + 1, 0, end - start + 1)
    (a, b), *_ = np.linalg.lstsq(np.stack([np.ones(len(x)), rise], 1), y, rcond=None)
    middle = a + b * (end - start + 1) / 2
    before, after = y[x < start], y[x >= start]
    early, late = before[: math.ceil(len(before) / 2)], after[-math.ceil(len(after) / 2) :]
    return late.mean() >= middle and not (len(early) and early.mean() > middle)


def noisy(rows: int, steps: int, correlation: float = 0.0, seed: int = 0) -> Tensor:
    """Flat curves of Gaussian noise of variance 1 with an autocorrelation."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(rows, steps, dtype=torch.float64, generator=generator)
    for t in range(1, steps):
        fresh = math.sqrt(1 - correlation**2) * noise[:, t]
        noise[:, t] = correlation * noise[:, t - 1] + fresh
    return noise


def rise(steps: int, start: int, end: int, change: float = 1.0) -> Tensor:
    step = torch.arange(1, steps + 1, dtype=torch.float64)
    return change * ((step - start + 1) / (end - start + 1)).clamp(0, 1)


@pytest.mark.parametrize("gaps", [0.0, 0.3])
def test_equals_plain_least_squares(gaps: float) -> None:
    generator = torch.Generator().manual_seed(3)
    curves = noisy(40, 14, seed=1) + 3 * rise(14, 6, 9)
    curves[torch.rand(curves.shape, generator=generator) < gaps] = NAN
    found = drift_onset(curves, autocorrelation=0.0, min_evidence=1e-9)
    compared = 0
    for row in range(40):
        count = int((~curves[row].isnan()).sum())
        if count < 6:
            assert found.reason[row] == Reason.TOO_FEW_STEPS
            continue
        start, end, change, share = plain_fit(curves[row].numpy())
        assert found.strength[row].item() == pytest.approx(share, abs=1e-10)
        stays = plain_stays(curves[row].numpy(), start, end)
        assert (found.reason[row] == Reason.DEFINED) == stays
        if stays:
            assert found.step[row].item() == start
            assert found.end[row].item() == end
            assert found.change[row].item() == pytest.approx(change, abs=1e-9)
        evidence = -(count - 2) / 2 * math.log(1 - share)
        assert found.evidence[row].item() == pytest.approx(evidence)
        compared += 1
    assert compared > 30


@pytest.mark.parametrize(
    ("start", "end"), [(1, 40), (3, 40), (20, 40), (20, 20), (10, 30), (39, 40)]
)
def test_known_onsets(start: int, end: int) -> None:
    curve = 0.3 + rise(40, start, end, change=0.25)
    found = drift_onset(curve)
    assert found.reason == Reason.DEFINED
    assert (found.step.item(), found.end.item()) == (start, end)
    # A line from the first step on starts one unit above the level that it leaves.
    assert found.change.item() == pytest.approx(0.25)
    assert found.strength.item() == pytest.approx(1)
    fallen = drift_onset(1 - curve, higher_is_better=True)
    assert (fallen.step.item(), fallen.end.item()) == (start, end)
    assert drift_onset(1 - curve).reason == Reason.NO_DRIFT  # it gets better


@pytest.mark.parametrize("noise", [0.05, 0.2])
@pytest.mark.parametrize(("start", "end"), [(20, 20), (20, 48), (33, 40)])
def test_onsets_in_noise(start: int, end: int, noise: float) -> None:
    curves = rise(48, start, end) + noise * noisy(400, 48)
    found = drift_onset(curves)
    assert (found.reason == Reason.DEFINED).all()
    error = (found.step - start).abs()
    within = {0.05: 3, 0.2: 9}[noise]
    assert error.quantile(0.9).item() <= within
    if start == end:
        assert (error == 0).double().mean() > {0.05: 0.99, 0.2: 0.75}[noise]
    assert found.change.median().item() == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("steps", [6, 8, 16, 32, 64, 128])
def test_false_alarms_in_flat_noise(steps: int) -> None:
    """At most 1 %, with five standard errors of room for the draw; and not far too strict."""
    rows = 4000 if steps < 100 else 1500
    share = (drift_onset(noisy(rows, steps)).reason == Reason.DEFINED).double().mean().item()
    assert share <= 0.01
    assert share > 0.001


def plain_innovations(rest: np.ndarray, correlation: float | None) -> float:
    """One residual at a time, NaN where undefined; a step after a gap begins anew."""
    pairs = [(a, b) for a, b in pairwise(rest) if not math.isnan(a + b)]
    known = rest[~np.isnan(rest)]
    if correlation is None:
        together = sum(a * b for a, b in pairs) / (len(pairs) + 1)
        correlation = min(max(0.0, together / (known**2).mean()), 1.0)
    total, before = 0.0, NAN
    for value in rest:
        if math.isnan(value):
            pass
        elif math.isnan(before):
            total += (1 - correlation**2) * value**2
        else:
            total += (value - correlation * before) ** 2
        before = value
    return total


@pytest.mark.parametrize("correlation", [None, 0.4])
def test_evidence_equals_a_plain_likelihood_ratio(correlation: float | None) -> None:
    curves = noisy(20, 16, correlation=0.7, seed=2) + 2 * rise(16, 7, 10)
    curves[1::2, 4] = NAN
    curves[3::4, 11:13] = NAN
    found = drift_onset(curves, autocorrelation=correlation, min_evidence=1e-9)
    step = np.arange(1, 17)
    for row in range(20):
        curve = curves[row].numpy()
        there = ~np.isnan(curve)
        start, end, *_ = plain_fit(curve)
        shape = np.clip(step - start + 1, 0, end - start + 1)
        design = np.stack([np.ones(16), shape], 1)
        weights, *_ = np.linalg.lstsq(design[there], curve[there], rcond=None)
        ratio = plain_innovations(curve - np.nanmean(curve), correlation) / plain_innovations(
            curve - design @ weights, correlation
        )
        evidence = (there.sum() - 2) / 2 * math.log(ratio)
        assert found.evidence[row].item() == pytest.approx(evidence, abs=1e-6)


@pytest.mark.parametrize("steps", [12, 32, 64])
@pytest.mark.parametrize(
    "growth", [lambda x: 1 - (-6 * x).exp(), lambda x: x.sqrt(), lambda x: x**2, lambda x: x**4]
)
def test_smooth_growth_of_any_shape_is_drift(growth, steps: int) -> None:
    """Its misfit to straight lines is autocorrelated, and must not be taken for noise that is."""
    curve = growth(torch.arange(1, steps + 1, dtype=torch.float64) / steps)
    found = drift_onset(curve + 0.01 * noisy(100, steps))
    assert (found.reason == Reason.DEFINED).all()
    assert (found.strength > 0.85).all()


def test_autocorrelation_is_not_taken_for_drift() -> None:
    wandering = noisy(2000, 64, correlation=0.6)

    def alarms(**options: object) -> float:
        found = drift_onset(wandering, **options)  # type: ignore[arg-type]
        return (found.reason == Reason.DEFINED).double().mean().item()

    assert alarms(autocorrelation=0.0) > 0.15
    assert alarms() < 0.03
    assert 0.003 < alarms(autocorrelation=0.6) < 0.015
    per_row = torch.zeros(2000)
    assert alarms(autocorrelation=per_row) == alarms(autocorrelation=0.0)


def test_no_drift_and_too_few_steps() -> None:
    constant = drift_onset(torch.full((2, 20), 0.1))
    assert constant.reason.tolist() == [Reason.NO_DRIFT] * 2
    assert constant.strength.tolist() == [0, 0]
    assert constant.evidence.tolist() == [0, 0]
    for value in (constant.step, constant.end, constant.change):
        assert value.isnan().all()
    assert constant.step.dtype == constant.change.dtype == torch.float64
    few = drift_onset(torch.tensor([0.0, 0, 0, 1, 1, NAN, NAN]))
    assert few.reason == Reason.TOO_FEW_STEPS
    assert all(value.isnan() for value in few[:-1])
    infinite = drift_onset(torch.tensor([0.0, 0, 0, 1, math.inf, 1, 1]))
    assert infinite.reason == Reason.NON_FINITE
    assert infinite.strength.isnan()
    assert drift_onset(torch.ones(3, 1)).reason.tolist() == [Reason.TOO_FEW_STEPS] * 3


@pytest.mark.parametrize("length", [2, 4, 8, 12])
def test_a_dip_is_no_onset(length: int) -> None:
    curve = torch.zeros(48)
    curve[16 : 16 + length] = 1
    assert drift_onset(curve).reason == Reason.NO_DRIFT
    assert drift_onset(-curve).reason == Reason.NO_DRIFT  # nor is its mirror image
    found = drift_onset(curve + 0.1 * noisy(200, 48))
    assert (found.reason == Reason.NO_DRIFT).double().mean() > 0.97
    lasting = curve.clone()
    lasting[16:] = 1
    assert drift_onset(lasting).step.item() == 17


def test_what_stays_is_the_later_half_of_the_raised_steps() -> None:
    curve = torch.zeros(24)
    curve[12:18] = 1.0
    for level, reason in ((0.3, Reason.NO_DRIFT), (0.6, Reason.DEFINED)):
        curve[18:] = level
        # The fit is the jump at step 13 to the mean of what follows.
        assert drift_onset(curve, autocorrelation=0.0).reason == reason


def test_gaps_and_masks() -> None:
    curve = rise(40, 20, 40)
    curve[[3, 4, 25]] = NAN
    assert drift_onset(curve).step.item() == 20
    # Where the first raised step is undefined, it is the next one that can be named.
    jump = rise(40, 20, 20)
    jump[17:24] = NAN
    assert drift_onset(jump).step.item() == 25
    # A row that ends early.
    valid = torch.arange(40) < 30
    ended = drift_onset(rise(40, 10, 30), valid=valid)
    assert (ended.step.item(), ended.end.item()) == (10, 30)
    wild = rise(40, 10, 30).masked_fill(~valid, 1e9)
    assert drift_onset(wild, valid=valid).step.item() == 10
    # A line that begins with the first defined step.
    late = rise(40, 1, 40)
    late[:3] = NAN
    assert drift_onset(late).step.item() == 4


def test_invariances(monkeypatch: pytest.MonkeyPatch) -> None:
    curves = noisy(50, 24, seed=5) + 2 * rise(24, 9, 15)
    whole = drift_onset(curves)
    assert 10 < int((whole.reason == Reason.DEFINED).sum()) <= 50
    order = torch.randperm(50)
    moved = drift_onset(8 * curves - 4)
    permuted = drift_onset(curves[order])
    shaped = drift_onset(curves.view(5, 10, 24))
    for name in ("step", "end", "strength", "evidence"):
        mine = getattr(whole, name)
        torch.testing.assert_close(getattr(moved, name), mine, equal_nan=True)
        torch.testing.assert_close(
            getattr(permuted, name), mine[order], rtol=0, atol=0, equal_nan=True
        )
        torch.testing.assert_close(getattr(shaped, name).flatten(), mine, equal_nan=True)
    torch.testing.assert_close(moved.change, 8 * whole.change, equal_nan=True)
    monkeypatch.setattr(curves_module, "piece_elements", lambda device: 700)
    pieces = drift_onset(curves)
    for one, other in zip(pieces, whole, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
    assert drift_onset(curves[:0]).step.shape == (0,)


def test_min_evidence() -> None:
    curves = noisy(200, 24) + 1.2 * rise(24, 12, 12)
    evidence = drift_onset(curves).evidence
    for limit in (1.0, ONSET_EVIDENCE, 8.0):
        drifts = drift_onset(curves, min_evidence=limit).reason == Reason.DEFINED
        assert not (drifts & (evidence < limit)).any()
        # Next to all of those with evidence stay.
        assert drifts.sum() >= 0.9 * (evidence >= limit).sum() > 0
    assert ONSET_EVIDENCE == 6


def test_errors() -> None:
    curves = torch.zeros(3, 9)
    cases = [
        (ValueError, "min_evidence must be a number above 0", {"min_evidence": 0.0}),
        (ValueError, "autocorrelation must be a number at least 0", {"autocorrelation": -0.1}),
        (ValueError, "autocorrelation must be a number", {"autocorrelation": 1.0}),
        (ValueError, "autocorrelation must have a shape", {"autocorrelation": torch.zeros(2)}),
        (TypeError, "valid must be bool", {"valid": torch.zeros(3, 9)}),
    ]
    for error, message, options in cases:
        with pytest.raises(error, match=message):
            drift_onset(curves, **options)
    with pytest.raises(TypeError, match="values must be floating point"):
        drift_onset(curves.int())
    with pytest.raises(ValueError, match="at least one step"):
        drift_onset(curves[:, :0])
