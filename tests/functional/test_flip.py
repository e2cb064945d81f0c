"""FLIP per frame: the authors' package as oracle, what it is for, properties, errors."""

from __future__ import annotations

import math

import flip_evaluator
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.data import astronaut
from torch import Tensor
from torch.testing import assert_close

from wmscore.functional import FLIP_PIXELS_PER_DEGREE, flip, flip_map, psnr, ssim
from wmscore.metrics import FLIP


def reference(
    preds: Tensor, target: Tensor, pixels_per_degree: float | None = None
) -> tuple[Tensor, float]:
    """Map ``[H, W]`` and mean of flip-evaluator for frames ``[3, H, W]``."""
    images = [
        np.ascontiguousarray(
            (frame.float() / (255 if frame.dtype == torch.uint8 else 1)).movedim(0, -1).numpy()
        )
        for frame in (target, preds)
    ]
    parameters = {} if pixels_per_degree is None else {"ppd": pixels_per_degree}
    errors, mean, _ = flip_evaluator.evaluate(
        *images, "LDR", applyMagma=False, parameters=parameters
    )
    return torch.from_numpy(np.asarray(errors)[..., 0].copy()), mean


def photograph(height: int, width: int) -> Tensor:
    return torch.from_numpy(astronaut()).movedim(-1, 0)[:, 40 : 40 + height, 150 : 150 + width]


