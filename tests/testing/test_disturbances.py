"""Disturbances: each against an independent computation, seeded by row and step, never by batch."""

import io
from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
import torch
from PIL import Image, features
from scipy.ndimage import gaussian_filter
from torch import Tensor

from wmscore.rollouts import Rollouts
from wmscore.testing import Faulty, IdentitySwap, NanFrame, ShortRollout, sprite_items
from wmscore.testing.disturbances import (
    Bias,
    Blur,
    Disturbance,
    Disturbed,
    Gain,
    Gamma,
    Jitter,
    Jpeg,
    Noise,
)
from wmscore.worlds import Item, SpriteWorld, WorldModel

HORIZON = 6
WORLD = SpriteWorld()
ALL = (Gain(0.85), Bias(12), Gamma(1.2), Jitter(1), Blur(0.8), Jpeg(50), Noise(4.0))


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return sprite_items(3, HORIZON, seeds=(0, 1), branches=2)


@pytest.fixture(scope="module")
def truth(items: list[Item]) -> Rollouts:
    return WORLD.rollout(items, HORIZON)


def labels_of(rollouts: Rollouts) -> Tensor:
    assert rollouts.labels is not None
    return rollouts.labels


@pytest.mark.parametrize("disturbance", ALL, ids=lambda d: d.name)
def test_every_disturbance(disturbance: Disturbance, items: list[Item], truth: Rollouts) -> None:
    model = Disturbed(WORLD, disturbance)
    assert isinstance(model, WorldModel)
    assert model.capabilities == WORLD.capabilities
    assert model.name == f"sprites+{disturbance.name}"
    rollouts = model.rollout(items, HORIZON)
    assert rollouts.model == model.name
    assert rollouts.frames.dtype == torch.uint8
    assert torch.equal(rollouts.frames[:, 0], truth.frames[:, 0])
    assert torch.equal(labels_of(rollouts)[:, 0], labels_of(truth)[:, 0])
    assert bool((rollouts.frames != truth.frames)[:, 1:].flatten(2).any(2).float().mean() > 0.8)
    if not isinstance(disturbance, Jitter):
        assert torch.equal(labels_of(rollouts), labels_of(truth))
    # A row does not depend on the rows beside it; one that moves to another place stays itself.
    some = model.rollout([items[7], items[2]], HORIZON)
    assert torch.equal(some.frames, rollouts.frames[[7, 2]])
    assert torch.equal(labels_of(some), labels_of(rollouts)[[7, 2]])
    shorter = model.rollout(items[:2], 3)
    assert torch.equal(shorter.frames, rollouts.frames[:2, :4])
    # The true world's own frames are not written to.
    assert torch.equal(WORLD.rollout(items, HORIZON).frames, truth.frames)


def test_a_chain_is_its_links_in_order(items: list[Item], truth: Rollouts) -> None:
    chain = Disturbed(WORLD, Gain(1.6), Bias(-60)).rollout(items, HORIZON).frames[:, 1:]
    pixels = (truth.frames[:, 1:].double() * 1.6).clamp(max=255).round()
    assert torch.equal(chain, (pixels - 60).clamp(0, 255).round().to(torch.uint8))
    nested = Disturbed(Disturbed(WORLD, Gain(1.6)), Bias(-60))
    assert nested.name == "sprites+gain-1.6+bias--60"
    assert torch.equal(nested.rollout(items, HORIZON).frames[:, 1:], chain)


def test_faults_can_be_disturbed_and_keep_their_record(items: list[Item]) -> None:
    faulty = Faulty(WORLD, IdentitySwap(step=2))
    rollouts = Disturbed(faulty, Gain(0.85), Jitter(1)).rollout(items, HORIZON)
    wrong = faulty.rollout(items, HORIZON)
    assert rollouts.info.keys() == wrong.info.keys() >= {"fault_step", "fault_object"}
    for name, value in wrong.info.items():
        assert torch.equal(rollouts.info[name], value)
    assert not Disturbed(Faulty(WORLD, IdentitySwap()), Gain(2)).capabilities.prefix_causal
    short = Disturbed(Faulty(WORLD, ShortRollout(step=3)), Noise(3)).rollout(items, HORIZON)
    assert not bool(short.valid[:, 3:].any())


