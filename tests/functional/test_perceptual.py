"""PSNR, MSE and SSIM per frame: oracles, analytic cases, properties, errors."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import piq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor
from torch.nn.functional import interpolate
from torch.testing import assert_close

from wmscore.functional import PSNR_QUANTISATION_DB, mse, psnr, ssim
from wmscore.ops import frame_ssim

Metric = Callable[..., Tensor]
FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def smooth_frames(*shape: int, seed: int = 0) -> Tensor:
    """Frames with structure at several scales, ``uint8`` ``[..., C, H, W]``."""
    generator = torch.Generator().manual_seed(seed)
    *leading, channels, height, width = shape
    count = math.prod(leading)
    frames = torch.zeros(count, channels, height, width)
    for scale in (1, 4, 16):
        coarse = torch.rand(
            count, channels, -(-height // scale), -(-width // scale), generator=generator
        )
        frames += scale * interpolate(coarse, size=(height, width), mode="bilinear")
    frames = frames / frames.amax()
    return (255 * frames).round().to(torch.uint8).view(shape)


def disturbed(frames: Tensor, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = 20 * torch.randn(frames.shape, generator=generator)
    return (0.9 * frames + 8 + noise).clamp(0, 255).round().to(torch.uint8)


def skimage_ssim(preds: Tensor, target: Tensor, value_range: float) -> float:
    return float(
        structural_similarity(
            preds.double().numpy(),
            target.double().numpy(),
            data_range=value_range,
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


# --- MSE and PSNR ---------------------------------------------------------------------------------


def test_psnr_equals_skimage() -> None:
    target = smooth_frames(2, 3, 3, 17, 23)
    preds = disturbed(target)
    for pair, value_range in (((preds, target), 255), ((preds / 255, target / 255), 1.0)):
        oracle = [
            peak_signal_noise_ratio(t.double().numpy(), p.double().numpy(), data_range=value_range)
            for p, t in zip(pair[0].flatten(0, 1), pair[1].flatten(0, 1), strict=True)
        ]
        expected = torch.tensor(oracle, dtype=torch.float64).view(2, 3)
        assert_close(psnr(*pair), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("offset", [0.1, 0.5, 1.0])
def test_constant_offset(offset: float) -> None:
    target = torch.zeros(2, 3, 8, 8, dtype=torch.float64)
    assert_close(
        psnr(target + offset, target),
        torch.full((2,), -20 * math.log10(offset), dtype=torch.float64),
        rtol=0,
        atol=1e-12,
    )
    assert_close(mse(target + offset, target), torch.full((2,), offset**2, dtype=torch.float64))


def test_one_level_of_uint8() -> None:
    target = torch.full((3, 5, 7), 254, dtype=torch.uint8)
    assert float(psnr(target + 1, target)) == pytest.approx(20 * math.log10(255), abs=1e-12)
    assert float(psnr(target + 1, target)) == pytest.approx(48.1308, abs=1e-4)
    assert float(mse(target + 1, target)) == pytest.approx(1 / 255**2, rel=1e-15)


def test_cap_constant() -> None:
    assert pytest.approx(58.92, abs=0.005) == PSNR_QUANTISATION_DB
    assert pytest.approx(-10 * math.log10((1 / 255) ** 2 / 12)) == PSNR_QUANTISATION_DB


def test_uint8_does_not_wrap() -> None:
    preds = torch.tensor([10, 250], dtype=torch.uint8).view(1, 1, 2)
    target = torch.tensor([20, 5], dtype=torch.uint8).view(1, 1, 2)
    assert float(mse(preds, target)) * 2 * 255**2 == pytest.approx(60_125)


@pytest.mark.parametrize("metric", [mse, psnr])
def test_identical_and_nan_frames(metric: Metric) -> None:
    target = smooth_frames(4, 3, 12, 12).float() / 255
    preds = target.clone()
    preds[1] += 0.1
    preds[2, 0, 3, 4] = torch.nan
    values = metric(preds, target)
    perfect = 0.0 if metric is mse else math.inf
    assert values.dtype == torch.float64
    assert values[[0, 3]].tolist() == [perfect, perfect]
    assert math.isfinite(values[1])
    assert math.isnan(values[2])


@pytest.mark.parametrize("dtype", FLOATS)
def test_half_floats_are_widened(dtype: torch.dtype) -> None:
    target = (smooth_frames(2, 3, 16, 16).double() / 255).to(dtype)
    preds = (disturbed(smooth_frames(2, 3, 16, 16)).double() / 255).to(dtype)
    assert_close(psnr(preds, target), psnr(preds.double(), target.double()), rtol=1e-12, atol=0)
    assert_close(
        ssim(preds, target).double(), ssim(preds.double(), target.double()), rtol=0, atol=1e-7
    )


# --- SSIM -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(11, 11), (11, 40), (42, 43), (64, 53), (75, 74)])
@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_equals_skimage(size: tuple[int, int], channels: int) -> None:
    target = smooth_frames(3, channels, *size)
    preds = disturbed(target)
    oracle = [skimage_ssim(p, t, 255) for p, t in zip(preds, target, strict=True)]
    result = ssim(preds, target)
    assert result.dtype == torch.float64
    assert_close(result, torch.tensor(oracle, dtype=torch.float64), rtol=0, atol=5e-7)
    precise = ssim(preds.double() / 255, target.double() / 255)
    assert precise.dtype == torch.float64
    assert_close(precise, torch.tensor(oracle, dtype=torch.float64), rtol=0, atol=1e-12)


def test_ssim_equals_piq() -> None:
    target = smooth_frames(4, 3, 40, 52)
    preds = disturbed(target)
    oracle = piq.ssim(
        preds.double() / 255, target.double() / 255, reduction="none", downsample=False
    )
    assert_close(ssim(preds.double() / 255, target.double() / 255), oracle, rtol=0, atol=1e-12)


def test_ssim_equals_the_definition_window_by_window() -> None:
    """Plain numpy at each of the 2 x 3 places where the window fits."""
    preds, target = disturbed(smooth_frames(1, 12, 13)), smooth_frames(1, 12, 13)
    offset = np.arange(11) - 5
    line = np.exp(-(offset**2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2
    x, y = (frame[0].numpy().astype(np.float64) for frame in (preds, target))
    values = []
    for top in range(2):
        for left in range(3):
            u, v = (f[top : top + 11, left : left + 11] for f in (x, y))
            mu, mv = (window * u).sum(), (window * v).sum()
            uu, vv = (window * (u - mu) ** 2).sum(), (window * (v - mv) ** 2).sum()
            uv = (window * (u - mu) * (v - mv)).sum()
            c1, c2 = 2.55**2, 7.65**2
            values.append(
                (2 * mu * mv + c1) * (2 * uv + c2) / ((mu**2 + mv**2 + c1) * (uu + vv + c2))
            )
    assert float(ssim(preds, target)) == pytest.approx(np.mean(values), abs=1e-7)


@pytest.mark.parametrize("levels", [(255, 255), (255, 254), (0, 255), (128, 127), (3, 250)])
def test_ssim_of_constant_frames(levels: tuple[int, int]) -> None:
    a, b = levels
    preds, target = (torch.full((3, 30, 30), level, dtype=torch.uint8) for level in levels)
    c1 = 2.55**2
    expected = (2 * a * b + c1) / (a**2 + b**2 + c1)
    assert float(ssim(preds, target)) == pytest.approx(expected, abs=1e-7)


def test_ssim_of_a_nearly_flat_bright_frame_does_not_cancel() -> None:
    generator = torch.Generator().manual_seed(0)
    preds, target = (0.9 + 2e-4 * torch.randn(2, 3, 48, 48, generator=generator)).unbind()
    oracle = skimage_ssim(preds, target, 1.0)
    assert float(ssim(preds, target)) == pytest.approx(oracle, abs=1e-7)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_ssim_of_identical_frames_is_exactly_one(dtype: torch.dtype) -> None:
    frames = smooth_frames(5, 3, 37, 50)
    frames = frames if dtype == torch.uint8 else frames / 255
    assert ssim(frames, frames.clone()).tolist() == [1.0] * 5


def test_ssim_ignores_autocast_and_matmul_precision() -> None:
    target = smooth_frames(2, 3, 32, 32) / 255
    preds = disturbed(smooth_frames(2, 3, 32, 32)) / 255
    expected = ssim(preds, target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert ssim(preds, target).equal(expected)


def test_temporaries_are_bounded_without_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The torch function sees a piece at a time, whatever the number of frames."""
    from wmscore.functional import _chunks, similarity

    seen = []

    def watched(preds: Tensor, *others: object) -> Tensor:
        seen.append(preds.numel())
        return frame_ssim.__wrapped__(preds, *others)

    monkeypatch.setattr(_chunks, "has_kernel", lambda name, device: False)
    monkeypatch.setattr(similarity, "frame_ssim", watched)
    frames = smooth_frames(1, 3, 64, 64).expand(64, -1, -1, -1)
    assert ssim(frames, frames).tolist() == [1.0] * 64
    assert len(seen) == 7  # ten frames of 64 x 64 at a time
    assert max(seen) <= 1 << 17


