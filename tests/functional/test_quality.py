"""Quality of frames without a reference: oracles, analytic cases, properties, errors."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.color import rgb2hsv
from skimage.measure import blur_effect
from torch import Tensor
from torch.nn.functional import interpolate
from torch.testing import assert_close

from wmscore import ops
from wmscore.functional import FrameQuality, Reason, frame_quality, quality, rollout_quality

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
VALUES = [field.name for field in dataclasses.fields(FrameQuality) if field.name != "reason"]


def scenes(*shape: int, seed: int = 0) -> Tensor:
    """Frames with structure at several scales, ``uint8`` ``[..., C, H, W]``."""
    generator = torch.Generator().manual_seed(seed)
    *leading, channels, height, width = shape
    count = math.prod(leading)
    frames = torch.zeros(count, channels, height, width)
    for scale in (1, 4, 16):
        size = (-(-height // scale), -(-width // scale))
        coarse = torch.rand(count, channels, *size, generator=generator)
        frames += scale * interpolate(coarse, size=(height, width), mode="bilinear")
    return (255 * frames / frames.amax()).round().to(torch.uint8).view(shape)


def pure(red: float, green: float, blue: float, side: int = 16) -> Tensor:
    """A frame of one colour, float64 ``[3, side, side]``."""
    colour = torch.tensor([red, green, blue], dtype=torch.float64)
    return colour.view(3, 1, 1).expand(3, side, side)


def oracle(frame: np.ndarray, previous: np.ndarray) -> dict[str, float | list[float]]:
    """All values of a frame ``[3, H, W]`` in 0..1, by numpy and scipy."""
    red, green, blue = frame
    luma = (77 * red + 150 * green + 29 * blue) / 256
    across, down = np.diff(luma, axis=1), np.diff(luma, axis=0)
    steps = np.concatenate([across.ravel(), down.ravel()])
    at_border = np.concatenate(
        [
            np.broadcast_to(np.arange(across.shape[1]) % 8 == 7, across.shape).ravel(),
            np.broadcast_to((np.arange(down.shape[0]) % 8 == 7)[:, None], down.shape).ravel(),
        ]
    )
    rg, yb = red - green, (red + green) / 2 - blue
    chroma = rgb2hsv(frame, channel_axis=0)[1] * frame.max(0)  # HSV's saturation times its value
    return {
        "brightness": luma.mean(),
        "contrast": luma.std(),
        "channel_mean": frame.mean((1, 2)).tolist(),
        "channel_variance": frame.var((1, 2)).tolist(),
        "saturation": chroma.mean(),
        "colourfulness": np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()),
        "clipped_low": (frame <= 0).mean(),
        "clipped_high": (frame >= 1).mean(),
        "sharpness_gradient": (steps**2).mean(),
        "sharpness_laplacian": (ndimage.laplace(luma)[1:-1, 1:-1] ** 2).mean(),
        "blockiness": np.abs(steps[at_border]).mean() - np.abs(steps[~at_border]).mean(),
        "change": np.abs(frame - previous).mean(),
        "change_squared": ((frame - previous) ** 2).mean(),
    }


@pytest.mark.parametrize("dtype", [torch.uint8, *FLOATS], ids=str)
def test_equals_numpy_and_scipy(dtype: torch.dtype) -> None:
    frames = scenes(4, 3, 25, 38)
    frames[:, :, 3:6, 5:9] = 0
    frames[:, 1, 10:12] = 255
    if dtype != torch.uint8:
        frames = (frames.double() / 255).to(dtype)
    previous = frames.flip(0)
    result = frame_quality(frames, previous=previous)
    top = 255 if dtype == torch.uint8 else 1
    for n in range(len(frames)):
        pair = [(x[n].double() / top).numpy() for x in (frames, previous)]
        for name, expected in oracle(*pair).items():
            value = getattr(result, name)[n]
            assert value.dtype == torch.float64
            assert value.tolist() == pytest.approx(expected, rel=1e-9, abs=1e-13), name
            assert int(result.reason[name][n]) == Reason.DEFINED
    assert list(result.reason) == VALUES


def test_uint8_equals_its_float() -> None:
    frames = scenes(2, 3, 3, 20, 24)
    exact = frame_quality(frames, previous=frames.flip(0))
    floats = frame_quality(frames.double() / 255, previous=frames.flip(0).double() / 255)
    for name in VALUES:
        assert_close(getattr(exact, name), getattr(floats, name), rtol=1e-10, atol=1e-14)


# --- Frames whose quality is known ----------------------------------------------------------------


@pytest.mark.parametrize("value", [0, 1, 128, 255])
def test_a_constant_frame_has_no_contrast_to_the_last_bit(value: int) -> None:
    result = frame_quality(torch.full((3, 100, 103), value, dtype=torch.uint8))
    for name in ("contrast", "saturation", "colourfulness", "sharpness_gradient", "blockiness"):
        assert float(getattr(result, name)) == 0, name
    assert float(result.sharpness_laplacian) == 0
    assert result.channel_variance.tolist() == [0, 0, 0]
    assert float(result.brightness) == pytest.approx(value / 255, rel=1e-15)
    assert float(result.clipped_low) == (value == 0)
    assert float(result.clipped_high) == (value == 255)


def test_a_tiny_variance_does_not_cancel() -> None:
    """One pixel of 10^6 is one level brighter: E[x²] - E[x]² would keep three digits of it."""
    frame = torch.full((1, 1000, 1000), 254, dtype=torch.uint8)
    frame[0, 500, 500] = 255
    share = 1e-6
    expected = math.sqrt(share * (1 - share)) / 255
    assert float(frame_quality(frame).contrast) == pytest.approx(expected, rel=1e-14)


def test_checkerboard() -> None:
    y, x = torch.meshgrid(torch.arange(32), torch.arange(40), indexing="ij")
    board = ((x + y) % 2 * 255).to(torch.uint8).expand(3, -1, -1)
    result = frame_quality(board, previous=255 - board)
    assert float(result.sharpness_gradient) == 1
    assert float(result.sharpness_laplacian) == 16
    assert float(result.contrast) == pytest.approx(0.5, rel=1e-15)
    assert float(result.clipped_low) == float(result.clipped_high) == 0.5
    assert float(result.blockiness) == 0  # all steps are alike
    assert float(result.change) == float(result.change_squared) == 1


def test_ramp() -> None:
    ramp = torch.arange(256, dtype=torch.uint8).expand(3, 40, 256)
    result = frame_quality(ramp)
    steps = 40 * 255 + 39 * 256
    assert float(result.sharpness_gradient) == pytest.approx(40 * 255 / 255**2 / steps)
    assert float(result.sharpness_laplacian) == 0
    assert float(result.contrast) == pytest.approx(math.sqrt((256**2 - 1) / 12) / 255)


@pytest.mark.parametrize(
    ("colour", "luma"),
    [((1.0, 0.0, 0.0), 77 / 256), ((0.0, 1.0, 0.0), 150 / 256), ((0.0, 0.0, 1.0), 29 / 256)],
)
def test_pure_colours(colour: tuple[float, float, float], luma: float) -> None:
    result = frame_quality(pure(*colour))
    assert float(result.brightness) == pytest.approx(luma)
    assert float(result.saturation) == 1
    red, green, blue = colour
    expected = 0.3 * math.hypot(red - green, (red + green) / 2 - blue)
    assert float(result.colourfulness) == pytest.approx(expected)
    assert float(result.clipped_low) == pytest.approx(2 / 3)
    assert float(result.clipped_high) == pytest.approx(1 / 3)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
def test_grey_has_no_colour_and_equals_one_channel(dtype: torch.dtype) -> None:
    grey = scenes(3, 1, 30, 33)
    grey = grey if dtype == torch.uint8 else grey.to(dtype) / 255
    one = frame_quality(grey, previous=grey.flip(0))
    three = frame_quality(grey.expand(-1, 3, -1, -1), previous=grey.flip(0).expand(-1, 3, -1, -1))
    assert one.saturation.tolist() == one.colourfulness.tolist() == [0, 0, 0]
    for name in VALUES:
        values = getattr(three, name)
        values = values[:, :1] if name.startswith("channel") else values
        assert_close(getattr(one, name), values, rtol=1e-14, atol=0)


def test_a_grid_of_constant_blocks_is_blocky_and_its_shift_is_not() -> None:
    blocks = scenes(3, 6, 7).repeat_interleave(8, -1).repeat_interleave(8, -2)
    assert float(frame_quality(blocks).blockiness) > 0.01
    assert float(frame_quality(blocks[:, 4:, 4:]).blockiness) < 0


# --- What the values are for ----------------------------------------------------------------------


def curve(frames: list[Tensor], name: str, previous: Tensor | None = None) -> list[float]:
    before = None if previous is None else previous.expand(len(frames), -1, -1, -1)
    values: list[float] = getattr(
        frame_quality(torch.stack(frames), previous=before), name
    ).tolist()
    return values


def increases(values: list[float]) -> bool:
    return all(left < right for left, right in pairwise(values))


seeds = given(st.integers(0, 10_000))
few = settings(max_examples=15, deadline=None)


@few
@seeds
def test_blur_lowers_sharpness(seed: int) -> None:
    frame = scenes(3, 48, 40, seed=seed).double().numpy() / 255
    blurred = [
        torch.from_numpy(ndimage.gaussian_filter(frame, (0, sigma, sigma)))
        for sigma in (4.0, 2.0, 1.0, 0.5, 0.0)
    ]
    assert increases(curve(blurred, "sharpness_gradient"))
    assert increases(curve(blurred, "sharpness_laplacian"))
    other = [blur_effect(x.numpy(), channel_axis=0) for x in blurred]  # 1 = most blurred
    assert increases([-value for value in other])


@few
@seeds
def test_desaturation_lowers_colour_and_keeps_luma(seed: int) -> None:
    frame = scenes(3, 20, 30, seed=seed).double() / 255
    luma = (77 * frame[0] + 150 * frame[1] + 29 * frame[2]) / 256
    shades = [luma + share * (frame - luma) for share in (0.0, 0.3, 0.6, 1.0)]
    for name in ("saturation", "colourfulness"):
        assert increases(curve(shades, name)), name
    for name in ("brightness", "contrast", "sharpness_gradient"):
        values = curve(shades, name)
        assert values == pytest.approx([values[0]] * 4, rel=1e-9)


@few
@seeds
def test_exposure_clips(seed: int) -> None:
    frame = scenes(3, 20, 30, seed=seed).double() / 255
    bright = [(gain * frame).clamp(0, 1) for gain in (1.0, 1.5, 2.0, 4.0, 50.0)]
    dark = [(frame - offset).clamp(0, 1) for offset in (0.0, 0.2, 0.4, 0.6, 0.8)]
    for name, exposures in (("clipped_high", bright), ("clipped_low", dark)):
        values = curve(exposures, name)
        assert values == sorted(values)
        assert values[0] < 0.01
        assert values[-1] > 0.5


@few
@seeds
def test_less_contrast_lowers_contrast_and_sharpness(seed: int) -> None:
    frame = scenes(3, 20, 30, seed=seed).double() / 255
    washed = [0.5 + share * (frame - 0.5) for share in (0.1, 0.4, 0.7, 1.0)]
    for name in ("contrast", "sharpness_gradient", "sharpness_laplacian"):
        assert increases(curve(washed, name)), name
    ratio = np.array(curve(washed, "contrast")) / np.array([0.1, 0.4, 0.7, 1.0])
    assert ratio == pytest.approx(ratio[0], rel=1e-9)


@few
@seeds
def test_averaged_blocks_raise_blockiness(seed: int) -> None:
    frame = scenes(3, 48, 64, seed=seed).double() / 255
    means = torch.nn.functional.avg_pool2d(frame[None], 8)[0]
    blocks = means.repeat_interleave(8, -1).repeat_interleave(8, -2)
    mixed = [frame + share * (blocks - frame) for share in (0.0, 0.3, 0.6, 1.0)]
    assert increases(curve(mixed, "blockiness"))


@few
@seeds
def test_change_of_frozen_and_of_drifting_frames(seed: int) -> None:
    frame = scenes(3, 20, 30, seed=seed).double() / 255
    other = scenes(3, 20, 30, seed=seed + 1).double() / 255
    moved = [frame + share * (other - frame) for share in (0.0, 0.2, 0.5, 1.0)]
    for name in ("change", "change_squared"):
        values = curve(moved, name, previous=frame)
        assert values[0] == 0
        assert increases(values)


# --- Rollouts -------------------------------------------------------------------------------------


def same(left: FrameQuality, right: FrameQuality) -> bool:
    return all(
        torch.equal(getattr(left, name).nan_to_num(-1), getattr(right, name).nan_to_num(-1))
        and torch.equal(left.reason[name], right.reason[name])
        for name in VALUES
    )


@pytest.mark.parametrize("size", [1, 3, 4, 100])
def test_a_rollout_is_its_steps_with_the_frames_before(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(quality, "call_frames", lambda op, *frames: size)
    frames = scenes(3, 6, 3, 20, 24)
    layouts: list[Callable[[Tensor], Tensor]] = [
        lambda x: x,
        lambda x: torch.cat([x, x], 1)[:, :6],  # not one run
        lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
        lambda x: x.movedim(2, -1).contiguous().movedim(-1, 2),
    ]
    expected = frame_quality(frames[:, 1:], previous=frames[:, :-1])
    assert expected.change.shape == (3, 5)
    assert expected.channel_mean.shape == (3, 5, 3)
    for layout in layouts:
        assert same(rollout_quality(layout(frames)), expected)
    assert rollout_quality(frames[:, :1]).change.shape == (3, 0)
    assert rollout_quality(frames[:0]).change.shape == (0, 5)


def test_rollouts_are_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = scenes(3, 6, 3, 20, 24)
    inputs = []

    def spy(*arguments: Tensor) -> Tensor:
        inputs.extend(arguments)
        return original(*arguments)

    original = ops.frame_quality
    monkeypatch.setattr(ops, "frame_quality", spy)
    storage = frames.untyped_storage().data_ptr()
    for view in (frames, frames[:, 1:], frames[:, :, :1], frames[..., 2:9]):
        inputs.clear()
        rollout_quality(view)
        assert inputs
        assert all(x.untyped_storage().data_ptr() == storage for x in inputs)


def test_leading_dims_chunks_and_order_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = scenes(3, 5, 3, 20, 24)
    whole = frame_quality(frames, previous=frames.flip(0))
    monkeypatch.setattr(quality, "call_frames", lambda op, *frames: 2)
    assert same(frame_quality(frames, previous=frames.flip(0)), whole)
    alone = frame_quality(frames[1, 2], previous=frames.flip(0)[1, 2])
    assert alone.change.shape == ()
    assert all(torch.equal(getattr(alone, name), getattr(whole, name)[1, 2]) for name in VALUES)
    assert frame_quality(frames[:, :0]).contrast.shape == (3, 0)


# --- Undefined values -----------------------------------------------------------------------------


def test_without_a_frame_before_there_is_no_change() -> None:
    result = frame_quality(scenes(2, 3, 20, 20))
    for name in VALUES:
        missing = name.startswith("change")
        assert result.reason[name].tolist() == [Reason.NO_PREVIOUS * missing] * 2
        assert bool(getattr(result, name).isnan().all()) == missing


@pytest.mark.parametrize(
    ("size", "undefined"),
    [
        ((1, 1), {"sharpness_gradient", "sharpness_laplacian", "blockiness"}),
        ((1, 5), {"sharpness_laplacian", "blockiness"}),
        ((5, 2), {"sharpness_laplacian", "blockiness"}),
        ((8, 8), {"blockiness"}),
        ((1, 9), {"sharpness_laplacian"}),
        ((9, 3), set()),
    ],
)
def test_too_small_frames(size: tuple[int, int], undefined: set[str]) -> None:
    frames = scenes(2, 3, *size)
    result = frame_quality(frames, previous=frames)
    for name in VALUES:
        code = Reason.TOO_SMALL if name in undefined else Reason.DEFINED
        assert result.reason[name].tolist() == [code] * 2, name
        assert bool(getattr(result, name).isnan().any()) == (name in undefined), name


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_frame_with_a_hole_is_undefined_and_no_other(bad: float, dtype: torch.dtype) -> None:
    frames = (scenes(1, 4, 3, 20, 20) / 255).to(dtype)
    frames[0, 1, 2, 0, 0] = bad
    result = rollout_quality(frames)
    for name in VALUES:
        lost = [True, name.startswith("change"), False]  # the frame, and the change after it
        assert result.reason[name].tolist() == [[Reason.NON_FINITE * is_lost for is_lost in lost]]
        is_nan = getattr(result, name).isnan()
        is_nan = is_nan.all(-1) if name.startswith("channel") else is_nan
        assert is_nan.tolist() == [lost], name


def test_errors() -> None:
    frames = torch.zeros(2, 3, 16, 16)
    cases = [
        (TypeError, "frames must be a torch.Tensor, got ndarray", frames.numpy(), None),
        (TypeError, "frames must be uint8", frames.int(), None),
        (TypeError, "one dtype", frames, frames.to(torch.uint8)),
        (ValueError, r"one shape .*\(2, 3, 16, 16\) and \(1, 3, 16, 16\)", frames, frames[:1]),
        (ValueError, "at least one pixel", frames[..., :0], None),
        (ValueError, r"C = 1 or C = 3, got \(2, 4, 16, 16\)", torch.zeros(2, 4, 16, 16), None),
        (ValueError, "one device", frames, frames.to("meta")),
    ]
    for error, message, given_frames, previous in cases:
        with pytest.raises(error, match=message):
            frame_quality(given_frames, previous=previous)
    with pytest.raises(ValueError, match=r"\[B, T \+ 1, C, H, W\].*got \(2, 3, 16, 16\)"):
        rollout_quality(frames)
    with pytest.raises(ValueError, match=r"C = 1 or C = 3, got \(1, 2, 2, 4, 4\)"):
        rollout_quality(torch.zeros(1, 2, 2, 4, 4))
