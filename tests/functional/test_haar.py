"""HaarPSI: the paper with scipy's convolutions, the authors' numbers, piq, and what is ours."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import numpy as np
import piq
import pytest
import skimage.data
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import convolve2d
from torch import Tensor
from torch.testing import assert_close

from wmscore.functional import Reason, _chunks, haar, haarpsi, haarpsi_name, haarpsi_reason
from wmscore.metrics import HaarPSI
from wmscore.ops import frame_haarpsi

PHOTOS = ("astronaut", "chelsea")
# From a photo to a worse one, uint8 [H, W, 3].
CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "right": lambda x: np.roll(x, 1, axis=1),
    "down": lambda x: np.roll(x, 1, axis=0),
    "grey": lambda x: np.rint(x.mean(-1, keepdims=True).repeat(3, -1)).astype(np.uint8),
    "bright": lambda x: np.clip(x.astype(int) + 25, 0, 255).astype(np.uint8),
}
# The authors' Python code (github.com/rgcda/haarpsi, 2c27931) on these: with its subsampling,
# without.
AUTHORS = {
    ("astronaut", "right"): (0.763309015130, 0.619056611177),
    ("astronaut", "down"): (0.789447391752, 0.653115096232),
    ("astronaut", "grey"): (0.405910868372, 0.383900834618),
    ("astronaut", "bright"): (0.958975139559, 0.959385789584),
    ("chelsea", "right"): (0.843349786578, 0.731434147934),
    ("chelsea", "down"): (0.848847184002, 0.728859091113),
    ("chelsea", "grey"): (0.454815701631, 0.448232714010),
    ("chelsea", "bright"): (0.997187601006, 0.998241160470),
}


def photo(name: str) -> np.ndarray:
    return getattr(skimage.data, name)()


def tensor(image: np.ndarray) -> Tensor:
    """`[H, W, 3]` to `[3, H, W]`, with the strides of an image."""
    return torch.from_numpy(image.copy()).permute(2, 0, 1)


def crops(side: int, channels: int = 3, count: int = 6) -> tuple[Tensor, Tensor]:
    """Pieces of a photo, and the same with noise and less contrast, uint8 `[count, C, side, w]`."""
    image = photo("astronaut")
    width = side + 5
    starts = np.linspace(0, 512 - width, count).astype(int)
    pieces = [image[k : k + side, 500 - width - k // 2 : 500 - k // 2] for k in starts]
    target = torch.stack([tensor(piece) for piece in pieces])[:, :channels]
    generator = torch.Generator().manual_seed(side)
    noise = 12 * torch.randn(target.shape, generator=generator)
    return (0.9 * target + 5 + noise).clamp(0, 255).round().to(torch.uint8), target


# --- the definition -------------------------------------------------------------------------------


def convolve(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Same size, zeros outside, aligned as in MATLAB: after the pixel one more than before it.

    scipy aligns an even kernel the other way round, hence the flips.
    """
    flipped = convolve2d(image[::-1, ::-1], kernel[::-1, ::-1], mode="same")
    return flipped[::-1, ::-1]


def paper(preds: np.ndarray, target: np.ndarray, subsample: bool) -> float:
    """Sections 2 and 3 of the paper for images `[C, H, W]` in levels, in float64."""
    c, alpha = 30.0, 4.2
    to_yiq = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    mean = np.full((2, 2), 0.25)
    colour = len(preds) == 3

    def planes(image: np.ndarray) -> list[np.ndarray]:
        image = image.astype(np.float64)
        result = list(np.tensordot(to_yiq, image, 1)) if colour else [image[0]]
        return [convolve(p, mean)[::2, ::2] for p in result] if subsample else result

    def similarity(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (2 * np.abs(a) * np.abs(b) + c) / (a**2 + b**2 + c)

    def sigmoid(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-alpha * x))

    x, y = planes(preds), planes(target)
    similarities, weights = [], []
    for transpose in (False, True):
        responses = []
        for scale in (1, 2, 3):
            kernel = np.ones((2**scale, 2**scale)) / 2**scale
            kernel[: 2 ** (scale - 1)] *= -1
            kernel = kernel.T if transpose else kernel
            responses.append((convolve(x[0], kernel), convolve(y[0], kernel)))
        similarities.append((similarity(*responses[0]) + similarity(*responses[1])) / 2)
        weights.append(np.maximum(np.abs(responses[2][0]), np.abs(responses[2][1])))
    if colour:
        of_i, of_q = (similarity(convolve(x[k], mean), convolve(y[k], mean)) for k in (1, 2))
        similarities.append((of_i + of_q) / 2)
        weights.append((weights[0] + weights[1]) / 2)
    s, w = np.stack(similarities), np.stack(weights)
    average = (sigmoid(s) * w).sum() / w.sum()
    return float((np.log(average / (1 - average)) / alpha) ** 2)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", PHOTOS)
