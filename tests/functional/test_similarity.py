"""SSIM with other windows and maps, MS-SSIM: oracles, small frames, gradients, errors."""

from __future__ import annotations

import math

import piq
import pytest
import pytorch_msssim
import torch
from pytorch_msssim.ssim import _ssim
from skimage.metrics import structural_similarity
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad
from torch.testing import assert_close

from wmscore.functional import (
    MS_SSIM_WEIGHTS,
    ms_ssim,
    ms_ssim_scales,
    ssim,
    ssim_map,
)


def pair(*shape: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A smooth target with a blurred, noisy prediction, ``uint8``."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(math.prod(shape[:-3]), *shape[-3:], generator=generator)
    target = torch.nn.functional.avg_pool2d(coarse, 5, stride=1, padding=2)
    target = (target - 0.2) / 0.6
    noise = 0.05 * torch.randn(target.shape, generator=generator)
    preds = torch.nn.functional.avg_pool2d(target, 3, stride=1, padding=1) + noise
    preds, target = ((255 * x).clamp(0, 255).round().to(torch.uint8) for x in (preds, target))
    return preds.view(shape), target.view(shape)


# --- SSIM -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(7, 7), (20, 33), (64, 131)])
def test_uniform_window_equals_skimage(size):
    preds, target = pair(3, 3, *size)
    oracle = [
        structural_similarity(
            p.numpy(), t.numpy(), data_range=255, channel_axis=0, use_sample_covariance=False
        )
        for p, t in zip(preds, target, strict=True)
    ]
    found = ssim(preds, target, window="uniform")
    assert_close(found, torch.tensor(oracle, dtype=torch.float64), rtol=0, atol=1e-7)


@pytest.mark.parametrize("window", ["gaussian", "uniform"])
def test_map_has_the_mean_of_ssim_and_skimages_values(window):
    preds, target = pair(2, 3, 31, 40)
    maps = ssim_map(preds, target, window=window)
    reach = 11 if window == "gaussian" else 7
    assert maps.shape == (2, 32 - reach, 41 - reach)
    assert_close(maps.double().mean((1, 2)), ssim(preds, target, window=window), rtol=0, atol=1e-6)
    _, full = structural_similarity(
        preds[0].double().numpy(),
        target[0].double().numpy(),
        data_range=255,
        channel_axis=0,
        full=True,
        gaussian_weights=window == "gaussian",
        sigma=1.5,
        use_sample_covariance=False,
    )
    edge = reach // 2
    oracle = torch.from_numpy(full).mean(0)[edge:-edge, edge:-edge].float()
    assert_close(maps[0], oracle, rtol=0, atol=1e-6)


def test_map_in_blocks():
    preds, target = pair(2, 2, 3, 31, 40)
    maps = ssim_map(preds, target)
    blocks = ssim_map(preds, target, stride=8)
    assert blocks.shape == (2, 2, 3, 4)
    assert_close(blocks[:, :, 0, 0], maps[..., :8, :8].mean((-1, -2)))
    assert_close(blocks[:, :, 2, 3], maps[..., 16:, 24:].mean((-1, -2)))
    assert ssim_map(preds[:0], target[:0], stride=8).shape == (0, 2, 3, 4)


# --- MS-SSIM --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(176, 192), (256, 256)])
def test_ms_ssim_equals_pytorch_msssim_where_sides_are_even_at_all_scales(size):
    preds, target = pair(2, 3, *size)
    oracle = pytorch_msssim.ms_ssim(
        preds.double(), target.double(), data_range=255, size_average=False
    )
    found = ms_ssim(preds, target)
    assert found.name == "ms_ssim"
    assert found.scales == 5
    assert_close(found.values, oracle, rtol=0, atol=1e-6)
    precise = ms_ssim(preds.double() / 255, target.double() / 255)
    assert_close(precise.values, oracle, rtol=0, atol=2e-6)


def test_ms_ssim_equals_piq():
    preds, target = pair(2, 3, 176, 208)
    oracle = piq.multi_scale_ssim(preds.double() / 255, target.double() / 255, reduction="none")
    assert_close(ms_ssim(preds, target).values, oracle, rtol=0, atol=1e-6)


def by_hand(preds: Tensor, target: Tensor, scales: int) -> Tensor:
    """MS-SSIM from pytorch-msssim's SSIM of frames that are halved here."""
    line = torch.exp(-((torch.arange(11, dtype=torch.float64) - 5) ** 2) / (2 * 1.5**2))
    window = (line / line.sum()).repeat(preds.shape[1], 1, 1, 1)
    weights = torch.tensor(MS_SSIM_WEIGHTS[:scales], dtype=torch.float64)
    values = 1.0
    for scale, weight in enumerate(weights / weights.sum()):
        if scale:
            odd = preds.shape[-1] % 2, preds.shape[-2] % 2
            preds, target = (
                avg_pool2d(pad(x, (0, odd[0], 0, odd[1]), mode="replicate"), 2)
                for x in (preds, target)
            )
        of_ssim, of_cs = _ssim(preds, target, 1.0, window, size_average=False)
        values = values * (of_ssim if scale == scales - 1 else of_cs).relu() ** weight
    return values.mean(1)


@pytest.mark.parametrize(
    ("size", "scales"), [((11, 11), 1), ((20, 64), 1), ((21, 30), 2), ((45, 53), 3), ((90, 81), 4)]
)
def test_small_frames_have_fewer_scales_and_a_name_that_says_so(size, scales):
    preds, target = (x.double() / 255 for x in pair(2, 3, *size))
    found = ms_ssim(preds, target)
    assert (found.scales, found.name) == (scales, f"ms_ssim_{scales}")
    assert_close(found.values, by_hand(preds, target, scales), rtol=0, atol=1e-7)
    if scales == 1:
        assert_close(found.values, ssim(preds, target))


def test_scales_that_fit():
    edges = {10: 0, 11: 1, 20: 1, 21: 2, 40: 2, 41: 3, 80: 3, 81: 4, 160: 4, 161: 5, 4000: 5}
    for side, scales in edges.items():
        assert ms_ssim_scales(side, 5000) == ms_ssim_scales(5000, side) == scales
        if 1 <= scales < 5 and side < 200:  # one more does not fit: the op agrees
            frames = torch.zeros(1, side, side)
            with pytest.raises(ValueError, match=f"ms_ssim with {scales + 1} scales needs frames"):
                ms_ssim(frames, frames, scales=scales + 1)
    assert ms_ssim_scales(0, 9) == 0
    assert [ms_ssim_scales(s, s, window="uniform") for s in (6, 7, 12, 13, 96, 97)] == [
        *(0, 1, 1, 2, 4, 5)
    ]


def test_fewer_scales_on_request():
    preds, target = (x.double() / 255 for x in pair(2, 3, 176, 180))
    found = ms_ssim(preds, target, scales=2)
    assert found.name == "ms_ssim_2"
    assert_close(found.values, by_hand(preds, target, 2), rtol=0, atol=1e-7)


def test_a_negative_is_0_and_its_gradient_is_finite():
    """Contrast-structure below 0 has no real power: not NaN, neither forward nor backward."""
    target = pair(1, 1, 48, 48)[1].double() / 255
    preds = (1 - target).requires_grad_()
    assert float(ssim(preds.detach(), target)) < 0
    found = ms_ssim(preds, target).values
    assert found.tolist() == [0.0]
    (gradient,) = torch.autograd.grad(found.sum(), preds)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_identical_frames_are_1(dtype):
    frames = pair(3, 3, 90, 95)[0].to(dtype) / (1 if dtype == torch.uint8 else 255)
    frames = frames.to(dtype)
    assert ms_ssim(frames, frames.clone()).values.tolist() == [1.0] * 3


def test_a_nan_frame_is_nan_alone():
    preds, target = (x.float() / 255 for x in pair(3, 3, 48, 48))
    preds[1, 2, 30, 30] = torch.nan
    assert ms_ssim(preds, target).values.isnan().tolist() == [False, True, False]
    assert ssim(preds, target).isnan().tolist() == [False, True, False]


def test_a_frame_does_not_see_its_batch():
    preds, target = pair(2, 5, 3, 45, 52)
    whole = ms_ssim(preds, target).values
    assert whole.shape == (2, 5)
    assert ms_ssim(preds[:, 1:], target[:, 1:]).values.equal(whole[:, 1:])
    assert ms_ssim(preds[1, 3], target[1, 3]).values.equal(whole[1, 3])
    assert ms_ssim(preds[:, :0], target[:, :0]).values.shape == (2, 0)


@pytest.mark.parametrize("window", ["gaussian", "uniform"])
def test_gradients(window):
    generator = torch.Generator().manual_seed(0)
    preds, target = torch.rand(2, 1, 2, 24, 23, dtype=torch.float64, generator=generator)
    preds = (0.7 * target + 0.3 * preds).requires_grad_()
    target.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: ssim(x, y, window=window), (preds, target))
    assert torch.autograd.gradcheck(
        lambda x, y: ms_ssim(x, y, window=window).values, (preds, target)
    )


