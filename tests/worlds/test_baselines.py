"""Baselines: frozen, action-blind and other-seed, and that they keep what was commanded."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from wmscore.rollouts import Rollouts
from wmscore.testing import sprite_items
from wmscore.worlds import (
    ActionBlind,
    Capabilities,
    Frozen,
    Item,
    OtherSeed,
    SpriteWorld,
    WorldModel,
)
from wmscore.worlds.baselines import noop_script

HORIZON = 6


@pytest.fixture
def items() -> list[Item]:
    return sprite_items(2, HORIZON, seeds=(0, 5))


def test_names_and_protocol() -> None:
    world = SpriteWorld()
    models: list[WorldModel] = [Frozen(), Frozen(world), ActionBlind(world), OtherSeed(world)]
    assert all(isinstance(model, WorldModel) for model in models)
    assert [m.name for m in models] == ["frozen", "frozen", "action-blind", "other-seed"]
    assert [m.capabilities.actions for m in models] == ["none", "none", "none", "discrete"]
    assert [m.capabilities.seedable for m in models] == [False, False, False, True]
    assert Frozen(SpriteWorld(20, 30)).capabilities.frame_size == (20, 30)


@pytest.mark.parametrize("model", [Frozen(), ActionBlind(SpriteWorld()), OtherSeed(SpriteWorld())])
def test_keys_and_actions_are_those_of_the_items(model: WorldModel, items: list[Item]) -> None:
    rollouts = model.rollout(items, HORIZON)
    assert rollouts.scenario.tolist() == [item.scenario for item in items]
    assert rollouts.seed.tolist() == [item.seed for item in items]
    assert rollouts.branch.tolist() == [item.branch for item in items]
    assert torch.equal(rollouts.actions, torch.stack([item.actions for item in items]))
    assert (rollouts.model, rollouts.panel) == (model.name, "sprite-items")
    given = torch.stack([item.frame for item in items if item.frame is not None])
    assert torch.equal(rollouts.frames[:, 0], given)


def test_frozen_repeats_frame_and_labels(items: list[Item]) -> None:
    rollouts = Frozen().rollout(items, HORIZON)
    assert rollouts.frames.shape[1] == HORIZON + 1
    assert torch.equal(rollouts.frames, rollouts.frames[:, :1].expand_as(rollouts.frames))
    assert rollouts.labels is not None
    for row, item in enumerate(items):
        assert item.labels is not None
        assert torch.equal(rollouts.labels[row, -1], item.labels)
    assert Frozen().rollout([replace(i, labels=None) for i in items], 2).labels is None


def test_frozen_needs_frames(items: list[Item]) -> None:
    with pytest.raises(ValueError, match="frame"):
        Frozen().rollout([replace(items[0], frame=None)], 2)
    with pytest.raises(ValueError, match="labels in all or none, got 1 of 2"):
        Frozen().rollout([items[0], replace(items[1], labels=None)], 2)


def test_action_blind_shows_the_no_op_branch(items: list[Item]) -> None:
    world = SpriteWorld()
    blind, truth = ActionBlind(world).rollout(items, HORIZON), world.rollout(items, HORIZON)
    for row in range(0, len(items), 2):  # branch 1 is the no-op script
        assert torch.equal(blind.frames[row], truth.frames[row + 1])
        assert torch.equal(blind.frames[row + 1], truth.frames[row + 1])
        assert not torch.equal(blind.frames[row], truth.frames[row])
    with pytest.raises(ValueError, match="no noop action"):
        ActionBlind(world).rollout([replace(items[0], noop=None)], 2)


def test_other_seed_draws_the_noise_from_the_seed(items: list[Item]) -> None:
    world = SpriteWorld()
    other, truth = OtherSeed(world).rollout(items, HORIZON), world.rollout(items, HORIZON)
    drawn = world.rollout([replace(i, noise_seed=i.seed + 1) for i in items], HORIZON)
    assert torch.equal(other.frames, drawn.frames)
    assert torch.equal(other.frames[:, 0], truth.frames[:, 0])
    for row in range(len(items)):
        assert not torch.equal(other.frames[row], truth.frames[row])
    assert not torch.equal(other.frames[0], other.frames[2])  # seeds 0 and 5 of one scenario


def test_edits_of_keys_are_undone(items: list[Item]) -> None:
    class Renaming:
        """A world that answers under other keys."""

        name = "renaming"
        capabilities = Capabilities(actions="discrete", fps=10.0, frame_size=(64, 64))

        def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
            return replace(
                SpriteWorld().rollout(items, horizon), seed=torch.zeros(len(items)).long() + 77
            )

    assert OtherSeed(Renaming()).rollout(items, 2).seed.tolist() == [0, 0, 5, 5] * 2


def test_noop_script_of_vectors() -> None:
    item = replace(
        sprite_items(1, 3)[0], actions=torch.ones(3, 2), action_names=("x", "y"), noop=(0.0, 0.5)
    )
    expected = torch.tensor([[0.0, 0.5]] * 3)
    torch.testing.assert_close(noop_script(item), expected, rtol=0, atol=0)