def test_equals_the_authors_code(name: str, change: str) -> None:
    image = photo(name)
    preds, target = tensor(CHANGES[change](image)), tensor(image)
    for subsample, expected in zip((True, False), AUTHORS[name, change], strict=True):
        score = haarpsi(preds, target, subsample=subsample)
        assert score.item() == pytest.approx(expected, abs=1e-7)
        score = haarpsi(preds.double() / 255, target.double() / 255, subsample=subsample)
        assert score.item() == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("subsample", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [16, 17, 64])
def test_equals_the_paper(side: int, channels: int, subsample: bool) -> None:
    preds, target = crops(side, channels)
    oracle = [paper(p.numpy(), t.numpy(), subsample) for p, t in zip(preds, target, strict=True)]
    expected = torch.tensor(oracle, dtype=torch.float64)
    assert_close(haarpsi(preds, target, subsample=subsample), expected, rtol=0, atol=1e-6)


def test_the_torch_function_equals_the_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    """To float64, and in pieces that bound its temporaries."""
    sizes = []

    def watched(preds: Tensor, target: Tensor, subsample: bool) -> Tensor:
        sizes.append(len(preds))
        return frame_haarpsi.__wrapped__(preds, target, subsample)

    monkeypatch.setattr(haar, "frame_haarpsi", watched)
    monkeypatch.setattr(_chunks, "has_kernel", lambda op, device: False)
    for channels, subsample in product((1, 3), (False, True)):
        preds, target = crops(65, channels, count=40)
        oracle = [
            paper(p.numpy(), t.numpy(), subsample) for p, t in zip(preds, target, strict=True)
        ]
        expected = torch.tensor(oracle, dtype=torch.float64)
        assert_close(haarpsi(preds, target, subsample=subsample), expected, rtol=0, atol=1e-12)
    assert max(sizes) * 65 * 70 <= 1 << 17


@pytest.mark.parametrize("subsample", [False, True])
@pytest.mark.parametrize("side", [16, 33, 64])
def test_equals_piq_in_grey(side: int, subsample: bool) -> None:
    preds, target = crops(side, channels=1)
    oracle = piq.haarpsi(
        preds.double(), target.double(), data_range=255.0, reduction="none", subsample=subsample
    )
    assert_close(haarpsi(preds, target, subsample=subsample), oracle, rtol=0, atol=1e-6)


def test_differs_from_piq_by_its_colour_matrix() -> None:
    """By 5e-6 (shift) to 5e-4 (grey), more than either's error: it is another matrix."""
    image = photo("chelsea")
    target = tensor(image)
    differences = {}
    for change, worse in CHANGES.items():
        preds = tensor(worse(image))
        other = piq.haarpsi(preds[None].double(), target[None].double(), data_range=255.0)
        differences[change] = abs(float(haarpsi(preds, target)) - float(other))
    assert 1e-6 < differences["right"] < 1e-5
    assert 1e-4 < differences["grey"] < 1e-3


# --- properties -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("size", [(16, 16), (64, 84), (129, 130)])
def test_equal_frames_are_exactly_1(size: tuple[int, int], dtype: torch.dtype) -> None:
    frames = torch.rand(3, 3, *size)
    frames = (255 * frames).to(dtype) if dtype == torch.uint8 else frames.to(dtype)
    frames[1] = 0  # black
    frames[2] = frames[2, 0, 0, 0]  # flat
    score = haarpsi(frames, frames.clone())
    assert score.dtype == torch.float64
    assert score.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("subsample", [False, True])
def test_flat_frames_of_different_colour_are_defined(subsample: bool) -> None:
    """The black around a frame gives its borders weight: only two black frames have none."""
    red, blue = torch.zeros(2, 3, 32, 32, dtype=torch.uint8).unbind()
    red[0], blue[2] = 200, 200
    score = float(haarpsi(red, blue, subsample=subsample))
    assert score == pytest.approx(paper(red.numpy(), blue.numpy(), subsample), abs=1e-6)
    assert 0 < score < 0.8
    assert 0 < float(haarpsi(red, torch.zeros_like(red), subsample=subsample)) < 0.5