def test_a_frame_that_is_nan_stays_nan(items: list[Item]) -> None:
    for disturbance in ALL:
        rollouts = Disturbed(Faulty(WORLD, NanFrame(step=2)), disturbance).rollout(items, HORIZON)
        nan = rollouts.frames.isnan().flatten(2)
        assert bool(nan[:, 2].all())
        assert not bool(nan[:, [0, 1, 3, 4, 5, 6]].any())
        assert float(rollouts.frames.nan_to_num(0).max()) <= 1


def test_floating_point_frames(items: list[Item], truth: Rollouts) -> None:
    for disturbance in ALL:
        floating = Disturbed(Floating(), disturbance).rollout(items[:2], HORIZON).frames
        whole = Disturbed(WORLD, disturbance).rollout(items[:2], HORIZON).frames
        assert floating.dtype == torch.float32
        torch.testing.assert_close(floating * 255, whole.float(), rtol=0, atol=0.5001)


def test_tone_by_hand() -> None:
    pixels = torch.tensor([0.0, 64, 100, 255]).view(1, 1, 1, 4)
    key = torch.zeros(1, dtype=torch.int64)
    for disturbance, expected in (
        (Gain(0.5), [0.0, 32, 50, 127.5]),
        (Bias(-3), [-3.0, 61, 97, 252]),
        (Gamma(2.0), [0.0, 64 * 64 / 255, 10000 / 255, 255]),
    ):
        got = disturbance.change(pixels, key).flatten()
        torch.testing.assert_close(got, torch.tensor(expected), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("sigma", [0.3, 0.8, 2.0, 9.0])
def test_blur_is_a_gaussian(sigma: float, truth: Rollouts) -> None:
    frames = truth.frames[0, :2].float()
    key = torch.zeros(2, dtype=torch.int64)
    got = Blur(sigma).change(frames, key).numpy()
    radius = int(np.ceil(3 * sigma))
    expected = gaussian_filter(
        frames.double().numpy(), sigma, mode="nearest", axes=(2, 3), radius=radius
    )
    # Weights are rounded to 1/4096 each, and the middle one takes what is left.
    bound = 2 * 255 * (radius + 1) * 2 * 0.5 / 4096 + 0.1
    assert float(np.abs(got - expected).max()) < bound
    assert float(np.abs(got - expected).mean()) < 0.15
    weights = Blur(sigma).weights()
    assert weights[0] + 2 * sum(weights[1:]) == 4096
    flat = torch.full((1, 3, 20, 20), 77.0)
    assert torch.equal(Blur(sigma).change(flat, key[:1]), flat)


def test_jitter_moves_frames_and_labels_together(items: list[Item], truth: Rollouts) -> None:
    rollouts = Disturbed(WORLD, Jitter(2)).rollout(items, HORIZON)
    shifts = set()
    for row in range(len(items)):
        for t in range(1, HORIZON + 1):
            image = np.concatenate([truth.frames[row, t].numpy(), labels_of(truth)[row, t][None]])
            wide = np.pad(image, ((0, 0), (2, 2), (2, 2)), mode="edge")
            shown = np.concatenate(
                [rollouts.frames[row, t].numpy(), labels_of(rollouts)[row, t][None]]
            )
            fits = [
                (dy, dx)
                for dy in range(-2, 3)
                for dx in range(-2, 3)
                if np.array_equal(shown, wide[:, 2 - dy : 66 - dy, 2 - dx : 66 - dx])
            ]
            assert len(fits) == 1
            shifts.add(((row // 2, t), fits[0]))
    by_step = dict(shifts)
    assert len(by_step) == len(shifts)  # both branches of a group tremble alike
    assert len(set(by_step.values())) > 12  # of 25, in 36 draws
    assert {abs(v) for shift in by_step.values() for v in shift} == {0, 1, 2}


def test_noise_is_independent_and_nearly_normal() -> None:
    key = torch.arange(8, dtype=torch.int64)
    grey = torch.full((8, 3, 64, 64), 128.0)
    noise = Noise(5.0).change(grey, key) - 128
    assert abs(float(noise.mean())) < 0.1
    assert float(noise.std()) == pytest.approx(5.0, rel=0.01)
    assert float(noise.abs().max()) < 5 * 3.46
    for sigmas in (0.5, 1.0, 2.0):
        inside = float((noise.abs() < 5 * sigmas).float().mean())
        expected = NormalDist().cdf(sigmas) - NormalDist().cdf(-sigmas)
        assert inside == pytest.approx(expected, abs=0.02)
    flat = noise.flatten(1)
    pairs = torch.corrcoef(torch.cat([flat, flat.roll(1, 1), flat.roll(64, 1)]))
    assert float((pairs - torch.eye(24)).abs().max()) < 0.05  # 1 / sqrt(12288) = 0.009


def test_two_noises_are_not_the_same(items: list[Item]) -> None:
    grey = Constant()
    once = Disturbed(grey, Noise(4)).rollout(items, HORIZON).frames[:, 1:].double().std()
    twice = Disturbed(grey, Noise(4), Noise(4)).rollout(items, HORIZON).frames[:, 1:].double().std()
    assert float(twice / once) == pytest.approx(2**0.5, rel=0.02)  # twice the same would be 2


@pytest.mark.skipif(
    not features.check_feature("libjpeg_turbo"), reason="other libraries round otherwise"
)
@pytest.mark.parametrize("size", [(64, 64), (120, 160), (37, 51), (16, 17), (1, 1)])
@pytest.mark.parametrize("quality", [1, 10, 49, 50, 75, 95, 100])
def test_jpeg_is_what_pillow_gives(size: tuple[int, int], quality: int) -> None:
    """Bit for bit, on a smooth frame with edges and on noise."""
    generator = torch.Generator().manual_seed(0)
    height, width = size
    frames = torch.randint(0, 256, (2, 3, height, width), generator=generator, dtype=torch.uint8)
    world = SpriteWorld(max(16, height), max(16, width))
    (item,) = sprite_items(1, 1, branches=1, world=world)
    assert item.frame is not None
    frames[0] = item.frame[:, :height, :width]
    got = Jpeg(quality).change(frames.float(), torch.zeros(2, dtype=torch.int64))
    assert torch.equal(got, torch.stack([_pillow(frame, quality) for frame in frames]).float())


def _pillow(frame: Tensor, quality: int) -> Tensor:
    file = io.BytesIO()
    image = Image.fromarray(frame.permute(1, 2, 0).contiguous().numpy())
    image.save(file, format="JPEG", quality=quality, subsampling="4:2:0")
    with Image.open(file) as decoded:
        return torch.from_numpy(np.array(decoded)).permute(2, 0, 1)


def test_bad_disturbances(items: list[Item]) -> None:
    for make, field in (
        (lambda: Gain(0), "factor"),
        (lambda: Gain(float("nan")), "factor"),
        (lambda: Bias(float("inf")), "levels"),
        (lambda: Gamma(-1), "exponent"),
        (lambda: Blur(0), "sigma"),
        (lambda: Noise(0), "sigma"),
        (lambda: Jitter(0), "pixels"),
        (lambda: Jpeg(0), "quality"),
        (lambda: Jpeg(101), "quality"),
    ):
        with pytest.raises(ValueError, match=f"{field}: expected"):
            make()
    with pytest.raises(ValueError, match="disturbances: expected at least one"):
        Disturbed(WORLD)
    with pytest.raises(ValueError, match=r"JPEG needs \[F, 3, H, W\], got \[1, 1, 8, 8\]"):
        Jpeg(50).change(torch.zeros(1, 1, 8, 8), torch.zeros(1, dtype=torch.int64))


# ---- worlds made for these tests ---------------------------------------------------------


class Floating:
    """The sprite world with frames in [0, 1]."""

    name = "floating"
    capabilities = WORLD.capabilities

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        truth = WORLD.rollout(items, horizon)
        return replace(truth, frames=truth.frames / 255.0)


class Constant:
    """Grey frames."""

    name = "grey"
    capabilities = WORLD.capabilities

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        truth = WORLD.rollout(items, horizon)
        return replace(truth, frames=torch.full_like(truth.frames, 128))