def test_ssim_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    preds, target = torch.rand(2, 1, 2, 12, 13, dtype=torch.float64, generator=generator).unbind()
    assert torch.autograd.gradcheck(lambda x: ssim(x, target), (preds.requires_grad_(),))


# --- all three ------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", [mse, psnr, ssim])
def test_leading_dims_and_batch_independence(metric: Metric) -> None:
    target = smooth_frames(3, 5, 3, 20, 24)
    preds = disturbed(target)
    whole = metric(preds, target)
    assert whole.shape == (3, 5)
    for b in range(3):
        for t in range(5):
            assert_close(
                metric(preds[b, t], target[b, t]),
                whole[b, t],
                rtol=0,
                atol=0,
            )
    order = torch.tensor([2, 0, 1])
    assert metric(preds[order], target[order]).equal(whole[order])
    assert metric(preds[:, 1:], target[:, 1:]).equal(whole[:, 1:])
    last = metric(preds.movedim(2, -1).contiguous().movedim(-1, 2), target)
    assert last.equal(whole)
    assert metric(preds[:, :0], target[:, :0]).shape == (3, 0)


@pytest.mark.parametrize("metric", [mse, psnr, ssim])
def test_uint8_equals_float(metric: Metric) -> None:
    target = smooth_frames(4, 3, 16, 18)
    preds = disturbed(target)
    assert_close(
        metric(preds, target).double(),
        metric(preds.double() / 255, target.double() / 255),
        rtol=1e-7,
        atol=1e-12,
    )
    assert_close(
        metric(preds.double(), target.double(), data_range=255.0),
        metric(preds, target).double(),
        rtol=1e-7,
        atol=1e-12,
    )


