"""Errors inside and outside a region: oracles, analytic cases, properties, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from wmscore.functional import Reason, mse, psnr, region_errors

DTYPES = [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64]


def random_frames(*shape: int, dtype: torch.dtype = torch.uint8, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    frames = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    return frames if dtype == torch.uint8 else (frames.double() / 255).to(dtype)


def random_mask(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.3


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_equals_numpys_masked_mean(dtype: torch.dtype) -> None:
    preds, target, previous = (
        random_frames(2, 3, 3, 17, 23, dtype=dtype, seed=s) for s in range(3)
    )
    previous = previous.where(random_mask(2, 3, 3, 17, 23), target)
    mask = random_mask(2, 3, 17, 23, seed=5)
    threshold = 40 if dtype == torch.uint8 else 0.15
    value_range = 255 if dtype == torch.uint8 else 1
    p, t, q = (x.double().numpy() for x in (preds, target, previous))
    moves = (np.abs(t - q) > threshold).any(-3)
    for some_mask, some_previous, region in (
        (mask, None, mask.numpy()),
        (None, previous, moves),
        (mask, previous, mask.numpy() & moves),
    ):
        options = {"threshold": threshold} if some_previous is not None else {}
        errors = region_errors(preds, target, mask=some_mask, previous=some_previous, **options)
        for side, chosen in ((errors.inside, region), (errors.outside, ~region)):
            where = np.broadcast_to(chosen[:, :, None], p.shape)
            expected = np.mean((p - t) ** 2, axis=(2, 3, 4), where=where) / value_range**2
            assert_close(side.mse, torch.from_numpy(expected), rtol=1e-12, atol=0)
            assert_close(side.psnr, torch.from_numpy(-10 * np.log10(expected)), rtol=1e-12, atol=0)
            assert side.pixels.tolist() == chosen.sum((-1, -2)).tolist()
            assert side.reason.eq(Reason.DEFINED).all()
        assert_close(errors.share, torch.from_numpy(region.mean((-1, -2))))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_both_sides_weighted_are_the_frame(dtype: torch.dtype) -> None:
    preds, target = (random_frames(4, 3, 16, 18, dtype=dtype, seed=s) for s in range(2))
    errors = region_errors(preds, target, mask=random_mask(4, 16, 18))
    weighted = errors.share * errors.inside.mse + (1 - errors.share) * errors.outside.mse
    assert_close(weighted, mse(preds, target), rtol=1e-12, atol=0)
    whole = torch.ones(16, 18, dtype=torch.bool)
    assert_close(mse(preds, target, mask=whole), mse(preds, target), rtol=1e-12, atol=0)


def test_masked_mse_and_psnr_are_the_inside() -> None:
    preds, target = (random_frames(4, 3, 16, 18, seed=s) for s in range(2))
    mask = random_mask(4, 16, 18)
    inside = region_errors(preds, target, mask=mask).inside
    assert mse(preds, target, mask=mask).equal(inside.mse)
    assert psnr(preds, target, mask=mask).equal(inside.psnr)
    scaled = mse(preds.float(), target.float(), mask=mask, data_range=255.0)
    assert_close(scaled, inside.mse, rtol=1e-12, atol=0)


def test_a_static_background_does_not_hide_what_moves() -> None:
    """A square walks; the frozen model is right wherever nothing moves, and nowhere else."""
    frames = torch.full((1, 5, 3, 64, 64), 90, dtype=torch.uint8)
    for step in range(5):
        frames[0, step, :, 8:16, 8 * step : 8 * step + 8] = 190
    target, previous = frames[:, 1:], frames[:, :-1]
    frozen = frames[:, :1].expand_as(target)
    errors = region_errors(frozen, target, previous=previous)
    assert errors.inside.pixels.tolist() == [[128] * 4]  # the square's old and its new place
    assert_close(errors.share, torch.full((1, 4), 128 / 4096, dtype=torch.float64))
    # First step: wrong at both places. Later: at the new place, and right where it left.
    expected = torch.tensor([[1.0, 0.5, 0.5, 0.5]], dtype=torch.float64) * (100 / 255) ** 2
    assert_close(errors.inside.mse, expected, rtol=1e-14, atol=0)
    assert (psnr(frozen, target) > errors.inside.psnr + 11).all()
    # The true model of the same frames.
    assert region_errors(target, target, previous=previous).inside.psnr.tolist() == [[math.inf] * 4]


def test_undefined_sides_say_why() -> None:
    target = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    preds = target + 0.5
    mask = torch.zeros(4, 8, 8, dtype=torch.bool)
    mask[1:, :4] = True
    mask[2] = True
    preds[3, 0, 6, 6] = math.nan
    errors = region_errors(preds, target, mask=mask)
    assert errors.inside.reason.tolist() == [Reason.NO_REGION, 0, 0, 0]
    assert errors.outside.reason.tolist() == [0, 0, Reason.NO_REGION, Reason.NON_FINITE]
    assert errors.inside.reason.dtype == torch.uint8
    for side in (errors.inside, errors.outside):
        assert side.mse.isnan().equal(side.reason != 0)
        assert side.psnr.isnan().equal(side.reason != 0)
    assert errors.share.tolist() == [0, 0.5, 1, 0.5]
    assert mse(preds, target, mask=mask).isnan().tolist() == [True, False, False, False]


def test_the_mask_broadcasts() -> None:
    preds, target = (random_frames(2, 4, 3, 9, 11, seed=s) for s in range(2))
    for shape in ((9, 11), (4, 9, 11), (2, 1, 9, 11), (1, 11), (9, 1)):
        mask = random_mask(*shape)
        expected = region_errors(preds, target, mask=mask.expand(2, 4, 9, 11).contiguous())
        actual = region_errors(preds, target, mask=mask)
        assert_close(actual.inside.mse, expected.inside.mse, rtol=0, atol=0, equal_nan=True)
        assert actual.outside.pixels.equal(expected.outside.pixels)


def test_leading_dims_and_batch_independence() -> None:
    preds, target, previous = (random_frames(3, 5, 3, 20, 24, seed=s) for s in range(3))
    mask = random_mask(3, 5, 20, 24)
    whole = region_errors(preds, target, mask=mask, previous=previous, threshold=80)
    assert whole.share.shape == whole.inside.mse.shape == whole.outside.reason.shape == (3, 5)
    alone = region_errors(
        preds[1, 2], target[1, 2], mask=mask[1, 2], previous=previous[1, 2], threshold=80
    )
    assert alone.inside.mse.equal(whole.inside.mse[1, 2])
    assert alone.share.equal(whole.share[1, 2])
    later = region_errors(
        preds[:, 1:], target[:, 1:], mask=mask[:, 1:], previous=previous[:, 1:], threshold=80
    )
    assert later.outside.psnr.equal(whole.outside.psnr[:, 1:])
    last = (x.movedim(2, -1).contiguous().movedim(-1, 2) for x in (preds, target))
    interleaved = region_errors(*last, mask=mask, previous=previous, threshold=80)
    assert interleaved.inside.mse.equal(whole.inside.mse)
    empty = region_errors(preds[:, :0], target[:, :0], previous=previous[:, :0])
    assert empty.inside.psnr.shape == empty.outside.pixels.shape == empty.share.shape == (3, 0)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 40), st.integers(0, 255))
def test_regions_nest(seed: int, height: int, width: int, threshold: int) -> None:
    """A higher threshold and a mask only take pixels away; the complement swaps the sides."""
    target, previous, preds = (random_frames(1, 3, height, width, seed=seed + s) for s in range(3))
    mask = random_mask(1, height, width, seed=seed)
    low = region_errors(preds, target, previous=previous, threshold=threshold)
    high = region_errors(preds, target, previous=previous, threshold=threshold + 1)
    both = region_errors(preds, target, mask=mask, previous=previous, threshold=threshold)
    assert high.inside.pixels <= low.inside.pixels
    assert both.inside.pixels <= low.inside.pixels
    masked, rest = (region_errors(preds, target, mask=m) for m in (mask, ~mask))
    assert_close(masked.inside.mse, rest.outside.mse, rtol=0, atol=0, equal_nan=True)
    assert masked.inside.reason.equal(rest.outside.reason)


def test_errors() -> None:
    frames = torch.zeros(2, 3, 16, 18)
    mask = torch.ones(2, 16, 18, dtype=torch.bool)
    cases = [
        (ValueError, "needs a mask, previous frames or both, got neither", {}),
        (TypeError, "mask must be bool, got torch.float32", {"mask": mask.float()}),
        (
            ValueError,
            r"mask must have a shape that broadcasts to \(2, 16, 18\), got \(2, 1, 16, 18\)",
            {"mask": mask[:, None]},
        ),
        (ValueError, "mask must be on cpu like the frames, got meta", {"mask": mask.to("meta")}),
        (ValueError, r"preds and previous must have one shape", {"previous": frames[:1]}),
        (TypeError, "preds and previous must have one dtype", {"previous": frames.double()}),
        (ValueError, "threshold must be", {"previous": frames, "threshold": -0.5}),
        (ValueError, r"threshold 0\.5 needs previous", {"mask": mask, "threshold": 0.5}),
        (ValueError, "data_range", {"mask": mask, "data_range": 0.0}),
    ]
    for error, message, options in cases:
        with pytest.raises(error, match=message):
            region_errors(frames, frames, **options)
        empty = frames[:0]
        if not options:
            with pytest.raises(error, match=message):
                region_errors(empty, empty)
    for metric in (mse, psnr):
        with pytest.raises(TypeError, match="mask must be bool"):
            metric(frames, frames, mask=mask.int())
