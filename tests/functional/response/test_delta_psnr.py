"""Genie's delta-PSNR across scripts, and the same of any other metric."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from tests.functional.response.scripts import random_scripts
from wmscore.functional import (
    PSNR_QUANTISATION_DB,
    Reason,
    delta_metric,
    delta_psnr,
    mse,
    script_delta_psnr,
    script_products,
    ssim,
)

RANDOM = torch.tensor([False, False, True, True, True])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float64])
def test_equals_the_definition(dtype: torch.dtype) -> None:
    preds, target = random_scripts(scripts=5, seed=1), random_scripts(scripts=5, seed=2)
    if dtype != torch.uint8:
        preds, target = preds.to(dtype) / 255, target.to(dtype) / 255
    found = script_delta_psnr(script_products(preds, target), RANDOM)
    true = target[:, 0]
    gains = torch.stack([delta_psnr(preds[:, 0], preds[:, k], true) for k in (2, 3, 4)])
    assert_close(found.delta, gains.mean(0), rtol=1e-9, atol=1e-9)
    assert_close(found.standard_error, gains.std(0) / 3**0.5, rtol=1e-9, atol=1e-9)
    error = torch.stack([mse(preds[:, k], true) for k in (2, 3, 4)]).mean(0)
    assert_close(found.controllability, 1 - mse(preds[:, 0], true) / error, rtol=1e-9, atol=1e-9)
    assert (found.scripts == 3).all()
    oracle = script_delta_psnr(script_products(target, target), RANDOM)
    assert_close(oracle.delta, found.oracle, rtol=1e-9, atol=1e-6)
    assert_close(oracle.controllability, torch.ones_like(oracle.controllability))


def test_an_action_blind_model_gains_nothing() -> None:
    target = random_scripts(scripts=5)
    blind = random_scripts(scripts=1, seed=4).expand_as(target)
    found = script_delta_psnr(script_products(blind, target), RANDOM)
    zero = torch.zeros_like(found.delta)
    for values in (found.delta, found.standard_error, found.controllability):
        assert_close(values, zero)
    assert (found.oracle > 40).all()


def test_undefined() -> None:
    target = random_scripts(scripts=5)
    target[1, 2:] = target[1, :1]  # in scenario 1 the reference does not react
    present = torch.ones(3, 5, 5, dtype=torch.bool)
    present[0, 0, 0] = False
    present[0, 2:, 1] = False
    present[0, 3:, 2] = False
    products = script_products(target, target, present=present)
    found = script_delta_psnr(products, RANDOM)
    assert found.reason.tolist() == [
        [Reason.NO_FRAME, Reason.NO_BRANCH, 0, 0, 0],
        [Reason.NO_RESPONSE] * 5,
        [0] * 5,
    ]
    assert found.delta.isnan().equal(found.reason != 0)
    assert found.scripts[0].tolist() == [0, 0, 1, 3, 3]
    assert found.standard_error[0].isnan().tolist() == [True, True, True, False, False]
    none = script_delta_psnr(products, torch.zeros(5, dtype=torch.bool))
    assert (none.reason[1:] == Reason.NO_BRANCH).all()
    floats = target.float() / 255
    floats[2, 3, 4] = float("inf")
    broken = script_delta_psnr(script_products(floats, target.float() / 255), RANDOM)
    assert broken.reason[2].tolist() == [0, 0, 0, 0, Reason.NON_FINITE]
    reference = target.float() / 255
    reference[0, 3, 3] = float("nan")  # of one random script
    reference[2, :, 4] = float("nan")
    broken = script_delta_psnr(script_products(target.float() / 255, reference), RANDOM)
    assert broken.reason[0, 3] == broken.reason[2, 4] == Reason.NON_FINITE
    assert (broken.reason != 0).sum() == 2 + 5


def test_the_commanded_script_is_never_its_own_rival() -> None:
    target = random_scripts(scripts=3)
    products = script_products(target, target)
    with_it = script_delta_psnr(products, torch.ones(3, dtype=torch.bool))
    without = script_delta_psnr(products, torch.tensor([False, True, True]))
    assert_close(with_it.delta, without.delta)


def test_cap() -> None:
    target = random_scripts(scripts=5)
    products = script_products(target, target)
    low, high = (script_delta_psnr(products, RANDOM, cap_db=cap) for cap in (40.0, 60.0))
    assert_close(high.delta - low.delta, torch.full_like(low.delta, 20.0))
    assert_close(low.oracle, low.delta)
    assert (script_delta_psnr(products, RANDOM).delta < PSNR_QUANTISATION_DB).all()
    with pytest.raises(ValueError, match="cap_db"):
        script_delta_psnr(products, RANDOM, cap_db=0.0)
    with pytest.raises(TypeError, match="random must be bool"):
        script_delta_psnr(products, RANDOM.int())
    with pytest.raises(ValueError, match="random must have a shape"):
        script_delta_psnr(products, RANDOM[:4])


def test_any_other_metric_by_the_same_code() -> None:
    preds, target = random_scripts(scripts=5, side=16, seed=1), random_scripts(scripts=5, side=16)

    def of(frames: Tensor) -> Tensor:
        return ssim(frames, target[:, 0])

    true, random = of(preds[:, 0]), torch.stack([of(preds[:, k]) for k in (2, 3, 4)], 1)
    mean, error = delta_metric(true, random, higher_is_better=True)
    assert_close(mean, (true[:, None] - random).mean(1))
    assert_close(error, (true[:, None] - random).std(1) / 3**0.5)
    worse, _ = delta_metric(1 - true, 1 - random, higher_is_better=False)
    assert_close(worse, mean)
    random[0, 1:] = float("nan")
    mean, error = delta_metric(true, random, higher_is_better=True)
    assert_close(mean[0], true[0] - random[0, 0])
    assert error[0].isnan().all()
    with pytest.raises(ValueError, match="random must have the shape of true"):
        delta_metric(true, random[:2], higher_is_better=True)
    with pytest.raises(TypeError, match="true must be floating point"):
        delta_metric(true.long(), random, higher_is_better=True)