@pytest.mark.parametrize("metric", [mse, psnr, ssim])
def test_channel_order_of_one_side_matters_and_a_common_flip_does_not(metric: Metric) -> None:
    target = smooth_frames(1, 3, 20, 20)
    preds = disturbed(target)
    value = float(metric(preds, target))
    flipped = float(metric(preds.flip(-1), target.flip(-1)))
    assert flipped == pytest.approx(value, rel=1e-6)
    assert float(metric(preds.flip(1), target)) != pytest.approx(value, rel=1e-3)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(11, 50), st.integers(11, 50))
def test_symmetric_bounded_and_monotone_in_noise(seed: int, height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(1, height, width, generator=generator, dtype=torch.float64)
    noise = torch.randn(1, height, width, generator=generator, dtype=torch.float64)
    near, far = target + 0.05 * noise, target + 0.2 * noise
    assert float(psnr(near, target)) > float(psnr(far, target))
    assert float(ssim(near, target)) > float(ssim(far, target))
    assert -1 <= float(ssim(far, target)) < 1
    assert_close(ssim(near, far), ssim(far, near), rtol=0, atol=1e-14)
    assert psnr(near, far).equal(psnr(far, near))


@pytest.mark.parametrize("metric", [mse, psnr, ssim])
def test_errors(metric: Metric) -> None:
    frames = torch.zeros(2, 3, 16, 16)
    cases = [
        (TypeError, "preds must be a torch.Tensor, got ndarray", (frames.numpy(), frames)),
        (TypeError, "target must be uint8", (frames, frames.int())),
        (TypeError, "one dtype", (frames, frames.to(torch.uint8))),
        (ValueError, r"one shape .*\(2, 3, 16, 16\) and \(1, 3, 16, 16\)", (frames, frames[:1])),
        (ValueError, r"\[\.\.\., C, H, W\]", (frames[0, 0], frames[0, 0])),
        (ValueError, "at least one pixel", (frames[..., :0], frames[..., :0])),
        (ValueError, "one device", (frames, frames.to("meta"))),
    ]
    for error, message, arguments in cases:
        with pytest.raises(error, match=message):
            metric(*arguments)
    for wrong in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="data_range"):
            metric(frames, frames, data_range=wrong)


def test_ssim_needs_the_whole_window() -> None:
    for size in ((10, 40), (40, 10)):
        frames = torch.zeros(3, *size)
        with pytest.raises(ValueError, match=f"at least 11 x 11 pixels, got {size[0]} x {size[1]}"):
            ssim(frames, frames)
    with pytest.raises(ValueError, match="window"):
        ssim(torch.zeros(3, 16, 16), torch.zeros(3, 16, 16), window="box")  # type: ignore[arg-type]
