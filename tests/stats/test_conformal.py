"""Conformal thresholds: the bound on every sample, by brute force, and in simulation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from wmscore.functional import Reason
from wmscore.stats import (
    conformal_threshold,
    joint_conformal_threshold,
    scenarios_for,
)


def random_values(*shape: int, ties: bool = False, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(shape, generator=generator, dtype=torch.float64)
    return (values * 6).floor() / 6 if ties else values


def plain(values: list[float], alpha: float) -> float:
    """As the definition has it."""
    known = sorted(v for v in values if not math.isnan(v))
    rank = math.floor((len(known) + 1) * alpha + 1e-9)
    return known[rank - 1] if rank else math.nan


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.3, 0.9])
def test_equals_the_definition(alpha: float, ties: bool) -> None:
    values = random_values(33, 1, 4, ties=ties)
    values[::5, :, 1] = math.nan
    values[3:, :, 2] = math.nan
    values[5, :, 3] = math.inf
    found = conformal_threshold(values, alpha)
    expected = torch.tensor(
        [plain(values[:, 0, i].tolist(), alpha) for i in range(4)], dtype=torch.float64
    )
    torch.testing.assert_close(found.threshold, expected, equal_nan=True, rtol=0, atol=0)
    assert found.scenarios.tolist() == [33, 26, 3, 33]
    assert (found.sd.nan_to_num() == 0).all()
    few = int(Reason.TOO_FEW_SAMPLES)
    assert found.reason.tolist() == [few if math.isnan(e) else 0 for e in expected.tolist()]


@pytest.mark.parametrize("alpha", [0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.05 / 3, 0.05 / 7, 0.3])
def test_fewest_scenarios(alpha: float) -> None:
    needed = scenarios_for(alpha)
    values = random_values(needed, 1)
    assert conformal_threshold(values, alpha).threshold.isfinite()
    assert conformal_threshold(values[1:], alpha).threshold.isnan()
    assert conformal_threshold(values[1:], alpha).needed.item() == needed


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("alpha", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("axes", [1, 2, 4])
def test_bound_on_every_sample(axes: int, alpha: float, ties: bool) -> None:
    """Each of n + 1 rollouts in turn is the fresh one: at most (n + 1) alpha of them fail."""
    most = 0
    for seed in range(12):
        values = random_values(24, 1, axes, ties=ties, seed=seed)
        values[..., 1:] = 0.7 * values[..., 1:] + 0.3 * values[..., :1]  # dependent axes
        failed = 0
        for fresh in range(len(values)):
            others = torch.cat([values[:fresh], values[fresh + 1 :]])
            threshold = joint_conformal_threshold(others, alpha).threshold
            failed += bool((values[fresh, 0] < threshold).any())
        assert failed <= math.floor(24 * alpha + 1e-9)
        most = max(most, failed)
    assert most >= math.floor(24 * alpha) - (axes > 1) or ties  # and nearly as many do


@pytest.mark.parametrize("ties", [False, True])
def test_jointly_is_no_stricter_than_shares_of_alpha(ties: bool) -> None:
    values = random_values(80, 5, 6, 3, ties=ties)
    joint = joint_conformal_threshold(values, 0.1)
    shares = conformal_threshold(values, 0.1 / 3)
    assert joint.threshold.shape == (6, 3)
    assert (joint.threshold >= shares.threshold).all()
    assert joint.needed.tolist() == [[29] * 3] * 6
    together = values[..., :1].expand(-1, -1, -1, 3)
    same = joint_conformal_threshold(together, 0.1).threshold
    assert (same > conformal_threshold(together, 0.1 / 3).threshold).any()


def test_one_axis_is_the_plain_threshold() -> None:
    values = random_values(40, 3, 5, 1)
    values[random_values(40, 3, 5, 1, seed=1) < 0.2] = math.nan
    joint, alone = joint_conformal_threshold(values, 0.1), conformal_threshold(values, 0.1)
    for one, other in zip(joint, alone, strict=True):
        assert torch.equal(one.nan_to_num(), other.nan_to_num())


def test_axis_that_is_undefined_fails_nothing() -> None:
    values = random_values(40, 1, 2)
    absent = values.clone()
    absent[:, :, 1] = math.nan
    found = joint_conformal_threshold(absent, 0.1)
    assert found.threshold[1] == math.inf
    assert found.scenarios.tolist() == [40, 40]
    absent[:3] = math.nan
    assert joint_conformal_threshold(absent, 0.1).scenarios.tolist() == [37, 37]


def test_one_seed_per_scenario_is_drawn() -> None:
    values = random_values(30, 4, 3)
    values[7, 1:, 0] = math.nan
    once = conformal_threshold(values, 0.2, redraws=1, seed=5).threshold
    again = conformal_threshold(values, 0.2, redraws=1, seed=5).threshold
    assert torch.equal(once, again)
    many = torch.stack(
        [conformal_threshold(values, 0.2, redraws=1, seed=s).threshold for s in range(300)]
    )
    found = conformal_threshold(values, 0.2, redraws=300)
    torch.testing.assert_close(found.threshold, many.mean(0), rtol=0, atol=0.02)
    torch.testing.assert_close(found.sd, many.std(0), rtol=0.3, atol=0)
    assert (found.sd > 0).all()
    # Seeds that all say the same leave nothing to draw.
    same = conformal_threshold(values[:, :1].expand(-1, 4, -1), 0.2)
    assert (same.sd == 0).all()
    assert torch.equal(same.threshold, conformal_threshold(values[:, :1], 0.2).threshold)


def test_chunks_do_not_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    values = random_values(30, 4, 2)
    whole = conformal_threshold(values, 0.1), joint_conformal_threshold(values, 0.1)
    monkeypatch.setattr("wmscore.stats.conformal._PIECE", 100)
    parts = conformal_threshold(values, 0.1), joint_conformal_threshold(values, 0.1)
    for one, other in zip(whole, parts, strict=True):
        assert torch.equal(one.threshold, other.threshold)
        assert torch.equal(one.sd, other.sd)


@pytest.mark.parametrize(("scenarios", "seeds"), [(20, 1), (20, 8), (100, 4)])
def test_fresh_perfect_rollouts_fail_as_seldom_as_asked(scenarios: int, seeds: int) -> None:
    generator = torch.Generator().manual_seed(2)
    panels, alpha = 400, 0.05

    def rollouts(scenarios: int, seeds: int) -> Tensor:
        """Half of the variance is the scenario's."""
        own = torch.randn(scenarios, 1, panels, generator=generator, dtype=torch.float64)
        rest = torch.randn(scenarios, seeds, panels, generator=generator, dtype=torch.float64)
        return own + rest

    found = conformal_threshold(rollouts(scenarios, seeds), alpha, redraws=50)
    failed = (rollouts(200, 1)[:, 0] < found.threshold).double().mean(0)
    error = failed.std().item() / math.sqrt(panels)
    assert failed.mean().item() < alpha + 3 * error
    assert failed.mean().item() > alpha / 2


