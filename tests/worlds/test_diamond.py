"""A sampler of DIAMOND's shape: contexts, noise per row, quantising, the contract."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.worlds.tiny_models import TinySampler
from wmscore.testing import check_world_model, sprite_items
from wmscore.worlds import DiamondModel, Item, SpriteWorld

SIZE = 32
NAMES = ("noop", "left", "right", "up", "down")


def model(sampler: object | None = None, **options: object) -> DiamondModel:
    return DiamondModel(
        sampler or TinySampler(),  # type: ignore[arg-type]
        action_names=NAMES,
        fps=10.0,
        frame_size=(SIZE, SIZE),
        **options,  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return sprite_items(2, 6, world=SpriteWorld(SIZE, SIZE))


def test_contract(items: list[Item]) -> None:
    before = torch.get_rng_state()
    report = check_world_model(model(), items, 6)
    report.raise_on_failure()
    found = {row.property: row for row in report.rows}
    assert found["deterministic"].observed == "bitwise equal"
    assert found["seedable"].observed != "bitwise equal"
    assert not found["batch invariant"].promised
    assert report.action_effect > 0.1
    assert torch.get_rng_state().equal(before)


@pytest.mark.parametrize("churn", [0.0, 0.2])
def test_a_row_has_the_same_noise_alone(items: list[Item], churn: float) -> None:
    """The first frame of a row, whose network sees the same context, agrees to rounding."""
    items = [replace(item, seed=i) for i, item in enumerate(items)]
    sampler = TinySampler(churn=churn)
    together = model(sampler).rollout(items, 1).frames[:, 1].int()
    for i, item in enumerate(items):
        alone = model(sampler).rollout([item], 1).frames[0, 1].int()
        assert (together[i] - alone).abs().max() <= 1
    other = model(sampler).rollout([replace(items[0], seed=99)], 1).frames[0, 1].int()
    assert (together[0] - other).abs().max() > 1


def test_what_the_sampler_sees(items: list[Item]) -> None:
    sampler = TinySampler()
    rolled = model(sampler).rollout(items, 3)
    obs, act = sampler.seen[2]
    assert obs.dtype == torch.float32
    assert tuple(obs.shape) == (4, 4, 3, SIZE, SIZE)
    shown = ((obs + 1) * 127.5).round().to(torch.uint8)
    first = torch.stack([item.frame for item in items])  # type: ignore[misc]
    assert shown[:, 0].equal(first)
    assert shown[:, 1].equal(first)
    assert shown[:, 2:].equal(rolled.frames[:, 1:3])
    assert act[0].tolist() == [0, *items[0].actions[:3].tolist()]
    assert rolled.frames.dtype == torch.uint8
    assert rolled.frames[:, 0].equal(first)


def test_answers_that_are_no_frames_are_refused(items: list[Item]) -> None:
    class Answering:
        """Answers what it is told to."""

        def __init__(self, answer: object) -> None:
            self.answer = answer

        def sample(self, prev_obs: Tensor, prev_act: Tensor) -> object:
            return self.answer

    good = torch.zeros(4, 3, SIZE, SIZE)
    nan, far = good.clone(), good.clone()
    nan[2, 0, 0, 0] = torch.nan
    far[1] = 1.2
    with pytest.raises(ValueError, match=r"'diamond': expected finite .* in rows \[2\] of 4"):
        model(Answering((nan, []))).rollout(items, 1)
    with pytest.raises(ValueError, match=r"expected finite values in -1\.\.1, .* in rows \[1\]"):
        model(Answering(far)).rollout(items, 1)
    assert model(Answering(far), clamp=True).rollout(items, 1).frames[1, 1].unique().tolist() == [
        255
    ]
    with pytest.raises(ValueError, match=r"expected frames \[B, 3, H, W\] of sample, got NoneType"):
        model(Answering(None)).rollout(items, 1)


def test_vector_actions(items: list[Item]) -> None:
    class Echo:
        """Remembers its actions."""

        def sample(self, prev_obs: Tensor, prev_act: Tensor) -> Tensor:
            self.act = prev_act
            return prev_obs[:, -1]

    echo = Echo()
    vectors = [
        replace(
            item,
            actions=torch.rand(2, 51),
            action_names=tuple(f"column-{i}" for i in range(51)),
            noop=None,
        )
        for item in items
    ]
    csgo = DiamondModel(echo, continuous=True, fps=16.0, frame_size=(SIZE, SIZE))
    csgo.rollout(vectors, 2)
    assert tuple(echo.act.shape) == (4, 4, 51)
    assert echo.act[:, -2:].equal(torch.stack([item.actions for item in vectors]))
    assert not echo.act[:, :2].any()
