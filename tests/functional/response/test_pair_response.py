"""Action response: analytic cases, a numpy oracle, undefined values, errors."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from wmscore.functional import (
    MIN_RESPONSE,
    PSNR_QUANTISATION_DB,
    Reason,
    controllability,
    counterfactual_response,
    delta_psnr,
    mse,
    psnr,
)


def random_frames(*shape: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    frames = torch.randint(0, 256, (4, *shape), dtype=torch.uint8, generator=generator)
    first, second, third, fourth = frames.unbind()
    return first, second, third, fourth


def response(preds: Tensor, reference: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Float frames around mid-grey whose responses are the two arguments."""
    grey = torch.full_like(preds, 0.5)
    return grey, grey + preds, grey, grey + reference


def orthogonal_pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    first, second = (
        0.1 * torch.randn(2, 5, 3, 8, 9, dtype=torch.float64, generator=generator)
    ).unbind()
    product = (first * second).sum((1, 2, 3), keepdim=True)
    return first, second - first * product / first.square().sum((1, 2, 3), keepdim=True)


@pytest.mark.parametrize("gain", [0.1, 0.5, 1.0, 3.0])
def test_scaled_response(gain: float) -> None:
    reference, _ = orthogonal_pair()
    result = counterfactual_response(*response(gain * reference, reference))
    assert_close(result.cosine, torch.ones(5, dtype=torch.float64), rtol=0, atol=1e-12)
    assert_close(result.gain, torch.full((5,), gain, dtype=torch.float64))
    agreement = 2 * gain / (1 + gain**2)
    assert_close(result.agreement, torch.full((5,), agreement, dtype=torch.float64))
    assert result.reason.tolist() == [Reason.DEFINED] * 5


def test_orthogonal_and_negated_response() -> None:
    first, second = orthogonal_pair()
    result = counterfactual_response(*response(first, second))
    assert_close(result.cosine, torch.zeros(5, dtype=torch.float64), rtol=0, atol=1e-12)
    assert_close(result.agreement, torch.zeros(5, dtype=torch.float64), rtol=0, atol=1e-12)
    result = counterfactual_response(*response(-first, first))
    assert_close(result.cosine, -torch.ones(5, dtype=torch.float64), rtol=0, atol=1e-12)
    assert_close(result.agreement, -torch.ones(5, dtype=torch.float64), rtol=0, atol=1e-12)
    assert_close(result.gain, torch.ones(5, dtype=torch.float64))


def test_the_reference_itself_scores_exactly_one() -> None:
    _, _, target, target_branch = random_frames(4, 3, 11, 7)
    result = counterfactual_response(target, target_branch, target, target_branch)
    for value in (result.cosine, result.gain, result.agreement):
        assert value.tolist() == [1.0] * 4


def test_agreement_is_cosine_times_a_factor_of_gain_and_bounded() -> None:
    result = counterfactual_response(*random_frames(50, 3, 6, 6))
    assert_close(result.agreement, result.cosine * 2 * result.gain / (1 + result.gain**2))
    assert float(result.agreement.abs().max()) <= 1


def test_frozen_model_sits_at_zero() -> None:
    preds, _, target, target_branch = random_frames(3, 3, 8, 8)
    result = counterfactual_response(preds, preds, target, target_branch)
    assert result.agreement.tolist() == [0.0] * 3
    assert result.gain.tolist() == [0.0] * 3
    assert result.cosine.isnan().all()
    assert result.reason.tolist() == [Reason.NO_GENERATED_RESPONSE] * 3


def test_no_reference_response_is_undefined() -> None:
    preds, preds_branch, target, _ = random_frames(2, 3, 8, 8)
    result = counterfactual_response(preds, preds_branch, target, target)
    for value in (result.cosine, result.gain, result.agreement):
        assert value.isnan().all()
    assert result.reason.tolist() == [Reason.NO_RESPONSE] * 2
    frozen = counterfactual_response(preds, preds, target, target, min_response=0.0)
    assert frozen.reason.tolist() == [Reason.NO_RESPONSE] * 2
    assert frozen.agreement.isnan().all()


