"""A/A: worlds in which two models are alike, what tests say of them, what one recording shows."""

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

from wmscore.comparison import (
    null_check,
    null_check_pair,
    null_worlds,
    recordings_test,
    shared_luck_test,
)
from wmscore.comparison.null_worlds import flipped_worlds, split_worlds

nan = math.nan
module = importlib.import_module("wmscore.comparison.null_checks")


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def worlds_of(made: object) -> Tensor:
    return torch.cat(list(made), -1)  # type: ignore[call-overload]


@pytest.mark.parametrize("name", ["null_checks", "seed_checks"])
def test_examples(name: str) -> None:
    found = doctest.testmod(importlib.import_module(f"wmscore.comparison.{name}"))
    assert found.attempted > 0
    assert found.failed == 0


# ---- worlds ------------------------------------------------------------------------------


def test_seeds_are_dealt_out_once() -> None:
    cells = torch.arange(30.0, dtype=torch.float64).view(5, 6)
    cells[1, 2] = nan  # five are left: one of them is left out of each world
    cells[2, :5] = nan  # one is left: no pair
    made = worlds_of(split_worlds(cells, 400, 0))
    assert made.shape == (2, 5, 3, 400)
    for world in made.unbind(-1):
        for s in (0, 3, 4):
            assert world[:, s].flatten().sort().values.tolist() == cells[s].tolist()
        five = world[:, 1].flatten()
        five = five[~five.isnan()]
        assert len(five.unique()) == 4
        assert set(five.tolist()) <= set(cells[1].tolist())
        assert (~world[:, 1].isnan()).sum(1).tolist() == [2, 2]
        assert world[:, 2].isnan().all()
    # Each seed is as often in either half, and each of the five as often left out.
    first = (made[0, 0] == cells[0, 0]).any(0).double().mean()
    assert float(first) == pytest.approx(0.5, abs=0.08)
    there = (made[:, 1] == cells[1, 0]).any(0).any(0).double().mean()
    assert float(there) == pytest.approx(0.8, abs=0.07)


def test_flips_keep_the_scenarios_differences() -> None:
    first, second = normal(6, 4), normal(6, 4, seed=1) + 3
    second[2, 1] = nan
    made = worlds_of(flipped_worlds(first, second, 300, 0))
    assert made.shape == (2, 6, 4, 300)
    gaps = (made[1] - made[0]).nanmean(1)  # [S, R]
    seen = (second - first).nanmean(1)
    centred = (seen - seen.mean()).abs()
    torch.testing.assert_close(gaps.abs(), centred[:, None].expand(-1, 300))
    assert float((gaps > 0).double().mean()) == pytest.approx(0.5, abs=0.05)
    assert made[:, 2, 1].isnan().all()
    assert not made[:, 2, 0].isnan().any()


def test_worlds_do_not_depend_on_how_many_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = normal(7, 5)
    whole = worlds_of(split_worlds(cells, 50, 3))
    flips = worlds_of(flipped_worlds(cells, cells + 1, 50, 3))
    monkeypatch.setattr(null_worlds, "_HELD", 7 * 5 * 4)
    assert torch.equal(worlds_of(split_worlds(cells, 50, 3)), whole)
    assert torch.equal(worlds_of(flipped_worlds(cells, cells + 1, 50, 3)), flips)
    assert not torch.equal(worlds_of(split_worlds(cells, 50, 4)), whole)


# ---- what tests say ----------------------------------------------------------------------


def test_students_t_equals_scipy() -> None:
    values = normal(2, 9, 20)
    values[:, 3, :5] = nan
    values[0, 4, 7] = nan
    expected = stats.ttest_1samp(values[0].numpy(), 0.0, nan_policy="omit").pvalue
    np.testing.assert_allclose(module._one_sample(values[0]).numpy(), expected, rtol=1e-9)
    expected = stats.ttest_ind(values[1].numpy(), values[0].numpy(), nan_policy="omit").pvalue
    np.testing.assert_allclose(module._two_samples(values).numpy(), expected, rtol=1e-9)


