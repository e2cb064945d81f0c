"""Calibrated thresholds: how often perfect rollouts then fail, by the horizon itself."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from wmscore.functional import (
    Reason,
    calibrate_thresholds,
    critical_threshold,
    usable_horizon,
)
from wmscore.stats import conformal_threshold


def perfect(scenarios: int, seeds: int, *, axes: int = 3, steps: int = 16, seed: int = 0) -> Tensor:
    """Scores `[A, S, K, T]` that wander, in part like the scenario and the other axes do."""
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    walk = noise(axes, scenarios, seeds, steps).cumsum(-1) / steps
    level = noise(1, scenarios, 1, 1) + noise(1, scenarios, seeds, 1) + noise(axes, scenarios, 1, 1)
    return torch.sigmoid(3 + walk + level / 2)


def failing(scores: Tensor, threshold: Tensor, patience: Tensor, gated: Tensor) -> float:
    flat = scores.flatten(1, 2)
    found = usable_horizon(flat, threshold, patience=patience, gated=gated)
    return (found.defined & ~found.censored).double().mean().item()


@pytest.mark.parametrize("joint", [False, True])
def test_perfect_rollouts_fail_as_seldom_as_asked(joint: bool) -> None:
    patience, gated = torch.tensor([1, 3, 2]), torch.tensor([True, True, True])
    alpha = 0.1
    shares = []
    for seed in range(60):
        cells = perfect(60, 4, seed=seed)
        found = calibrate_thresholds(
            cells, patience=patience, alpha=alpha, joint=joint, redraws=20, seed=seed
        )
        assert not found.perfect.any()
        fresh = perfect(300, 1, seed=10_000 + seed)
        shares.append(failing(fresh, found.threshold, patience, gated))
    mean = sum(shares) / len(shares)
    error = torch.tensor(shares).std().item() / math.sqrt(len(shares))
    assert mean < alpha + 3 * error
    assert mean > alpha / 4


@pytest.mark.parametrize("spread", [0.0, 1.0, 30.0])
def test_new_seeds_on_the_same_scenarios(spread: float) -> None:
    """On average over a panel of 8 scenarios, whose levels differ not at all or completely."""
    generator = torch.Generator().manual_seed(7)
    panels, alpha = 300, 0.1
    shape = (panels, 8, 1, 1)
    level = spread * torch.randn(shape, generator=generator, dtype=torch.float64)

    def seeds(number: int) -> Tensor:
        noise = torch.randn(panels, 8, number, 1, generator=generator, dtype=torch.float64)
        return torch.sigmoid((level + noise) / 30).expand(-1, -1, -1, 3)

    found = calibrate_thresholds(
        seeds(8), patience=3, alpha=alpha, estimand="seeds", gated=torch.zeros(panels).bool()
    )
    assert found.units.tolist() == [64] * panels
    assert (found.sd == 0).all()
    failed = (seeds(60)[..., 0] < found.threshold[:, None, None]).double().mean((1, 2))
    error = failed.std().item() / math.sqrt(panels)
    assert failed.mean().item() < alpha + 1 / 64 + 3 * error
    assert failed.mean().item() > alpha / 2


def test_each_axis_has_its_share() -> None:
    cells = perfect(80, 3)
    patience = torch.tensor([1, 3, 2])
    gated = torch.tensor([True, False, True])
    found = calibrate_thresholds(cells, patience=patience, alpha=0.1, gated=gated)
    assert found.alpha.tolist() == pytest.approx([0.05, 0.1, 0.05])
    assert found.needed.tolist() == [19, 9, 19]
    for axis, share in enumerate(found.alpha.tolist()):
        critical = critical_threshold(cells[axis], patience=int(patience[axis]))
        expected = conformal_threshold(critical, share)
        assert found.threshold[axis] == expected.threshold
        assert found.sd[axis] == expected.sd


def test_jointly_is_no_stricter() -> None:
    cells = perfect(80, 3)
    alone = calibrate_thresholds(cells, patience=2, alpha=0.1)
    joint = calibrate_thresholds(cells, patience=2, alpha=0.1, joint=True)
    assert (joint.threshold >= alone.threshold).all()
    assert (joint.threshold > alone.threshold).any()
    assert joint.alpha.tolist() == [0.1] * 3


def test_world_that_repeats_itself() -> None:
    cells = perfect(40, 2)
    cells[1] = 1.0
    cells[2, :39] = 1.0  # one scenario of forty differs: 4 of 100 may
    cells[2, 39] = 0.5
    found = calibrate_thresholds(cells, patience=3, alpha=0.3)
    assert found.perfect.tolist() == [False, True, True]
    assert found.threshold[1] == 1
    few = calibrate_thresholds(torch.ones(1, 2, 2, 8), patience=3, alpha=0.01)
    assert few.perfect.item()
    assert few.threshold.isnan()


def test_too_few_scenarios_and_undefined_axes() -> None:
    cells = perfect(12, 2)
    cells[1, 2:] = math.nan
    cells[2] = math.nan
    found = calibrate_thresholds(cells, patience=3, alpha=0.3)
    assert found.scenarios.tolist() == [12, 2, 0]
    assert found.needed.tolist() == [9, 9, 9]
    few = int(Reason.TOO_FEW_SAMPLES)
    assert found.reason.tolist() == [0, few, few]
    assert found.threshold.isnan().tolist() == [False, True, True]
    assert not found.perfect[1:].any()
    joint = calibrate_thresholds(cells, patience=3, alpha=0.3, joint=True)
    assert joint.threshold[2].isnan()
    assert joint.reason.tolist()[2] == few


def test_rollouts_too_short_to_fail_count_as_perfect() -> None:
    cells = perfect(20, 1, axes=1, steps=4)
    cells[:, :12, :, 2:] = math.nan
    found = calibrate_thresholds(cells, patience=3, alpha=0.5)
    assert found.threshold.item() == 1
    assert found.scenarios.tolist() == [20]
    valid = torch.ones(20, 1, 4, dtype=torch.bool)
    valid[12:, :, 2:] = False
    assert (
        calibrate_thresholds(
            perfect(20, 1, axes=1, steps=4), patience=3, valid=valid, alpha=0.3
        ).threshold
        < 1
    )


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: calibrate_thresholds(x[0], patience=3), ValueError, "scores"),
        (lambda x: calibrate_thresholds(x, patience=torch.tensor([3])), ValueError, "patience"),
        (lambda x: calibrate_thresholds(x, patience=3, estimand="rows"), ValueError, "estimand"),
        (lambda x: calibrate_thresholds(x, patience=3, alpha=0.0), ValueError, "alpha must be"),
        (lambda x: calibrate_thresholds(x, patience=3, gated=torch.ones(3)), TypeError, "gated"),
    ],
)
def test_bad_input(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(perfect(4, 1))