def test_min_response_is_a_mean_square_in_data_ranges() -> None:
    target = torch.full((1, 3, 20, 20), 100, dtype=torch.uint8)
    branch = target.clone()
    branch.view(-1)[: 1200 // 6] += 1  # mean square: 1/6 of a squared level, the default bound
    at_the_bound = counterfactual_response(target, branch, target, branch)
    assert at_the_bound.reason.tolist() == [Reason.DEFINED]
    branch.view(-1)[0] -= 1
    below = counterfactual_response(target, branch, target, branch)
    assert below.reason.tolist() == [Reason.NO_RESPONSE]
    assert pytest.approx(1 / 6 / 255**2) == MIN_RESPONSE
    strict = counterfactual_response(target, branch, target, branch, min_response=0.01)
    assert strict.reason.tolist() == [Reason.NO_RESPONSE]


def test_float_equals_uint8() -> None:
    frames = random_frames(6, 3, 9, 8)
    exact = counterfactual_response(*frames)
    floats = counterfactual_response(*(frame.double() / 255 for frame in frames))
    levels = counterfactual_response(*(frame.float() for frame in frames), data_range=255)
    for other in (floats, levels):
        for name in ("cosine", "gain", "agreement"):
            assert_close(getattr(other, name), getattr(exact, name), rtol=0, atol=1e-12)
        assert other.reason.equal(exact.reason)


@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_non_finite_frames(which: int, value: float) -> None:
    frames = [frame.float() / 255 for frame in random_frames(2, 3, 6, 6)]
    frames[which][1, 2, 3, 4] = value
    result = counterfactual_response(*frames)
    assert result.reason.tolist() == [Reason.DEFINED, Reason.NON_FINITE]
    assert result.agreement.isnan().tolist() == [False, True]
    assert result.gain.isnan().tolist() == [False, True]


# --- against random actions -----------------------------------------------------------------------


def test_delta_psnr_and_controllability_are_one_quantity() -> None:
    preds, preds_random, target, _ = random_frames(2, 5, 3, 8, 8)
    delta = delta_psnr(preds, preds_random, target)
    share = controllability(preds, preds_random, target)
    assert delta.shape == share.shape == (2, 5)
    assert_close(share, 1 - 10 ** (-delta / 10), rtol=0, atol=1e-12)
    assert_close(delta, psnr(preds, target) - psnr(preds_random, target), rtol=0, atol=0)
    oracle = 1 - mse(preds, target) / mse(preds_random, target)
    assert_close(share, oracle, rtol=0, atol=0)


@pytest.mark.parametrize(("db", "share"), [(1.91, 0.356), (2.07, 0.379), (9.03, 0.875)])
def test_published_delta_psnr(db: float, share: float) -> None:
    target = torch.zeros(1, 8, 8, dtype=torch.float64)
    preds, preds_random = target + 0.1, target + 0.1 * 10 ** (db / 20)
    assert float(delta_psnr(preds, preds_random, target)) == pytest.approx(db)
    assert float(controllability(preds, preds_random, target)) == pytest.approx(share, abs=5e-4)


def test_delta_psnr_of_perfect_frames() -> None:
    target = torch.full((1, 8, 8), 7, dtype=torch.uint8)
    off = target + 10
    assert math.isnan(delta_psnr(target, target, target))
    assert float(delta_psnr(target, off, target)) == math.inf
    assert float(delta_psnr(off, target, target)) == -math.inf
    cap = PSNR_QUANTISATION_DB
    assert float(delta_psnr(target, target, target, cap_db=cap)) == 0.0
    capped = float(delta_psnr(target, off, target, cap_db=cap))
    assert capped == pytest.approx(cap - float(psnr(off, target)))
    assert math.isnan(controllability(target, target, target))
    assert math.isnan(controllability(off, target, target))
    assert float(controllability(target, off, target)) == 1.0
    assert float(controllability(off, off, target)) == 0.0
    assert float(controllability(off + 10, off, target)) == pytest.approx(-3.0)


def test_errors() -> None:
    frames = torch.zeros(2, 3, 4, 4)
    with pytest.raises(ValueError, match="preds and target_branch must have one shape"):
        counterfactual_response(frames, frames, frames, frames[:1])
    with pytest.raises(TypeError, match="preds and preds_branch must have one dtype"):
        counterfactual_response(frames, frames.double(), frames, frames)
    with pytest.raises(ValueError, match="min_response"):
        counterfactual_response(frames, frames, frames, frames, min_response=-1.0)
    with pytest.raises(ValueError, match="cap_db"):
        delta_psnr(frames, frames, frames, cap_db=0.0)
    with pytest.raises(ValueError, match="preds and preds_random"):
        controllability(frames, frames[:1], frames)