def noisy(frames: Tensor, deviation: float, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = deviation * torch.randn(frames.shape, generator=generator)
    return (frames + noise).round().clamp(0, 255).to(torch.uint8)


def brighter(frames: Tensor, gain: float) -> Tensor:
    return (gain * frames.double()).round().clamp(0, 255).to(torch.uint8)


# --- flip-evaluator -------------------------------------------------------------------------------


@pytest.mark.parametrize("pixels_per_degree", [20.0, 40.0, 67.0, 100.0])
@pytest.mark.parametrize(
    ("height", "width"), [(16, 16), (5, 9), (1, 30), (30, 1), (64, 64), (48, 200), (128, 128)]
)
def test_equals_flip_evaluator(height: int, width: int, pixels_per_degree: float) -> None:
    target = photograph(height, width)
    generator = torch.Generator().manual_seed(height)
    cases = [
        noisy(target, 12),
        brighter(target, 1.15),
        target.flip(0),  # blue for red
        target.roll(1, -1),
        torch.randint(0, 256, target.shape, dtype=torch.uint8, generator=generator),
    ]
    actual = flip(
        torch.stack(cases), target.expand(5, -1, -1, -1), pixels_per_degree=pixels_per_degree
    )
    for value, preds in zip(actual.tolist(), cases, strict=True):
        errors, mean = reference(preds, target, pixels_per_degree)
        assert value == pytest.approx(errors.double().mean().item(), abs=5e-6)
        assert value == pytest.approx(mean, abs=2e-5)  # it adds up float32


def test_map_equals_flip_evaluator() -> None:
    target = photograph(60, 80)
    for preds in (noisy(target, 20), brighter(target, 0.8)):
        errors, _ = reference(preds, target)
        assert_close(flip_map(preds, target), errors, rtol=0, atol=3e-5)


def test_flat_frames_equal_flip_evaluator() -> None:
    """Where nothing but rounding is left of the features, whose root it takes."""
    black, white = torch.zeros(3, 16, 16), torch.ones(3, 16, 16)
    for preds, target in ((black, white), (white, black), (0.3 * white, 0.32 * white)):
        assert float(flip(preds, target)) == pytest.approx(reference(preds, target)[1], abs=3e-5)
    assert float(flip(black, white)) == pytest.approx(0.96738, abs=5e-6)


def test_default_is_that_of_flip_evaluator() -> None:
    target = photograph(32, 32)
    preds = noisy(target, 12)
    expected = flip_evaluator.evaluate(
        *[
            np.ascontiguousarray(x.movedim(0, -1).numpy() / np.float32(255))
            for x in (target, preds)
        ],
        "LDR",
    )[2]["ppd"]
    assert pytest.approx(expected, rel=1e-6) == FLIP_PIXELS_PER_DEGREE
    assert FLIP_PIXELS_PER_DEGREE == pytest.approx(67.02064, abs=1e-5)
    assert flip(preds, target).equal(flip(preds, target, pixels_per_degree=FLIP_PIXELS_PER_DEGREE))


def test_out_of_range_floats_are_clamped_like_those_of_flip_evaluator() -> None:
    target = photograph(24, 24).float() / 255
    preds = target + 0.5 * torch.randn(target.shape, generator=torch.Generator().manual_seed(0))
    assert float(flip(preds, target)) == pytest.approx(reference(preds, target)[1], abs=5e-6)
    assert flip(preds, target).equal(flip(preds.clamp(0, 1), target))


# --- what it is for -------------------------------------------------------------------------------


@pytest.mark.parametrize("gain", [0.85, 0.93, 1.1])
def test_exposure_counts_more_than_noise_of_the_same_psnr(gain: float) -> None:
    target = photograph(96, 96)
    exposed = brighter(target, gain)
    level = float(psnr(exposed, target))
    noise = noisy(target, 255 * 10 ** (-level / 20))
    assert float(psnr(noise, target)) == pytest.approx(level, abs=1.5)
    assert float(flip(exposed, target)) > 1.5 * float(flip(noise, target))
    assert float(ssim(exposed, target)) > float(ssim(noise, target))  # which says the opposite


def test_a_change_of_colour_counts_where_luma_stays() -> None:
    target = photograph(96, 96)
    luma = (target * torch.tensor([0.2126, 0.7152, 0.0722]).view(3, 1, 1)).sum(0)
    values = [
        float(
            flip(torch.lerp(target.float(), luma.expand(3, -1, -1), share).to(torch.uint8), target)
        )
        for share in (0.25, 0.5, 1.0)
    ]
    assert values == sorted(values)
    assert values[0] > 0.05
    assert values[2] > 0.15


@pytest.mark.parametrize("change", ["noise", "exposure"])
def test_grows_with_severity(change: str) -> None:
    target = photograph(64, 64)
    values = [
        float(
            flip(noisy(target, x) if change == "noise" else brighter(target, 1 - x / 100), target)
        )
        for x in (2, 5, 10, 20, 40)
    ]
    assert values == sorted(values)
    assert len(set(values)) == 5


# --- properties -----------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 40), st.floats(1, 200))
def test_bounded_symmetric_and_zero_for_the_same(
    seed: int, height: int, width: int, pixels_per_degree: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    preds, target = torch.rand(2, 3, height, width, generator=generator)
    value = flip(preds, target, pixels_per_degree=pixels_per_degree)
    assert 0 < float(value) <= 1
    assert flip(target, preds, pixels_per_degree=pixels_per_degree).equal(value)
    assert float(flip(preds, preds.clone(), pixels_per_degree=pixels_per_degree)) == 0


def test_mean_of_the_map() -> None:
    target = torch.stack([photograph(40, 50), photograph(40, 50).flip(-1)])
    preds = noisy(target, 15)
    errors = flip_map(preds, target)
    assert errors.shape == (2, 40, 50)
    assert errors.dtype == torch.float32
    assert_close(errors.double().mean((1, 2)), flip(preds, target), rtol=0, atol=1e-6)
    assert not flip_map(preds.float().div(255).requires_grad_(), target / 255).requires_grad


def test_leading_dims_pieces_and_layouts() -> None:
    target = photograph(24, 30).expand(3, 5, -1, -1, -1)
    preds = noisy(target, 10)
    whole, errors = flip(preds, target), flip_map(preds, target)
    assert whole.shape == (3, 5)
    assert errors.shape == (3, 5, 24, 30)
    for b in range(3):
        for t in range(5):
            assert flip(preds[b, t], target[b, t]).equal(whole[b, t])
            assert_close(flip_map(preds[b, t], target[b, t]), errors[b, t], rtol=0, atol=1e-6)
    assert flip(preds[:, 1:], target[:, 1:]).equal(whole[:, 1:])
    assert flip(preds.movedim(2, -1).contiguous().movedim(-1, 2), target).equal(whole)
    assert flip(preds[:, :0], target[:, :0]).shape == (3, 0)
    assert flip_map(preds[:, :0], target[:, :0]).shape == (3, 0, 24, 30)
    assert_close(flip(preds / 255, target / 255), whole, rtol=0, atol=5e-6)


def test_more_frames_than_a_piece_holds() -> None:
    target = photograph(64, 64).expand(400, -1, -1, -1)  # 4.9 MB
    preds = target.clone()
    preds[123] = 0
    values = flip(preds, target)
    assert values.nonzero().flatten().tolist() == [123]
    assert values[123].equal(flip(preds[123], target[123]))


def test_nan() -> None:
    target = torch.rand(3, 3, 12, 12)
    preds = target.clone()
    preds[1, 2, 3, 4] = math.nan
    assert flip(preds, target).isnan().tolist() == [False, True, False]
    assert flip_map(preds, target).isnan().any((1, 2)).tolist() == [False, True, False]


@pytest.mark.parametrize("function", [flip, flip_map])
def test_errors(function) -> None:
    frames = torch.zeros(2, 3, 16, 16)
    cases = [
        (TypeError, r"preds must be a torch\.Tensor, got ndarray", (frames.numpy(), frames)),
        (TypeError, "one dtype", (frames, frames.to(torch.uint8))),
        (ValueError, "one shape", (frames, frames[:1])),
        (ValueError, r"3 channels .*got \(2, 1, 16, 16\)", (frames[:, :1], frames[:, :1])),
        (ValueError, r"3 channels .*got \(0, 1, 16, 16\)", (frames[:0, :1], frames[:0, :1])),
        (ValueError, "at least one pixel", (frames[..., :0], frames[..., :0])),
    ]
    for error, message, arguments in cases:
        with pytest.raises(error, match=message):
            function(*arguments)
    for wrong in (0.5, 300, math.nan, math.inf):
        with pytest.raises(ValueError, match="pixels_per_degree must be a number at least 1"):
            function(frames, frames, pixels_per_degree=wrong)
    with pytest.raises(TypeError, match="pixels_per_degree must be a number, got str"):
        function(frames, frames, pixels_per_degree="67")


def test_a_gradient_is_refused() -> None:
    frames = torch.rand(1, 3, 8, 8, requires_grad=True)
    with pytest.raises(RuntimeError, match="frame_flip has no gradient"):
        flip(frames, frames.detach())


# --- the class ------------------------------------------------------------------------------------


def test_class_and_function_agree_in_pieces() -> None:
    target = photograph(20, 24).expand(6, -1, -1, -1)
    preds = noisy(target, 10)
    for pixels_per_degree in (FLIP_PIXELS_PER_DEGREE, 30.0):
        door = FLIP(pixels_per_degree=pixels_per_degree)
        for piece in (slice(0, 1), slice(1, 4), slice(4, 6)):
            door.update(preds[piece], target[piece])
        whole = flip(preds, target, pixels_per_degree=pixels_per_degree)
        assert door.compute().equal(whole)
        mean = FLIP(pixels_per_degree=pixels_per_degree, reduction="mean")
        mean.update(preds, target)
        assert_close(mean.compute(), whole.mean())
    assert FLIP.higher_is_better is False
    with pytest.raises(ValueError, match="pixels_per_degree must be"):
        FLIP(pixels_per_degree=0)