def test_pooled_seeds_would_fail_more_often() -> None:
    """What one seed per scenario avoids, where seeds of a scenario are alike."""
    generator = torch.Generator().manual_seed(4)
    own = torch.randn(20, 1, 3000, generator=generator, dtype=torch.float64)
    cells = own + 0.1 * torch.randn(20, 8, 3000, generator=generator, dtype=torch.float64)
    pooled = conformal_threshold(cells.flatten(0, 1)[:, None], 0.05).threshold
    single = conformal_threshold(cells, 0.05, redraws=20).threshold
    fresh = torch.randn(3000, generator=generator, dtype=torch.float64)
    assert (fresh < pooled).double().mean() > (fresh < single).double().mean() + 0.005


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: conformal_threshold(torch.ones(3)), ValueError, r"shape \[S, K, ...\]"),
        (lambda: conformal_threshold(torch.ones(3, 1).int()), TypeError, "critical must be float"),
        (lambda: conformal_threshold(torch.ones(3, 1), 1.0), ValueError, "alpha must be a number"),
        (lambda: conformal_threshold(torch.ones(3, 1), redraws=0), ValueError, "redraws must be"),
        (lambda: conformal_threshold(torch.ones(3, 1), seed=-1), ValueError, "seed must be"),
        (
            lambda: joint_conformal_threshold(torch.ones(3, 1)),
            ValueError,
            r"shape \[S, K, ..., A\]",
        ),
        (lambda: scenarios_for(0.0), ValueError, "alpha must be a number"),
    ],
)
def test_bad_input(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
