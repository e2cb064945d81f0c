"""Shape over scenarios: means against plain ones, onset and its interval in simulation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from wmscore.functional import Reason, drift_onset, drift_shape, pooled_shape
from wmscore.functional.pooled_shape import _pooled
from wmscore.stats import mean_interval

STEPS = 24


def ramps(
    scenarios: int, seeds: int, *, onset: int = 9, seed: int = 0, noise: float = 0.3
) -> Tensor:
    """Scores `[S, K, T]` with own levels that fall by 1 in three steps from `onset` on."""
    generator = torch.Generator().manual_seed(seed)
    step = torch.arange(1, STEPS + 1, dtype=torch.float64)
    fall = ((step - onset + 1) / 3).clamp(0, 1)
    level = torch.rand(scenarios, 1, 1, generator=generator, dtype=torch.float64)
    wobble = torch.randn(scenarios, seeds, STEPS, generator=generator, dtype=torch.float64)
    return 3 + level - fall + noise * wobble


def test_parts_are_those_of_each_scenario() -> None:
    values = ramps(7, 3)
    values[2, 1] = torch.nan
    found = pooled_shape(values, higher_is_better=True, threshold=2.9, draws=20)
    scenarios = values.nanmean(1)
    shape = drift_shape(scenarios, higher_is_better=True, threshold=2.9)
    for name in ("slope", "worst_segment", "end", "early", "late", "area"):
        expected = mean_interval(getattr(shape, name))
        for ours, theirs in zip(getattr(found, name), expected, strict=True):
            assert torch.equal(ours, theirs)
    assert_close(found.curve.mean, scenarios.mean(0))
    assert_close(found.pooled, scenarios.mean(0))
    onset = drift_onset(scenarios.mean(0), higher_is_better=True)
    assert found.onset.step == onset.step
    assert_close(found.onset.change, onset.change)
    assert found.slope.low > 0


def test_axes_are_told_apart() -> None:
    values = torch.stack([ramps(6, 2), ramps(6, 2, onset=15, seed=1), -ramps(6, 2)], 2)
    limits = torch.tensor([2.5, 3.0, 0.0])
    found = pooled_shape(values, higher_is_better=True, threshold=limits, draws=50)
    assert found.onset.step.shape == (3,)
    assert found.pooled.shape == (3, STEPS)
    for axis in range(3):
        alone = pooled_shape(
            values[:, :, axis], higher_is_better=True, threshold=float(limits[axis]), draws=50
        )
        assert_close(found.onset.step[axis], alone.onset.step, equal_nan=True)
        assert_close(found.onset.low[axis], alone.onset.low, equal_nan=True)
        assert_close(found.area.mean[axis], alone.area.mean)
    assert found.onset.step[2].isnan()
    assert found.onset.reason.tolist() == [0, 0, int(Reason.NO_DRIFT)]
    assert found.onset.share[2] < 0.2


def test_onset_is_near_the_true_one_and_its_interval_covers() -> None:
    near, covered, agreed = [], [], []
    for seed in range(60):
        onset = pooled_shape(
            ramps(10, 2, seed=seed), higher_is_better=True, draws=100, seed=seed
        ).onset
        near.append(abs(onset.step.item() - 9) <= 1)
        covered.append(onset.low.item() <= 9 <= onset.high.item())
        agreed.append(onset.share.item())
    assert sum(near) >= 54
    assert sum(covered) >= 51  # a percentile interval of a whole number; 57 would be 95 %
    assert min(agreed) > 0.9


def test_flat_curves_have_no_onset() -> None:
    shares = []
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        flat = torch.randn(10, 2, STEPS, generator=generator, dtype=torch.float64)
        shares.append(pooled_shape(flat, draws=20).onset.step.isfinite().item())
    assert sum(shares) <= 3


def test_scenarios_that_end_early_do_not_bend_the_pooled_curve() -> None:
    step = torch.arange(STEPS, dtype=torch.float64)
    level = torch.tensor([0.0, 5.0, 1.0, 9.0], dtype=torch.float64)[:, None]
    exact = level + torch.sin(step)
    full = _pooled(exact, torch.ones(4, STEPS, dtype=torch.bool), torch.ones(1, 4).double())
    assert_close(full[0], exact.mean(0))
    gone = exact.clone()
    gone[3, 12:] = torch.nan
    gone[1, :5] = torch.nan
    there = ~gone.isnan()
    weights = torch.tensor([[1.0, 1, 1, 1], [2, 0, 1, 1], [0, 3, 0, 1]], dtype=torch.float64)
    found = _pooled(gone, there, weights)
    for row, weight in zip(found, weights, strict=True):
        known = ((weight[:, None] > 0) & there).any(0)
        # Its shape is exact, up to a level that the weights decide.
        rest = (row - torch.sin(step))[known]
        assert_close(rest, rest[0].expand_as(rest), rtol=0, atol=1e-6)
        assert row[~known].isnan().all()
    plain = gone.nanmean(0)
    assert (plain - torch.sin(step))[[0, 8, 20]].std() > 0.5
    values = gone[:, None]
    assert_close(pooled_shape(values, draws=5).pooled, found[0], rtol=0, atol=1e-9)


def test_pooled_curve_is_the_least_squares_fit() -> None:
    generator = torch.Generator().manual_seed(5)
    curves = torch.randn(5, 7, generator=generator, dtype=torch.float64)
    there = torch.rand(5, 7, generator=generator) > 0.25
    weight = torch.tensor([1.0, 2.0, 1.0, 0.0, 1.0], dtype=torch.float64)
    found = _pooled(curves.masked_fill(~there, torch.nan), there, weight[None])[0]
    rows, targets, roots = [], [], []
    for s, t in there.nonzero().tolist():
        line = np.zeros(12)
        line[s] = line[5 + t] = 1
        rows.append(line)
        targets.append(curves[s, t].item())
        roots.append(weight[s].item() ** 0.5)
    rows.append(np.concatenate([weight.numpy(), np.zeros(7)]))  # levels sum to 0
    targets.append(0.0)
    roots.append(1e3)
    scaled = np.array(rows) * np.array(roots)[:, None]
    fit = np.linalg.lstsq(scaled, np.array(targets) * np.array(roots), rcond=None)[0]
    np.testing.assert_allclose(found.numpy(), fit[5:], atol=1e-6)


def test_few_scenarios_and_nothing_defined() -> None:
    one = pooled_shape(ramps(1, 2, noise=0.05), higher_is_better=True, draws=10)
    assert one.onset.step == 9
    assert one.onset.low.isnan()
    assert one.onset.share.isnan()
    assert one.slope.low.isnan()
    nothing = pooled_shape(torch.full((3, 2, STEPS), torch.nan), draws=10)
    assert nothing.onset.reason == Reason.TOO_FEW_STEPS
    assert nothing.slope.mean.isnan()
    valid = torch.ones(STEPS, dtype=torch.bool)
    valid[5:] = False
    assert pooled_shape(ramps(4, 2), valid=valid, draws=10).onset.reason == Reason.TOO_FEW_STEPS


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: pooled_shape(torch.ones(3, 8)), ValueError, r"\[S, K, ..., T\]"),
        (lambda: pooled_shape(torch.ones(3, 2, 8), draws=0), ValueError, "draws"),
        (lambda: pooled_shape(torch.ones(3, 2, 8), level=1.0), ValueError, "level"),
        (lambda: pooled_shape(torch.ones(3, 2, 8).int()), TypeError, "values"),
    ],
)
def test_bad_input(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