def test_a_training_loss_finds_the_target():
    target = pair(1, 3, 48, 48)[1].float() / 255
    preds = torch.full_like(target, 0.5).requires_grad_()
    optimiser = torch.optim.Adam([preds], lr=0.02)
    for _ in range(150):
        optimiser.zero_grad()
        (1 - ms_ssim(preds, target).values.mean()).backward()
        optimiser.step()
    assert float(ssim(preds.detach(), target)) > 0.9


def test_half_frames_train_too():
    preds, target = (x.to(torch.bfloat16) / 255 for x in pair(2, 3, 24, 24))
    preds.requires_grad_()
    (1 - ssim(preds, target).mean()).backward()
    assert preds.grad is not None
    assert preds.grad.dtype == torch.bfloat16
    exact = preds.detach().double().requires_grad_()
    (1 - ssim(exact, target.double()).mean()).backward()
    assert_close(preds.grad.double(), exact.grad, rtol=0, atol=0.01 * float(exact.grad.abs().max()))


def test_errors():
    frames = torch.zeros(2, 3, 48, 48)
    with pytest.raises(ValueError, match="ms_ssim needs frames of at least 11 x 11 pixels"):
        ms_ssim(frames[..., :9], frames[..., :9])
    with pytest.raises(ValueError, match="scales must be at most 5, got 6"):
        ms_ssim(frames, frames, scales=6)
    with pytest.raises(ValueError, match="scales must be at least 1, got 0"):
        ms_ssim(frames, frames, scales=0)
    with pytest.raises(ValueError, match="window must be one of 'gaussian', 'uniform', got 'hann'"):
        ms_ssim(frames, frames, window="hann")
    with pytest.raises(ValueError, match="stride must be at least 1"):
        ssim_map(frames, frames, stride=0)