def test_rejections_are_counted() -> None:
    p_values = torch.tensor([0.01, 0.05, 0.2, 0.2, 0.9, nan], dtype=torch.float64)
    found = module._rejections("some test", p_values, 0.05)
    assert (found.worlds, found.rejected) == (5, 0.4)
    both = stats.ks_1samp(p_values[:5].numpy(), stats.uniform.cdf)
    assert max(found.excess, found.shortfall) == pytest.approx(both.statistic)
    more = stats.ks_1samp(p_values[:5].numpy(), stats.uniform.cdf, alternative="greater")
    assert found.excess == pytest.approx(more.statistic)
    interval = stats.binomtest(2, 5).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize("scenarios", [6, 9, 20])
def test_a_model_is_like_itself(scenarios: int) -> None:
    hard = normal(scenarios, 1, seed=5)
    found = null_check(hard + normal(scenarios, 8, seed=6), worlds=4000)
    assert (found.scenarios, found.seeds, found.tied) == (scenarios, 4, 0)
    # Of signs of six or nine scenarios, no more than so many patterns are below 5 %.
    level = {6: 2 / 64, 9: 24 / 512}.get(scenarios, 0.05)
    assert found.chosen.valid
    assert found.chosen.rejected == pytest.approx(level, abs=4 * (level / 4000) ** 0.5)
    assert found.pairs.valid
    assert 0.03 < found.pairs.rejected < 0.075


def test_two_models_that_suit_other_scenarios() -> None:
    hard = normal(20, 1)
    first = hard + 0.5 * normal(20, 8, seed=1)
    second = hard + 5.0 + 0.6 * normal(20, 1, seed=2) + 0.5 * normal(20, 8, seed=3)
    found = null_check_pair(first, second)
    assert found.chosen.valid
    assert 0.03 < found.chosen.rejected < 0.07
    assert found.pairs.valid is False
    assert found.pairs.low > 0.15
    assert found.unpaired.rejected < found.pairs.rejected / 2
    swapped = null_check_pair(second, first, seed=1)
    assert swapped.pairs.rejected == pytest.approx(found.pairs.rejected, abs=0.05)


def test_a_test_that_rejects_too_often_is_called_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = module.sign_flip_test

    def eager(values: Tensor, **settings: int) -> object:
        found = whole(values, **settings)
        return found._replace(p_value=found.p_value**2)

    monkeypatch.setattr(module, "sign_flip_test", eager)
    found = null_check(normal(12, 6))
    assert found.chosen.valid is False
    assert found.chosen.low > 0.05


def test_nothing_to_compare() -> None:
    found = null_check(torch.ones(8, 4))
    assert (found.tied, found.chosen.rejected, found.chosen.valid) == (8, 0.0, True)
    assert found.pairs.worlds == 0
    assert math.isnan(found.pairs.rejected)
    few = null_check(normal(5, 4))
    assert few.chosen.valid is None
    assert few.chosen.worlds == 0
    assert few.pairs.worlds == 2000
    with pytest.raises(ValueError, match=r"cells must have shape \[S, K\] with at least 2 seeds"):
        null_check(normal(5, 1))
    with pytest.raises(TypeError, match="cells must be floating point"):
        null_check(torch.ones(5, 4, dtype=torch.int64))
    with pytest.raises(ValueError, match="candidate must have the shape of baseline"):
        null_check_pair(normal(5, 4), normal(5, 3))
    with pytest.raises(ValueError, match="level must be a number above 0 and below 1, got 5"):
        null_check(normal(6, 4), level=5)


# ---- seeds and recordings ----------------------------------------------------------------