def test_chroma_counts_and_channel_order_matters() -> None:
    preds, target = crops(64)
    grey = target.float().mean(1, keepdim=True).round().to(torch.uint8).expand_as(target)
    assert (haarpsi(grey, target) < 0.95).all()
    assert (haarpsi(target.flip(1), target) < 0.98).all()
    assert (haarpsi(preds.flip(1), target) < haarpsi(preds, target)).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(16, 60), st.integers(16, 60), st.booleans())
def test_symmetric_bounded_and_monotone_in_noise(
    seed: int, height: int, width: int, subsample: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(3, height, width, generator=generator)
    noise = torch.randn(3, height, width, generator=generator)
    near, far = ((target + k * noise).clamp(0, 1) for k in (0.05, 0.5))
    scores = [float(haarpsi(x, target, subsample=subsample)) for x in (near, far)]
    assert 0 <= scores[1] < scores[0] < 1
    assert float(haarpsi(target, far, subsample=subsample)) == pytest.approx(scores[1], abs=1e-6)


def test_uint8_equals_float() -> None:
    preds, target = crops(40)
    expected = haarpsi(preds, target)
    for dtype in (torch.float32, torch.float64):
        score = haarpsi(preds.to(dtype) / 255, target.to(dtype) / 255)
        assert_close(score, expected, rtol=0, atol=1e-6)


def test_leading_dims_and_batch_independence() -> None:
    preds, target = (x.view(2, 3, *x.shape[1:]) for x in crops(24))
    whole = haarpsi(preds, target)
    assert whole.shape == (2, 3)
    for b, t in product(range(2), range(3)):
        assert haarpsi(preds[b, t], target[b, t]).equal(whole[b, t])
    assert haarpsi(preds[:, 1:], target[:, 1:]).equal(whole[:, 1:])  # not one run in memory
    assert haarpsi(preds.flip(0), target.flip(0)).equal(whole.flip(0))
    assert haarpsi(preds[:, :0], target[:, :0]).shape == (2, 0)
    expanded = haarpsi(preds[:1].expand(2, -1, -1, -1, -1), target)
    assert expanded[0].equal(whole[0])


def test_frames_in_several_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    preds, target = crops(24)
    whole = haarpsi(preds, target, shift=1)
    monkeypatch.setattr(haar, "call_frames", lambda op, *frames: 4)
    assert haarpsi(preds, target, shift=1).equal(whole)


# --- which score ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "halved"), [((127, 300), False), ((128, 128), True)])
def test_large_frames_are_halved(size: tuple[int, int], halved: bool) -> None:
    image = photo("astronaut")[: size[0], : size[1]]
    preds, target = tensor(CHANGES["right"](image)), tensor(image)
    scores = {s: float(haarpsi(preds, target, subsample=s)) for s in (None, True, False)}
    assert scores[None] == scores[halved] != scores[not halved]
    assert haarpsi_name(*size) == haarpsi_name(*size, subsample=halved)


def test_names() -> None:
    assert haarpsi_name(128, 300) == "haarpsi"
    assert haarpsi_name(127, 300) == "haarpsi_full"
    assert haarpsi_name(64, 64, subsample=True, shift=2) == "haarpsi_shift2"
    assert haarpsi_name(256, 256, subsample=False, shift=1) == "haarpsi_full_shift1"


# --- displacement ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(48, 50), (130, 129)])
def test_a_displaced_frame_is_found(size: tuple[int, int]) -> None:
    target = tensor(photo("astronaut")[100 : 100 + size[0], 100 : 100 + size[1]])
    for down, right in product((-2, 0, 1), (-1, 0, 2)):
        preds = target.roll((down, right), (-2, -1))
        reach = max(abs(down), abs(right))
        assert haarpsi(preds, target, shift=2).item() == 1.0
        if reach:
            assert haarpsi(preds, target, shift=reach - 1).item() < 0.99


def test_shift_is_the_best_of_all_displacements_of_one_part_of_the_target() -> None:
    """The rule for halving looks at the frame, not at the part: 129 is halved, and so is 125."""
    target = tensor(photo("astronaut")[:129, :131])
    generator = torch.Generator().manual_seed(0)
    noise = 20 * torch.randn(target.shape, generator=generator)
    preds = (target.roll(1, -1) + noise).clamp(0, 255).to(torch.uint8)
    scores = {
        (top, left): paper(
            preds[:, top : top + 125, left : left + 127].numpy(),
            target[:, 2:-2, 2:-2].numpy(),
            True,
        )
        for top, left in product(range(5), repeat=2)
    }
    assert max(scores, key=scores.__getitem__) == (2, 3)
    assert haarpsi(preds, target, shift=2).item() == pytest.approx(max(scores.values()), abs=1e-6)


def test_nothing_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    preds, target = crops(40)
    op, seen = haar.frame_haarpsi, []

    def watched(some_preds: Tensor, some_target: Tensor, subsample: bool) -> Tensor:
        seen.append((some_preds, some_target))
        return op(some_preds, some_target, subsample)

    monkeypatch.setattr(haar, "frame_haarpsi", watched)
    haarpsi(preds, target, shift=1)
    assert len(seen) == 9
    for pair in seen:
        for view, frames in zip(pair, (preds, target), strict=True):
            assert view.untyped_storage().data_ptr() == frames.untyped_storage().data_ptr()


# --- undefined ------------------------------------------------------------------------------------


def test_frames_that_are_too_small() -> None:
    for size, shift in (((15, 40), 0), ((40, 15), 0), ((17, 40), 1), ((3, 3), 2)):
        frames = torch.zeros(2, 4, 3, *size)
        scores = haarpsi(frames, frames, shift=shift)
        assert scores.shape == (2, 4)
        assert scores.dtype == torch.float64
        assert scores.isnan().all()
        reason = haarpsi_reason(scores, *size, shift=shift)
        assert reason.dtype == torch.uint8
        assert (reason == Reason.TOO_SMALL).all()
    frames = torch.zeros(3, 18, 18)
    assert haarpsi(frames, frames, shift=1).item() == 1.0


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("shift", [0, 1])
def test_frames_that_are_not_finite(shift: int, value: float) -> None:
    target = torch.rand(3, 3, 20, 20)
    preds = target.clone()
    preds[1, 0, 0, 0] = value  # that one displacement alone sees
    scores = haarpsi(preds, target, shift=shift)
    assert scores.isnan().tolist() == [False, True, False]
    reason = haarpsi_reason(scores, 20, 20, shift=shift)
    assert reason.tolist() == [Reason.DEFINED, Reason.NON_FINITE, Reason.DEFINED]


def test_errors() -> None:
    frames = torch.zeros(2, 3, 16, 16)
    cases = [
        (TypeError, "preds must be a torch.Tensor, got ndarray", (frames.numpy(), frames), {}),
        (TypeError, "one dtype", (frames, frames.to(torch.uint8)), {}),
        (
            ValueError,
            r"one shape .*\(2, 3, 16, 16\) and \(1, 3, 16, 16\)",
            (frames, frames[:1]),
            {},
        ),
        (ValueError, "at least one pixel", (frames[..., :0], frames[..., :0]), {}),
        (ValueError, r"1 channel \(luma\) or 3 \(RGB\), got 2", (frames[:, :2], frames[:, :2]), {}),
        (ValueError, "shift must be 0 or more, got -1", (frames, frames), {"shift": -1}),
        (TypeError, "shift must be an int, got float", (frames, frames), {"shift": 1.0}),
        (TypeError, "shift must be an int, got bool", (frames, frames), {"shift": True}),
        (
            TypeError,
            "subsample must be a bool or None, got int",
            (frames, frames),
            {"subsample": 1},
        ),
    ]
    for error, message, arguments, options in cases:
        with pytest.raises(error, match=message):
            haarpsi(*arguments, **options)
    with pytest.raises(ValueError, match="shift must be 0 or more"):
        haarpsi_name(64, 64, shift=-1)
    with pytest.raises(RuntimeError, match="no gradient"):
        haarpsi(frames.clone().requires_grad_(), frames)


# --- the class ------------------------------------------------------------------------------------


def test_class_passes_its_options() -> None:
    preds, target = crops(24)
    for options in ({}, {"subsample": True}, {"shift": 1}):
        metric = HaarPSI(**options)
        metric.update(preds[:2], target[:2])
        metric.update(preds[2:], target[2:])
        assert metric.compute().equal(haarpsi(preds, target, **options))
    assert HaarPSI(reduction="mean")(preds, target).item() == pytest.approx(
        haarpsi(preds, target).mean().item()
    )
