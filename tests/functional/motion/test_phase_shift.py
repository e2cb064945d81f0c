"""phase_shift and global_motion: accuracy where motion is known, and what must not fool it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pictures import crops
from skimage.registration import phase_cross_correlation
from torch import Tensor

from wmscore.functional import Reason, global_motion, phase_shift
from wmscore.functional.motion import shift as shift_module
from wmscore.testing import sprite_items
from wmscore.worlds import SpriteWorld
from wmscore.worlds.sprite_scene import MOVES


def errors(found: Tensor, shift: Tensor) -> Tensor:
    return (found - shift).abs().flatten()


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed)).byte()


@pytest.mark.parametrize(
    ("size", "reach", "bounds"),
    [
        ((128, 128), 6, (0.002, 0.008, 0.03)),
        ((120, 160), 6, (0.002, 0.008, 0.04)),
        ((64, 64), 5, (0.004, 0.03, 0.25)),
        ((31, 47), 3, (0.01, 0.12, 0.6)),
        ((16, 16), 1.5, (0.03, 0.5, 3.0)),
    ],
)
def test_sub_pixel_shifts_of_photographs(size, reach, bounds) -> None:
    frames, following, shift = crops(60, *size, reach)
    found = phase_shift(frames, following)
    defined = found.reason == Reason.DEFINED
    assert defined.float().mean() > 0.94
    error = (found.shift - shift)[defined].abs().flatten()
    for quantile, bound in zip((0.5, 0.95, 1.0), bounds, strict=True):
        assert error.quantile(quantile) <= bound


def test_closer_than_scikit_image() -> None:
    frames, following, shift = crops(18, 96, 96, 5, seed=3)
    hann = torch.hann_window(98, periodic=False, dtype=torch.float64)[1:-1]
    theirs = []
    for a, b in zip(frames[:, 0].double(), following[:, 0].double(), strict=True):
        pair = [((x - x.mean()) * torch.outer(hann, hann)).numpy() for x in (b, a)]
        theirs.append(phase_cross_correlation(*pair, upsample_factor=50)[0])
    mine = errors(phase_shift(frames, following).shift, shift)
    other = errors(torch.tensor(np.array(theirs)), shift)
    assert mine.median() < other.median() / 2
    assert mine.quantile(0.95) < other.quantile(0.95)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32, torch.float64])
def test_circular_shifts_are_exact(dtype) -> None:
    frame = crops(4, 48, 60, 0)[0]
    frame = frame if dtype == torch.uint8 else (frame.double() / 255).to(dtype)
    for move in ((0, 0), (5, -7), (-20, 11), (1, 0)):
        found = phase_shift(frame, frame.roll(move, (-2, -1)), window=None)
        assert found.shift.tolist() == [list(map(float, move))] * 4
        assert (found.peak > 1 - (1e-9 if dtype == torch.float64 else 1e-5)).all()


def test_a_frozen_pair_does_not_move() -> None:
    for size in ((16, 16), (33, 64), (120, 160)):
        frames = crops(6, *size, 0)[0].expand(-1, 3, -1, -1)
        for each in (frames, frames // 6, frames.float() / 255, (frames / 255).half()):
            found = phase_shift(each, each)
            assert found.reason.tolist() == [0] * 6
            assert found.shift.abs().max() == 0
            assert (found.peak > 1 - 1e-5).all()


def test_dark_and_bright_frames_move_alike() -> None:
    frames, following, shift = crops(12, 64, 64, 4)
    for a, b, bound in (
        (frames // 12, following // 12, 0.2),  # levels 0..21
        (frames // 2, 60 + following // 2, 0.08),
        (frames, (following * 0.9).byte(), 0.5),  # a fade
        (255 - frames, 255 - following, 0.05),
    ):
        found = phase_shift(a, b)
        assert found.reason.tolist() == [0] * 12
        assert errors(found.shift, shift).quantile(0.9) < bound


def test_half_the_contrast_leaves_whole_pixels() -> None:
    frames, following, shift = crops(12, 64, 64, 4)
    found = phase_shift(frames, 128 + following // 2)
    assert found.reason.tolist() == [0] * 12
    assert errors(found.shift, shift).max() < 1.3
    assert errors(found.shift, shift).median() < 0.5


def test_what_stands_still_on_the_screen_does_not_pull() -> None:
    """A vignette, a frame around the picture, and a weapon with texture of its own."""
    frames, following, shift = crops(30, 120, 160, 3, seed=1)
    y, x = torch.linspace(-1, 1, 120)[:, None], torch.linspace(-1, 1, 160)
    vignette = 1 - 0.3 * (y * y + x * x)
    weapon = noise(36, 48) // 3
    for change in (
        lambda v: (v * vignette).byte(),
        lambda v: torch.nn.functional.pad(v[..., 6:-6, 6:-6], (6, 6, 6, 6)),
        lambda v: with_weapon(v, weapon),
    ):
        found = phase_shift(change(frames), change(following))
        assert found.reason.tolist() == [0] * 30
        error = found.shift - shift
        assert error.abs().median() < 0.01
        assert error.abs().quantile(0.9) < 0.05
        pull = -(error * shift.sign()).mean()  # towards no motion
        assert pull < 0.02


def with_weapon(frames: Tensor, weapon: Tensor) -> Tensor:
    frames = frames.clone()
    frames[..., -weapon.shape[0] :, 56 : 56 + weapon.shape[1]] = weapon
    return frames


def test_the_window_does_not_pull() -> None:
    frames, following, shift = crops(60, 64, 64, 1.2, seed=5)
    error = phase_shift(frames, following).shift - shift
    assert (error * shift.sign()).mean().abs() < 0.002
    slope = (error * shift).sum() / (shift * shift).sum()
    assert slope.abs() < 0.003


@pytest.fixture(scope="module")
def world() -> tuple[Tensor, Tensor]:
    """Rollouts of SpriteWorld and the motion of their background, `[B, T, 2]`."""
    items = sprite_items(20, 12, seeds=(0,), branches=1)
    frames = SpriteWorld().rollout(items, 12).frames
    moves = torch.tensor([MOVES[name] for name in items[0].action_names], dtype=torch.float64)
    right_down = moves[torch.stack([item.actions[:12] for item in items])]
    return frames, -3 * right_down.flip(-1)


def test_the_camera_not_the_sprites(world) -> None:
    frames, shift = world
    found = global_motion(frames)
    assert (found.reason == Reason.DEFINED).all()
    error = (found.shift - shift).abs()
    assert error.max() < 0.3
    assert error.quantile(0.95) < 0.02


def test_noise() -> None:
    frames, following, shift = crops(30, 120, 160, 5, noise=4)
    found = phase_shift(frames, following)
    assert (found.reason == Reason.DEFINED).float().mean() > 0.9
    assert errors(found.shift, shift).nanmedian() < 0.02


@pytest.mark.parametrize("size", [(16, 16), (64, 64), (120, 160)])
def test_a_cut_has_no_peak(size) -> None:
    frames = crops(48, *size, 0, seed=2)[0]
    found = phase_shift(frames, frames.roll(1, 0))
    assert (found.reason == Reason.NO_PEAK).float().mean() > 0.95
    assert found.shift[found.reason == Reason.NO_PEAK].isnan().all()
    still = phase_shift(noise(20, 1, *size), noise(20, 1, *size, seed=1))
    assert (still.reason == Reason.NO_PEAK).all()


def test_undefined() -> None:
    photo = crops(1, 40, 40, 0)[0].float() / 255
    flat = torch.full_like(photo, 0.3)
    for a, b in ((flat, flat), (flat, photo), (photo, flat), (0 * flat, 0 * flat)):
        found = phase_shift(a, b)
        assert found.reason.tolist() == [Reason.NO_PEAK]
        assert found.shift.isnan().all()
        assert found.peak.item() < 0.1
    for value in (torch.nan, torch.inf, -torch.inf):
        for place in ((0, 0), (20, 20), (39, 39)):
            broken = photo.clone()
            broken[0, 0, place[0], place[1]] = value
            for a, b in ((broken, photo), (photo, broken), (broken, broken)):
                found = phase_shift(a, b)
                assert found.reason.tolist() == [Reason.NON_FINITE]
                assert found.peak.isnan().all()
    small = phase_shift(photo[..., :7, :], photo[..., :7, :])
    assert small.reason.tolist() == [Reason.TOO_SMALL]
    assert small.shift.isnan().all()


def test_stripes_move_along_their_normal_only() -> None:
    stripes = (torch.arange(40) % 13 * 19).byte()[:, None].expand(1, 40, 40)
    for move in (0, 2, -3):
        found = phase_shift(stripes, stripes.roll(move, -2), window=None)
        assert found.shift.tolist() == [float(move), 0.0]


def test_max_shift_and_min_peak() -> None:
    frame = crops(1, 64, 64, 0)[0]
    moved = frame.roll((9, -3), (-2, -1))
    assert phase_shift(frame, moved, window=None).shift.tolist() == [[9.0, -3.0]]
    within = phase_shift(frame, moved, window=None, max_shift=0.1, min_peak=0)
    assert within.shift.abs().max() <= 6.4 + 1.5
    assert phase_shift(frame, moved, window=None, max_shift=0.1).reason.item() == Reason.NO_PEAK
    assert phase_shift(frame, moved, min_peak=1).reason.item() == Reason.NO_PEAK


def test_consecutive_frames_equal_pairs(world, monkeypatch) -> None:
    frames = world[0][:5]
    pairs = phase_shift(frames[:, :-1], frames[:, 1:])
    step_first = frames.transpose(0, 1).contiguous().transpose(0, 1)  # not one run in memory
    for size in (1, 4, 13, 1000):
        monkeypatch.setattr(shift_module, "frames_at_once", lambda frames, size=size: size)
        for each in (frames, step_first):
            found = global_motion(each)
            for mine, theirs in zip(found, pairs, strict=True):
                torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-6, equal_nan=True)


def test_a_frame_that_does_not_exist(world) -> None:
    frames = world[0][:3]
    valid = torch.ones(3, 13, dtype=torch.bool)
    valid[1, 4] = False
    found, plain = global_motion(frames, valid=valid), global_motion(frames)
    absent = torch.zeros(3, 12, dtype=torch.bool)
    absent[1, 3:5] = True
    assert torch.equal(found.reason == Reason.NO_FRAME, absent)
    assert found.shift[absent].isnan().all()
    assert torch.equal(found.shift[~absent], plain.shift[~absent])


def test_empty() -> None:
    assert global_motion(noise(2, 1, 3, 16, 16)).shift.shape == (2, 0, 2)
    assert global_motion(noise(0, 4, 3, 16, 16)).peak.shape == (0, 3)
    assert phase_shift(noise(0, 3, 16, 16), noise(0, 3, 16, 16)).reason.shape == (0,)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"window": "hamming"}, ValueError, "window must be 'hann' or None, got 'hamming'"),
        ({"max_shift": 2.0}, ValueError, "max_shift must be a number at least 0.0 and at most 1"),
        ({"min_peak": "high"}, TypeError, "min_peak must be a number, got str"),
    ],
)
def test_errors(options, error, message) -> None:
    frames = noise(2, 3, 16, 16)
    with pytest.raises(error, match=message):
        phase_shift(frames, frames, **options)
    with pytest.raises(error, match=message):
        global_motion(frames[None], **options)


def test_errors_of_frames() -> None:
    frames = noise(2, 3, 16, 16)
    with pytest.raises(ValueError, match="one shape"):
        phase_shift(frames, frames[:1])
    with pytest.raises(ValueError, match="C = 1 or C = 3"):
        phase_shift(frames[:, :2], frames[:, :2])
    with pytest.raises(ValueError, match=r"\[B, T \+ 1, C, H, W\]"):
        global_motion(frames)
    with pytest.raises(TypeError, match="valid must be bool"):
        global_motion(frames[None], valid=torch.ones(1, 2))