def test_shared_luck_goes_through_all_shuffles() -> None:
    cells = normal(2, 3)
    seen = float((cells - cells.mean(1, keepdim=True)).mean(0).var())
    spreads = []
    for order in itertools.product(itertools.permutations(range(3)), repeat=2):
        shuffled = torch.stack([row[list(o)] for row, o in zip(cells, order, strict=True)])
        spreads.append(float((shuffled - shuffled.mean(1, keepdim=True)).mean(0).var()))
    share = sum(spread >= seen - 1e-12 for spread in spreads) / len(spreads)
    found = shared_luck_test(cells, draws=20_000)
    assert found.spread == pytest.approx(seen**0.5)
    assert found.expected == pytest.approx(np.mean(spreads) ** 0.5, rel=0.02)
    assert found.p_value == pytest.approx(share, abs=0.02)


def test_recordings_go_through_all_exchanges() -> None:
    first, second = normal(3, 2), normal(3, 2, seed=1) + 0.4
    both = torch.cat([first, second], 1)

    def measured(rows: list[list[int]]) -> tuple[float, float]:
        moved = torch.stack([row[order] for row, order in zip(both, rows, strict=True)])
        gaps = moved[:, 2:].mean(1) - moved[:, :2].mean(1)
        return float(gaps.mean().abs()), float(gaps.var(unbiased=False))

    deals = [[a, b, *({0, 1, 2, 3} - {a, b})] for a, b in itertools.combinations(range(4), 2)]
    all_of_them = [measured(list(rows)) for rows in itertools.product(deals, repeat=3)]
    seen = measured([[0, 1, 2, 3]] * 3)
    found = recordings_test(first, second, draws=20_000)
    shares = [np.mean([values[i] >= seen[i] - 1e-12 for values in all_of_them]) for i in range(2)]
    assert abs(found.difference) == pytest.approx(seen[0])
    assert found.interaction == pytest.approx(seen[1] ** 0.5)
    assert found.p_value == pytest.approx(shares[0], abs=0.015)
    assert found.interaction_p == pytest.approx(shares[1], abs=0.015)


def test_p_values_of_alike_recordings_are_uniform() -> None:
    kept = []
    for n in range(200):
        cells = normal(8, 6, seed=3 * n)
        cells[normal(8, 6, seed=3 * n + 1) > 1.3] = nan
        found = recordings_test(cells[:, :2], cells[:, 2:], draws=199, seed=n)
        luck = shared_luck_test(normal(8, 4, seed=3 * n + 2), draws=199, seed=n)
        kept.append([found.p_value, found.interaction_p, luck.p_value])
    for p_values in np.array(kept).T:
        assert stats.kstest(p_values - 0.0025, "uniform").pvalue > 0.01
        assert 0.01 <= np.mean(p_values <= 0.05) <= 0.1


def test_what_is_not_alike_is_found() -> None:
    hard = normal(12, 1)
    first = hard + 0.5 * normal(12, 6, seed=1)
    other = hard + 0.5 * normal(12, 6, seed=2)
    assert recordings_test(first, other + 1).p_value < 0.001
    assert recordings_test(first, other + 1).interaction_p > 0.05
    by_scenario = recordings_test(first, other + normal(12, 1, seed=3))
    assert by_scenario.interaction_p < 0.001
    assert by_scenario.interaction > 2 * by_scenario.expected
    lucky = hard + 0.5 * normal(12, 6, seed=1) + normal(1, 6, seed=4)
    assert shared_luck_test(lucky).p_value < 0.001
    assert shared_luck_test(first).p_value > 0.05
    same = recordings_test(first, first)
    assert (same.difference, same.p_value) == (0.0, 1.0)


def test_recordings_that_share_nothing() -> None:
    first = normal(3, 2)
    gone = torch.full((3, 2), nan, dtype=torch.float64)
    assert all(math.isnan(value) for value in recordings_test(first, gone))
    assert math.isnan(shared_luck_test(normal(1, 4)).p_value)
    assert math.isnan(shared_luck_test(torch.cat([first, gone], 1)).p_value)
    with pytest.raises(ValueError, match="second must have the scenarios of first, 3, got 4"):
        recordings_test(first, normal(4, 2))
