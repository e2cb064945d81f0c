"""Noise per row under third-party samplers: what is cut into rows, and what is contained."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from wmscore.testing import sprite_items
from wmscore.worlds.randomness import row_generators
from wmscore.worlds.row_noise import RowNoise, contained_row_noise

Draw = Callable[[int], Tensor]
DRAWS: dict[str, Draw] = {
    "randn": lambda n: torch.randn(n, 2),
    "randn of a tuple": lambda n: torch.randn((n, 2)),
    "randn by keywords": lambda n: torch.randn(size=(n, 2), dtype=torch.float64, generator=None),
    "rand of rows and steps": lambda n: torch.rand(n * 3, 2),
    "randn_like": lambda n: torch.randn_like(torch.zeros(n, 4)),
    "rand_like": lambda n: torch.rand_like(torch.zeros(n, 4)),
    "randint": lambda n: torch.randint(1000, (n, 4)),
    "randint from to": lambda n: torch.randint(500, 1000, (n, 4)),
    "randint by keywords": lambda n: torch.randint(high=1000, size=(n, 4)),
    "normal_": lambda n: torch.empty(n, 2).normal_(3, 2),
    "uniform_": lambda n: torch.empty(n, 2).uniform_(-1, 1),
    "exponential_": lambda n: torch.empty(n, 2).exponential_(),
    "bernoulli": lambda n: torch.bernoulli(torch.full((n, 64), 0.5)),
    "multinomial": lambda n: torch.multinomial(torch.ones(n * 2, 1000), 1),
    "categorical": lambda n: torch.distributions.Categorical(probs=torch.ones(n, 1000)).sample(),
}


def draw(make: Draw, seeds: list[int]) -> tuple[Tensor, RowNoise]:
    noise = RowNoise([torch.Generator().manual_seed(seed) for seed in seeds])
    with noise:
        return make(len(seeds)).view(len(seeds), -1), noise


@pytest.mark.parametrize("name", DRAWS)
def test_a_row_draws_the_same_in_any_batch(name: str) -> None:
    together, noise = draw(DRAWS[name], [3, 4, 5])
    alone, _ = draw(DRAWS[name], [4])
    assert together[1].equal(alone[0])
    assert not together[0].equal(together[1])
    assert noise.shared == 0


def test_ranges_are_those_asked_for() -> None:
    found, _ = draw(DRAWS["randint from to"], [1] * 50)
    assert 500 <= int(found.min()) < int(found.max()) < 1000
    found, _ = draw(lambda n: torch.empty(n, 4000).normal_(3, 2), [1])
    assert abs(float(found.mean()) - 3) < 0.2
    assert abs(float(found.std()) - 2) < 0.2


def test_other_sizes_are_shared_and_counted() -> None:
    for make in (
        lambda n: torch.randn(7, 2)[:1],
        lambda n: torch.empty(7).uniform_()[:1],
        lambda n: torch.multinomial(torch.ones(9), 2),
        lambda n: torch.normal(torch.zeros(2), torch.ones(2)),
        lambda n: torch.randperm(4),
    ):
        noise = RowNoise([torch.Generator().manual_seed(seed) for seed in (1, 2)])
        with noise:
            make(2)
        assert noise.shared == 1


def test_a_given_generator_is_left_alone() -> None:
    noise = RowNoise([torch.Generator().manual_seed(1)])
    with noise:
        found = torch.randn(1, 3, generator=torch.Generator().manual_seed(9))
    assert found.equal(torch.randn(1, 3, generator=torch.Generator().manual_seed(9)))
    assert noise.shared == 0


def test_nothing_leaks_out() -> None:
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    items = sprite_items(1, 2, seeds=(4,))
    found = []
    for _ in range(2):
        with contained_row_noise(row_generators(items, 3)) as noise:
            found.append([torch.randn(7), random.random(), np.random.rand()])  # noqa: NPY002
        assert noise.shared == 1
    assert found[0][0].equal(found[1][0])
    assert found[0][1:] == found[1][1:]
    assert torch.get_rng_state().equal(states[0])
    assert random.getstate() == states[1]
    assert (np.random.get_state()[1] == states[2]).all()  # noqa: NPY002
    with contained_row_noise(row_generators(items, 4)):
        assert not torch.randn(7).equal(found[0][0])
    with pytest.raises(ValueError, match="generators: expected at least one"):
        RowNoise([])
