"""Responses against chance: matching, the permutation test and its calibration."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from torch.testing import assert_close

from tests.functional.response.scripts import random_scripts, shuffled
from wmscore.functional import (
    Reason,
    ScriptCross,
    script_cross,
    script_match,
    script_products,
    script_response,
    script_test,
)


def test_match_of_the_reference_of_nothing_and_of_chance() -> None:
    target = random_scripts(groups=200)
    own = script_match(script_products(target, target))
    assert (own.match == 1).all()
    assert (own.matched == 1).all()
    frozen = script_match(script_products(target[:, :1, :1].expand_as(target), target))
    assert (frozen.match == 0).all()
    dealt = script_match(script_products(shuffled(target), target)).match.mean(1)
    assert abs(float(dealt.mean())) < 3 * float(dealt.std()) / 200**0.5


def test_match_asks_who_is_nearest_and_not_how_near() -> None:
    target = random_scripts()
    noisy = (target.double() * 0.2 + random_scripts(scripts=1, seed=9).double() * 0.8).byte()
    found = script_match(script_products(noisy, target))
    assert (found.match == 1).all()
    assert (script_response(script_products(noisy, target)).agreement < 0.5).all()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_scripts_with_one_reference_are_one(dtype: torch.dtype) -> None:
    target = random_scripts(groups=1)
    target[:, 1] = target[:, 0]  # as where two scripts have sent the same actions so far
    target = target if dtype == torch.uint8 else target.to(dtype) / 255
    found = script_match(script_products(target, target))
    assert found.match.tolist() == [[1.0] * 5]
    assert found.matched[0, :, 0].tolist() == [0.5, 0.5, 1.0, 1.0]
    frozen = target[:, 2:3, :1].expand_as(target)
    assert script_match(script_products(frozen, target)).match.tolist() == [[0.0] * 5]
    same = target[:, :1].expand_as(target)
    nothing = script_match(script_products(target, same))
    assert (nothing.reason == Reason.NO_RESPONSE).all()
    assert nothing.match.isnan().all()


def test_match_reasons() -> None:
    target = random_scripts(scripts=3)
    present = torch.ones(3, 3, 5, dtype=torch.bool)
    present[0, 0, 1] = False
    present[1, 1:, 2] = False
    floats = target.float() / 255
    floats[2, 1, 4] = float("nan")
    found = script_match(script_products(floats, target.float() / 255, present=present))
    wanted = torch.zeros(3, 5, dtype=torch.uint8)
    wanted[0, 1], wanted[1, 2] = int(Reason.NO_FRAME), int(Reason.NO_BRANCH)
    wanted[2, 4] = int(Reason.NON_FINITE)
    assert found.reason.equal(wanted)
    assert found.match.isnan().equal(wanted != 0)
    assert found.matched[0, 0, 1].isnan()


def test_statistic_is_the_mean_agreement() -> None:
    preds, target = random_scripts(seed=1), random_scripts(seed=2)
    products = script_products(preds, target)
    found = script_test(products, draws=10)
    assert_close(found.agreement, script_response(products).agreement.mean(1).mean())
    assert found.scenarios == 3
    kept = script_test(script_cross(products), draws=10)
    assert_close(torch.stack(kept), torch.stack(found))


def test_every_way_to_deal_is_as_likely() -> None:
    """One scenario of three scripts: six ways, and the right one is the best."""
    target = random_scripts(groups=1, scripts=3)
    found = script_test(script_products(target, target), draws=6000)
    assert float(found.p_value) == pytest.approx(1 / 6, abs=0.015)
    assert float(found.smallest) == pytest.approx(1 / 6)
    for seed in range(8):  # few draws may fall short of the few ways
        few = script_test(script_products(target, target), draws=200, seed=seed)
        assert few.p_value >= few.smallest
    with_absent = script_products(
        target.flatten(0, 1),
        target.flatten(0, 1),
        preds_rows=torch.tensor([[0, -1, 1, 2, -1]]),
        target_rows=torch.tensor([[0, -1, 1, 2, -1]]),
    )
    found = script_test(with_absent, draws=6000)
    assert float(found.p_value) == pytest.approx(1 / 6, abs=0.015)
    assert float(found.smallest) == pytest.approx(1 / 6)


def test_p_values_of_scripts_dealt_at_random_are_uniform() -> None:
    p_values = []
    for panel in range(500):
        target = random_scripts(groups=6, scripts=4, steps=2, side=4, seed=panel)
        products = script_products(shuffled(target, seed=panel), target)
        p_values.append(float(script_test(products, draws=199, seed=panel).p_value))
    values = torch.tensor(p_values)
    assert stats.kstest(values.numpy(), "uniform").pvalue > 0.01
    assert 0.03 <= float((values <= 0.05).double().mean()) <= 0.07


def test_copies_of_a_rollout_are_no_evidence() -> None:
    target = random_scripts(groups=2, scripts=3)
    copies = target.repeat_interleave(8, 0)
    products = script_products(copies, copies)
    once = script_test(script_products(target, target), draws=4000)
    as_seeds = script_test(products, scenario=torch.arange(2).repeat_interleave(8), draws=4000)
    assert float(once.p_value) == pytest.approx(1 / 36, abs=0.01)
    assert float(as_seeds.p_value) == pytest.approx(1 / 36, abs=0.01)
    assert as_seeds.scenarios == 2


@pytest.mark.parametrize("left_out", [0, 1])
def test_a_group_that_is_left_out_takes_no_script_from_its_scenario(left_out: int) -> None:
    target = random_scripts(groups=2, scripts=4)
    target = target.repeat_interleave(2, 0)
    cross = script_cross(script_products(random_scripts(groups=4, scripts=4, seed=8), target))
    sound = torch.arange(4) % 2 != left_out
    kept = ScriptCross(
        table=cross.table * sound[:, None, None],
        steps=cross.steps * sound,
        has=cross.has & sound[:, None],
    )
    found = script_test(kept, scenario=torch.tensor([0, 0, 1, 1]), draws=500)
    alone = script_test(ScriptCross(*(part[sound] for part in cross)), draws=500)
    assert_close(torch.stack(found), torch.stack(alone))
    assert float(found.smallest) == pytest.approx(1 / 501)


def test_a_frozen_model_has_no_evidence_at_all() -> None:
    target = random_scripts(groups=8)
    frozen = target[:, :1, :1].expand_as(target)
    found = script_test(script_products(frozen, target), draws=100)
    assert (float(found.agreement), float(found.p_value)) == (0.0, 1.0)


def test_nothing_to_judge() -> None:
    target = random_scripts(scripts=1)
    for groups in (0, 3):
        found = script_test(script_products(target[:groups], target[:groups]), draws=10)
        assert found.scenarios == 0
        assert found.p_value.isnan()
        assert found.agreement.isnan()


def test_errors() -> None:
    target = random_scripts()
    products = script_products(target, target)
    with pytest.raises(ValueError, match="draws must be at least 1"):
        script_test(products, draws=0)
    with pytest.raises(ValueError, match=r"scenario must have shape \[G\] = \(3,\)"):
        script_test(products, scenario=torch.zeros(4).long())
