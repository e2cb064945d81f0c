"""Response across scripts: analytic cases, a numpy oracle, chance, undefined values, errors."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from tests.functional.response.scripts import random_scripts, shuffled
from wmscore.functional import (
    Reason,
    ScriptResponse,
    counterfactual_response,
    script_cross,
    script_delta_psnr,
    script_match,
    script_products,
    script_response,
    windowed_response,
)


def test_equals_numpy() -> None:
    preds, target = random_scripts(seed=1), random_scripts(seed=2)
    target[..., :4, :] = target[:, :1, ..., :4, :]  # the upper half does not depend on the script
    found = script_response(script_products(preds, target))
    p, g = (frames.double().numpy() for frames in (preds, target))
    p, g = p - p.mean(1, keepdims=True), g - g.mean(1, keepdims=True)

    def inner(a: np.ndarray, b: np.ndarray) -> torch.Tensor:
        return torch.from_numpy((a * b).sum((1, 3, 4, 5)))

    both, own, other = inner(p, g), inner(p, p), inner(g, g)
    assert_close(found.agreement, 2 * both / (own + other), rtol=1e-12, atol=0)
    assert_close(found.cosine, both / (own * other).sqrt(), rtol=1e-12, atol=0)
    assert_close(found.gain, (own / other).sqrt(), rtol=1e-12, atol=0)
    upper = p[..., :4, :]
    assert_close(found.leak, inner(upper, upper) / own, rtol=1e-12, atol=0)
    assert not found.reason.any()


def test_two_scripts_are_a_pair() -> None:
    preds, target = random_scripts(scripts=2, seed=1), random_scripts(scripts=2, seed=2)
    found = script_response(script_products(preds, target))
    pair = counterfactual_response(preds[:, 0], preds[:, 1], target[:, 0], target[:, 1])
    difference = (preds[:, 1].double() - preds[:, 0].double()).flatten(2)
    reference = (target[:, 1].double() - target[:, 0].double()).flatten(2)
    energy = difference.square().sum(-1) + reference.square().sum(-1)
    for result in (found, pair):
        assert_close(result.agreement, 2 * (difference * reference).sum(-1) / energy)


def test_the_reference_is_one_and_nothing_is_zero() -> None:
    target = random_scripts()
    found = script_response(script_products(target, target))
    for values in (found.agreement, found.cosine, found.gain):
        assert values.tolist() == [[1.0] * 5] * 3
    frozen = target[:, :1, :1].expand_as(target)
    found = script_response(script_products(frozen, target))
    assert found.agreement.tolist() == found.gain.tolist() == [[0.0] * 5] * 3
    assert found.cosine.isnan().all()
    assert found.leak.isnan().all()
    assert (found.reason == Reason.NO_GENERATED_RESPONSE).all()


@pytest.mark.parametrize("scripts", [2, 3, 7, 11, 16])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_equal_floats_do_not_respond_by_rounding(scripts: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(scripts)
    target = torch.rand(4, scripts, 6, 3, 11, 13, generator=generator, dtype=torch.float64)
    target = target.to(dtype)
    frozen = target[:, :1].expand_as(target)
    products = script_products(frozen, target)
    found = script_response(products)
    assert (found.reason == Reason.NO_GENERATED_RESPONSE).all()
    assert not found.agreement.any()
    assert not found.gain.any()
    assert found.cosine.isnan().all()
    assert not script_cross(products).table.any()
    assert not script_match(products).match.any()
    for features in (frozen, frozen.flatten(3)[:, :, :, None, None]):
        silent = script_products(target.view_as(features), features)
        assert (script_response(silent, min_response=0.0).reason == Reason.NO_RESPONSE).all()
        assert (script_match(silent).reason == Reason.NO_RESPONSE).all()
        random = torch.ones(scripts, dtype=torch.bool)
        assert (script_delta_psnr(silent, random).reason == Reason.NO_RESPONSE).all()


def test_drift_that_all_scripts_share_is_no_matter_of_the_response() -> None:
    target = random_scripts() // 2
    drifted = target + random_scripts(scripts=1, seed=5) // 2
    found = script_response(script_products(drifted, target))
    assert_close(found.agreement, torch.ones_like(found.agreement), rtol=0, atol=1e-12)


@pytest.mark.parametrize("gain", [0.25, 0.5, 2.0, -1.0])
def test_half_a_response(gain: float) -> None:
    target = random_scripts().double() / 255
    middle = target.mean(1, keepdim=True)
    found = script_response(script_products(middle + gain * (target - middle), target))
    wanted = torch.full_like(found.gain, gain)
    assert_close(found.gain, wanted.abs())
    assert_close(found.cosine, wanted.sign())
    assert_close(found.agreement, 2 * wanted / (1 + wanted.square()))


def test_scripts_dealt_out_at_random_have_no_agreement_on_average() -> None:
    target = random_scripts(groups=1, scripts=4)
    values = [
        script_response(script_products(target[:, list(deal)], target)).agreement
        for deal in itertools.permutations(range(4))
    ]
    assert_close(torch.stack(values).mean(0), torch.zeros(1, 5).double(), rtol=0, atol=1e-12)
    # Without centring they would have one half: both responses contain the commanded frame.
    many = random_scripts(groups=64, scripts=9, side=16)
    found = script_response(script_products(shuffled(many), many)).agreement
    assert abs(float(found.mean())) < 3 * float(found.mean(1).std()) / 8


def test_absent_scripts_and_steps() -> None:
    preds, target = random_scripts(scripts=4, seed=1), random_scripts(scripts=4, seed=2)
    rows = torch.arange(12).view(3, 4)
    rows[1, 2:] = -1
    rows[2, 1:] = -1
    present = torch.ones(3, 4, 5, dtype=torch.bool)
    present[0, 3, 2] = False
    present[0, 0, 3] = False
    found = script_response(
        script_products(
            preds.flatten(0, 1),
            target.flatten(0, 1),
            preds_rows=rows,
            target_rows=rows,
            present=present,
        )
    )
    fewer = script_response(script_products(preds[:, :2], target[:, :2]))
    assert_close(found.agreement[1], fewer.agreement[1])
    three = script_response(script_products(preds[:, :3], target[:, :3]))
    assert_close(found.agreement[0, 2], three.agreement[0, 2])
    assert found.reason.tolist() == [
        [0, 0, 0, Reason.NO_FRAME, 0],
        [0] * 5,
        [Reason.NO_BRANCH] * 5,
    ]
    assert found.agreement.isnan().equal(found.reason != 0)


@pytest.mark.parametrize("side", ["preds", "target"])
def test_a_script_without_one_of_its_frames_is_absent(side: str) -> None:
    frames = random_scripts(groups=2).flatten(0, 1)
    rows, fewer = torch.arange(8).view(2, 4), torch.arange(8).view(2, 4)
    fewer[0, 3] = -1
    own, there = (fewer, rows) if side == "preds" else (rows, fewer)
    products = script_products(frames, frames, preds_rows=own, target_rows=there)
    assert script_response(products).agreement.tolist() == [[1.0] * 5] * 2
    assert products.present[0, 3].tolist() == [False] * 5
    assert (products.gram[0, :, 3] == 0).all()
    assert (products.gram[0, :, 7] == 0).all()


def test_rows_that_are_not_there_are_refused() -> None:
    frames = random_scripts(groups=2).flatten(0, 1)
    rows = torch.arange(8).view(2, 4)
    for wrong in (rows + 1, rows - 2):
        with pytest.raises(ValueError, match=r"target_rows must be -1 \(absent\) or a row"):
            script_products(frames, frames, preds_rows=rows, target_rows=wrong)
    with pytest.raises(TypeError, match="preds_rows must be int64"):
        script_products(frames, frames, preds_rows=rows.int(), target_rows=rows)


def test_frames_are_no_products() -> None:
    with pytest.raises(TypeError, match="products must be what script_products returns"):
        script_response(random_scripts())  # type: ignore[arg-type]


def test_reference_rows_are_shared() -> None:
    preds, target = random_scripts(groups=6), random_scripts(groups=2, seed=7)
    which = torch.tensor([0, 1, 1, 0, 0, 1])
    own = torch.arange(24).view(6, 4)
    there = torch.arange(8).view(2, 4)[which]
    found = script_response(
        script_products(
            preds.flatten(0, 1), target.flatten(0, 1), preds_rows=own, target_rows=there
        )
    )
    wanted = script_response(script_products(preds, target[which]))
    for name in ("agreement", "cosine", "gain", "leak", "reason"):
        assert_close(getattr(found, name), getattr(wanted, name), rtol=0, atol=0, equal_nan=True)


def test_leak() -> None:
    target = random_scripts(groups=1)
    target[..., 2:, :] = 90
    preds = target.clone()
    preds[:, 0, :, :, 7] = 250
    found = script_response(script_products(preds, target))
    assert (found.leak > 0).all()
    assert script_response(script_products(target, target)).leak.tolist() == [[0.0] * 5]
    slight = target.clone()
    slight[:, 1, :, :, 4] += 2
    loud = script_response(script_products(preds, slight, still=2 / 255))
    assert_close(loud.leak, found.leak)
    # Where the reference reacts everywhere there is nowhere to leak to.
    everywhere = (
        torch.tensor([0, 100, 200, 250], dtype=torch.uint8)
        .view(1, 4, 1, 1, 1, 1)
        .expand(1, 4, 5, 3, 8, 8)
    )
    assert script_response(script_products(everywhere, everywhere)).leak.isnan().all()


def test_shift_takes_a_displacement_off() -> None:
    target = random_scripts(groups=2, side=16)
    moved = target.roll((2, -3), (-2, -1))
    shift = torch.tensor([2, -3]).expand(2, 5, 2).contiguous()
    found = script_response(script_products(moved, target, shift=shift))
    assert found.agreement.tolist() == [[1.0] * 5] * 2
    plain = script_response(script_products(moved, target))
    assert (plain.agreement.abs() < 0.2).all()


def test_windows_let_a_small_part_count() -> None:
    """Three corners respond loudly but wrongly, one faintly and rightly, ... and the reverse."""
    target = random_scripts(groups=1, steps=1, side=16)
    target[..., :8, :8] = target[..., :8, :8] // 32
    preds = target.clone()
    preds[..., :8, :8] = preds[:, :1, ..., :8, :8]  # the faint corner does not respond
    plain = script_response(script_products(preds, target)).agreement
    windowed = windowed_response(preds, target, windows=2)
    assert plain.item() > 0.99
    assert windowed.agreement.item() == 0.75
    assert_close(windowed_response(preds, target, windows=1).agreement, plain)
    flat = torch.full_like(target, 9)
    assert windowed_response(preds, flat).reason.tolist() == [[Reason.NO_RESPONSE]]
    frozen = windowed_response(preds[:, :1].expand_as(preds), target)
    assert frozen.agreement.tolist() == [[0.0]]
    assert frozen.reason.tolist() == [[Reason.NO_GENERATED_RESPONSE]]
    with pytest.raises(ValueError, match="windows must be at most"):
        windowed_response(preds, target, windows=17)


def test_a_window_that_is_not_finite_is_not_left_out() -> None:
    target = random_scripts(groups=3, side=16).double() / 255
    preds = target[:, :1].expand_as(target).clone()
    preds[0] = target[0]
    preds[0, 1, 2, 0, 0, 0] = preds[1, 1, 3, 0, 15, 15] = float("nan")
    found = windowed_response(preds, target)
    wanted = torch.full((3, 5), int(Reason.NO_GENERATED_RESPONSE), dtype=torch.uint8)
    wanted[0] = 0
    wanted[0, 2] = wanted[1, 3] = int(Reason.NON_FINITE)
    assert found.reason.equal(wanted)
    for values in (found.agreement, found.gain):
        assert values.isnan().equal(wanted == Reason.NON_FINITE)
    assert found.cosine.isnan().equal(wanted != 0)


def test_windows_know_what_is_still() -> None:
    target = random_scripts(groups=1, side=16)
    target[..., :4, :] = 90
    target[:, 0, :, :, :4] += 2  # rounding
    leaking = target.clone()
    leaking[:, 1, :, :, :2] += 60
    found = windowed_response(leaking, target, windows=1, still=2 / 255)
    whole = script_response(script_products(leaking, target, still=2 / 255))
    assert_close(found.leak, whole.leak)
    assert (found.leak > 0).all()
    assert windowed_response(leaking, target, windows=1).leak.isnan().all()


def test_features_go_in_as_frames_of_one_row() -> None:
    generator = torch.Generator().manual_seed(3)
    target = torch.randn(2, 3, 4, 10, generator=generator)[:, :, :, None, None]
    found = script_response(script_products(target, target), min_response=0.0)
    assert_close(found.agreement, torch.ones(2, 4).double())


def test_undefined() -> None:
    target = random_scripts()
    same = target[:, :1].expand_as(target)
    found = script_response(script_products(target, same))
    assert (found.reason == Reason.NO_RESPONSE).all()
    assert found.agreement.isnan().all()
    floats = target.float() / 255
    floats[1, 2, 3, 0, 0, 0] = float("nan")
    found = script_response(script_products(floats, target.float() / 255))
    assert found.reason.nonzero().tolist() == [[1, 3]]
    assert found.reason[1, 3] == Reason.NON_FINITE
    one = script_response(script_products(target[:, :1], target[:, :1]))
    assert (one.reason == Reason.NO_BRANCH).all()


def test_errors() -> None:
    frames = random_scripts()
    with pytest.raises(ValueError, match="must be given together"):
        script_products(frames, frames, preds_rows=torch.zeros(1, 2).long())
    with pytest.raises(ValueError, match=r"preds must have shape \[G, K, T, C, H, W\]"):
        script_products(frames[0], frames)
    with pytest.raises(ValueError, match="must have the same shape"):
        script_products(frames[:2], frames)
    with pytest.raises(ValueError, match="still must be a number at least"):
        script_products(frames, frames, still=-1.0)
    with pytest.raises(ValueError, match="min_response"):
        script_response(script_products(frames, frames), min_response=-1.0)
    with pytest.raises(TypeError, match="one dtype"):
        script_products(frames, frames.float())


def test_windows_of_a_group_do_not_depend_on_the_other_groups():
    target = random_scripts(7, 3, 12, side=16)
    preds = torch.where(torch.arange(16) < 9, target, random_scripts(7, 3, 12, side=16, seed=1))

    def found(groups: slice) -> ScriptResponse:
        rows = torch.arange(len(preds[groups]) * 3).view(-1, 3)
        return windowed_response(
            preds[groups].flatten(0, 1),
            target[groups].flatten(0, 1),
            preds_rows=rows,
            target_rows=rows,
        )

    whole = found(slice(0, 7))
    for group in range(7):
        alone = found(slice(group, group + 1))
        for name, values in vars(whole).items():
            assert_close(
                getattr(alone, name)[0], values[group], rtol=0, atol=0, equal_nan=True, msg=name
            )
