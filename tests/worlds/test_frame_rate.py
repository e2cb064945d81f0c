"""A model of a higher frame rate behind a panel of a lower one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from wmscore.rollouts import Rollouts
from wmscore.testing import check_world_model, sprite_items
from wmscore.worlds import AtFrameRate, Frozen, Item, SpriteWorld, TeacherForced

SIZE = 32
WORLD = SpriteWorld(SIZE, SIZE)  # 10 frames per second


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return sprite_items(2, 6, world=WORLD)


def test_actions_are_held_and_frames_between_are_not_shown(items: list[Item]) -> None:
    slow = AtFrameRate(WORLD, 5.0)
    rolled = slow.rollout(items, 3)
    held = [replace(item, actions=item.actions[:3].repeat_interleave(2)) for item in items]
    long = WORLD.rollout(held, 6)
    assert rolled.frames.equal(long.frames[:, ::2])
    assert rolled.labels is not None
    assert long.labels is not None
    assert rolled.labels.equal(long.labels[:, ::2])
    assert rolled.actions.equal(torch.stack([item.actions[:3] for item in items]))
    assert rolled.model == "sprites (10 fps shown at 5)"
    assert slow.conversion_losses == ()
    assert not isinstance(AtFrameRate(Frozen(WORLD), 5.0), TeacherForced)


def test_contract(items: list[Item]) -> None:
    check_world_model(AtFrameRate(WORLD, 5.0), items, 4).raise_on_failure()


def test_increments_are_shared_out(items: list[Item]) -> None:
    class Spy(Frozen):
        """Remembers what it is told."""

        def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
            self.told = [item.actions for item in items]
            self.rates = [item.fps for item in items]
            return super().rollout(items, horizon)

    spy = Spy(WORLD)
    vectors = [
        replace(
            item,
            actions=torch.tensor([[6.0, 1.0], [-3.0, 0.0]]),
            action_names=("yaw", "w"),
            action_units=("degree", "button"),
            noop=None,
            fps=5.0,
        )
        for item in items
    ]
    AtFrameRate(spy, 5.0).rollout(vectors, 2)
    assert spy.told[0].tolist() == [[3.0, 1.0], [3.0, 1.0], [-1.5, 0.0], [-1.5, 0.0]]
    assert spy.rates == [10.0] * 4


def test_bad_rates(items: list[Item]) -> None:
    for fps in (4.0, 20.0, 0.0, -5.0):
        with pytest.raises(ValueError, match="fps: expected a rate of which 10, that of model"):
            AtFrameRate(WORLD, fps)
    with pytest.raises(ValueError, match=r"'sprites-0' is at 8 frames .* takes 5"):
        AtFrameRate(WORLD, 5.0).rollout([replace(items[0], fps=8.0)], 2)
