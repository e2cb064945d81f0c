"""Seeds of rows and calls, and randomness that does not leak."""

import random

import numpy as np
import pytest
import torch

from wmscore.testing import sprite_items
from wmscore.worlds.pixels import float_frames, uint8_frames
from wmscore.worlds.randomness import contained_randomness, row_generators, row_seed


def test_row_seeds_are_apart():
    seeds = {row_seed(seed, call) for seed in range(-50, 50) for call in range(50)}
    assert len(seeds) == 100 * 50
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_generator_knows_its_row_only():
    items = sprite_items(2, seeds=(3, 4), branches=1)
    together = [torch.randn(5, generator=g) for g in row_generators(items, 2)]
    for item, noise in zip(items, together, strict=True):
        assert torch.equal(torch.randn(5, generator=row_generators([item], 2)[0]), noise)
    assert torch.equal(together[0], together[2])  # the same seed of another scenario
    assert not torch.equal(together[0], together[1])
    assert not torch.equal(together[0], torch.randn(5, generator=row_generators(items, 3)[0]))


def test_randomness_is_contained():
    def draw():
        return torch.rand(3), np.random.rand(), random.random()  # noqa: NPY002

    torch.manual_seed(5), np.random.seed(5), random.seed(5)  # noqa: NPY002
    expected = draw()
    torch.manual_seed(5), np.random.seed(5), random.seed(5)  # noqa: NPY002
    with contained_randomness(1):
        inside = draw()
    found = []
    with pytest.raises(ZeroDivisionError), contained_randomness(1):  # noqa: PT012
        found.append(draw())
        found.append(1 / 0)
    (again,) = found
    outside = draw()
    for a, b in ((inside, again), (outside, expected)):
        assert torch.equal(a[0], b[0])
        assert a[1:] == b[1:]
    assert not torch.equal(inside[0], outside[0])


def test_levels_survive_and_nothing_is_cut_silently():
    levels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    for low in (0.0, -1.0):
        assert torch.equal(uint8_frames(float_frames(levels, low=low), low=low), levels)
    assert torch.equal(uint8_frames(torch.tensor([-0.001, 1.001])), torch.tensor([0, 255]).byte())
    for wrong in (
        torch.tensor([0.0, 1.1]),
        torch.tensor([-0.1, 1.0]),
        torch.tensor([0, torch.nan]),
    ):
        with pytest.raises(ValueError, match=r"frames: expected finite values in 0\.\.1"):
            uint8_frames(wrong)
    assert uint8_frames(torch.tensor([-3.0, 3.0]), low=-1, clamp=True).tolist() == [0, 255]
    with pytest.raises(ValueError, match="finite"):
        uint8_frames(torch.tensor([0.0, torch.nan]), clamp=True)
    with pytest.raises(TypeError, match="int64"):
        uint8_frames(torch.tensor([1]))
