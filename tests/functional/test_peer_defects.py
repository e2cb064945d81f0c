"""What fools other tools on pixels does not fool wmscore: one test for each, and the tool shows it.

When the second half of a test fails, a peer has mended its defect: correct docs/pixel-metrics.md.
"""

from __future__ import annotations

import math
import sys
import warnings

import numpy as np
import piq
import pytest
import pytorch_msssim
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d
from torch.testing import assert_close
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure as torchmetrics_ms_ssim,
)
from torchmetrics.functional.image import peak_signal_noise_ratio as torchmetrics_psnr
from torchmetrics.functional.image import structural_similarity_index_measure as torchmetrics_ssim

from wmscore.functional import ms_ssim, mse, psnr, ssim


def textured(*shape: int, seed: int = 0) -> Tensor:
    """Frames with structure at two scales, ``uint8`` ``[N, C, H, W]``."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(shape, generator=generator)
    coarse = avg_pool2d(noise, 9, stride=1, padding=4, count_include_pad=False)
    return (128 + 250 * coarse + 12 * noise).clamp(0, 255).to(torch.uint8)


@pytest.mark.parametrize(("levels", "wrapped"), [(16, 0), (20, 144), (32, 0), (128, 0)])
def test_uint8_arithmetic_that_wraps_hides_an_error(levels: int, wrapped: int) -> None:
    target = torch.full((1, 3, 16, 16), 100, dtype=torch.uint8)
    preds = target + levels
    assert float(mse(preds, target)) * 255**2 == pytest.approx(levels**2)
    assert np.mean((preds.numpy() - target.numpy()) ** 2) == wrapped


def test_an_error_pooled_over_the_batch_hides_the_good_frames() -> None:
    target = torch.zeros(2, 1, 16, 16, dtype=torch.float64)
    preds = target.clone()
    preds[0] += 0.001  # 60 dB
    preds[1] += 0.1  # 20 dB
    assert_close(psnr(preds, target), torch.tensor([60.0, 20.0], dtype=torch.float64))
    pooled = -10 * math.log10((0.001**2 + 0.1**2) / 2)  # 23 dB
    assert float(torchmetrics_psnr(preds, target, data_range=1.0)) == pytest.approx(pooled)


def test_an_epsilon_in_the_error_caps_good_frames() -> None:
    target = torch.full((1, 3, 64, 64), 100, dtype=torch.uint8)
    preds = target.clone()
    preds[0, 0, 0, 0] += 1
    one_level_in_one_value = 20 * math.log10(255) + 10 * math.log10(3 * 64 * 64)  # 89 dB
    assert float(psnr(preds, target)) == pytest.approx(one_level_in_one_value)
    assert float(psnr(target, target)) == math.inf
    assert float(piq.psnr(preds / 255, target / 255)) < 79.6
    assert float(piq.psnr(target / 255, target / 255)) == pytest.approx(80)


def test_a_hidden_downsampling_hides_fine_detail() -> None:
    """Checks of one pixel vanish when 2 x 2 are averaged."""
    row, column = torch.meshgrid(torch.arange(512), torch.arange(512), indexing="ij")
    checks = torch.where((row + column) % 2 == 0, 78, 178).to(torch.uint8).expand(1, 3, -1, -1)
    flat = torch.full_like(checks, 128)
    assert float(ssim(checks, flat)) < 0.03
    assert float(piq.ssim(checks / 255, flat / 255)) == pytest.approx(1, abs=1e-5)


def test_a_range_from_the_data_makes_a_score_depend_on_the_batch() -> None:
    target = textured(2, 1, 32, 32)
    preds = textured(2, 1, 32, 32, seed=1) // 2 + target // 2
    preds[0] //= 8  # a dim frame, then a bright one
    target[0] //= 8
    assert ssim(preds, target)[0].equal(ssim(preds[:1], target[:1])[0])
    pair = preds.double(), target.double()
    alone = torchmetrics_ssim(*(x[:1] for x in pair), reduction="none")
    together = torchmetrics_ssim(*pair, reduction="none")
    assert float(together[0] - alone[0]) > 0.05


def test_a_library_that_is_missing_changes_no_score(monkeypatch: pytest.MonkeyPatch) -> None:
    """A known harness takes the SSIM of the whole frame as one window where skimage is absent."""
    ramp = torch.arange(0, 192, 3, dtype=torch.uint8)  # all that both frames have in common
    preds, target = (textured(1, 1, 64, 64, seed=seed) // 4 + ramp for seed in (0, 1))
    expected = ssim(preds, target)
    for name in ("skimage", "skimage.metrics", "piq", "pytorch_msssim", "torchmetrics", "scipy"):
        monkeypatch.setitem(sys.modules, name, None)
    assert ssim(preds, target).equal(expected)

    x, y = preds.double(), target.double()
    c1, c2 = 2.55**2, 7.65**2
    covariance = ((x - x.mean()) * (y - y.mean())).mean()
    fallback = (2 * x.mean() * y.mean() + c1) * (2 * covariance + c2)
    fallback /= (x.mean() ** 2 + y.mean() ** 2 + c1) * (x.var() + y.var() + c2)
    assert float(fallback - expected) > 0.2


def test_negative_contrast_structure_is_no_nan() -> None:
    target = textured(1, 3, 192, 192)
    negative = 255 - target
    assert float(ms_ssim(negative, target).values) == 0
    pair = negative.double(), target.double()
    assert math.isnan(torchmetrics_ms_ssim(*pair, data_range=255.0, normalize=None))


@pytest.mark.parametrize("side", [11, 64, 128, 160])
def test_ms_ssim_of_small_frames_is_defined(side: int) -> None:
    target = textured(1, 3, side, side)
    preds = target // 2 + textured(1, 3, side, side, seed=1) // 2
    value = ms_ssim(preds, target)
    assert 0 < float(value.values) < 1
    assert value.name == f"ms_ssim_{value.scales}"
    pair = preds.double(), target.double()
    with pytest.raises(AssertionError, match="larger than 160"):
        pytorch_msssim.ms_ssim(*pair, data_range=255)
    with pytest.raises(ValueError, match="at least 161x161"):
        piq.multi_scale_ssim(*pair, data_range=255)
    with pytest.raises(ValueError, match="image height"):
        torchmetrics_ms_ssim(*pair, data_range=255.0)


def test_zeros_averaged_into_odd_sides_are_no_structure() -> None:
    """Flat frames have no contrast at any scale: what is left is luminance at the last one."""
    levels = 40, 200
    preds, target = (torch.full((1, 1, 181, 181), level, dtype=torch.uint8) for level in levels)
    luminance = (2 * 40 * 200 + 2.55**2) / (40**2 + 200**2 + 2.55**2)
    expected = luminance**0.1333
    assert float(ms_ssim(preds, target).values) == pytest.approx(expected, abs=2e-4)
    other = pytorch_msssim.ms_ssim(preds.double(), target.double(), data_range=255)
    assert float(other) < expected - 0.02


def test_half_precision_is_widened_before_anything_is_squared() -> None:
    target = (textured(1, 3, 64, 64) / 255).bfloat16()
    preds = target + (0.05 * torch.randn(target.shape)).bfloat16()
    exact = float(ssim(preds.double(), target.double()))
    assert float(ssim(preds, target)) == pytest.approx(exact, abs=1e-6)
    assert abs(float(pytorch_msssim.ssim(preds, target, data_range=1.0)) - exact) > 0.005


def test_a_strip_that_the_window_does_not_fit_is_refused() -> None:
    preds, target = textured(1, 1, 8, 64), textured(1, 1, 8, 64, seed=1)
    with pytest.raises(ValueError, match="11 x 11 pixels, got 8 x 64"):
        ssim(preds, target)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = pytorch_msssim.ssim(preds.double(), target.double(), data_range=255)
    assert math.isfinite(other)


def test_a_window_that_was_asked_for_is_not_ignored() -> None:
    preds, target = textured(1, 1, 32, 32), textured(1, 1, 32, 32, seed=1)
    other_window = ssim(preds, target, window="uniform")
    assert abs(float(other_window - ssim(preds, target))) > 0.005
    pair = preds.double(), target.double()
    seven, eleven = (
        torchmetrics_ssim(*pair, data_range=255.0, kernel_size=size) for size in (7, 11)
    )
    assert seven.equal(eleven)
