"""GymnasiumWorld: seeds, options, ends, every way of resetting, vectors, labels, processes."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from wmscore.testing import check_world_model
from wmscore.worlds import Item, WorldModel
from wmscore.worlds.gymnasium import GymnasiumWorld

pytest.importorskip("gymnasium")
from tests.worlds.gym_rooms import Room, make_blind_room, make_room, make_vector_room

NAMES = ("stay", "right")


def row(script: Sequence[Any], reset_seed: int = 0, **changes: Any) -> Item:
    """A row of the room: 0 stays, 1 goes right."""
    fields = {
        "panel": "p",
        "scenario": 0,
        "scenario_id": "room",
        "initial_state_id": "room",
        "reset": {"seed": reset_seed},
        "seed": 0,
        "branch": 0,
        "actions": torch.tensor(script),
        "action_names": NAMES,
        "noop": 0,
    }
    return Item(**(fields | changes))


def places(frames: Tensor) -> list[list[int]]:
    """Where the dot is in each frame."""
    return frames[:, :, 0, 0].argmax(-1).tolist()


def room(**options: Any) -> GymnasiumWorld:
    return GymnasiumWorld(make_room, actions=NAMES, **options)


def test_rows_follow_their_seeds_and_scripts() -> None:
    with room() as world:
        assert isinstance(world, WorldModel)
        assert world.capabilities.action_names == NAMES
        assert (world.capabilities.frame_size, world.capabilities.fps) == ((4, 10), 6)
        rollouts = world.rollout([row([1, 1, 0, 1], 2), row([0, 1, 1, 1], 4)], 4)
        assert places(rollouts.frames) == [[2, 3, 4, 4, 5], [1, 1, 2, 3, 4]]
        assert bool(rollouts.valid.all())
        assert rollouts.frames.dtype == torch.uint8


@pytest.mark.parametrize("num_envs", [1, 2, 3])
def test_an_ended_row_shows_its_last_frame_and_nothing_of_the_next_episode(num_envs: int) -> None:
    items = [row([1] * 9, 2), row([0] * 9, 1), row([1] * 9, 0)]
    with room(num_envs=num_envs) as world:
        rollouts = world.rollout(items, 9)
    # The dot ends at column 8.
    assert places(rollouts.frames)[0] == [2, 3, 4, 5, 6, 7, 8, 8, 8, 8]
    assert rollouts.valid.sum(1).tolist() == [7, 10, 9]
    assert rollouts.frames[:, :, 1].amax().item() == 2  # the next episode has 200


def test_every_way_of_resetting_shows_the_same_but_for_the_last_frame() -> None:
    items = [row([1] * 9, 2), row([0, 1] * 4 + [1], 1), row([1] * 9, 0)]
    found = {}
    for mode in ("NextStep", "Disabled", "SameStep"):
        with GymnasiumWorld(functools.partial(make_vector_room, mode), actions=NAMES) as world:
            assert world.num_envs == 2
            found[mode] = world.rollout(items, 9)
    assert torch.equal(found["NextStep"].frames, found["Disabled"].frames)
    assert torch.equal(found["NextStep"].valid, found["Disabled"].valid)
    assert found["NextStep"].valid.sum(1).tolist() == [7, 10, 9]
    assert found["SameStep"].valid.sum(1).tolist() == [6, 10, 8]
    both = found["SameStep"].valid
    assert torch.equal(found["SameStep"].frames[both], found["NextStep"].frames[both])


def test_repeat_ends_where_the_episode_ends() -> None:
    with room(frame_skip=2) as world:
        assert world.capabilities.fps == 3
        rollouts = world.rollout([row([1, 1, 1, 1], 1), row([1, 1, 1, 1], 0)], 4)
    # From column 1 the fourth action ends with its first half, from column 0 with its second.
    assert places(rollouts.frames) == [[1, 3, 5, 7, 8], [0, 2, 4, 6, 8]]
    assert bool(rollouts.valid.all())
    with room(frame_skip=2, num_envs=2) as world:
        longer = world.rollout([row([1] * 6, 1), row([1] * 6, 0)], 6)
    assert longer.valid.sum(1).tolist() == [5, 5]
    assert places(longer.frames) == [[1, 3, 5, 7, 8, 8, 8], [0, 2, 4, 6, 8, 8, 8]]


def test_options_and_warmups_lead_to_the_initial_state() -> None:
    start = {"seed": 1, "options": {"start": 3}}
    warm = {"seed": 1, "warmup": ["right", "stay", "right"]}
    items = [row([1, 0], reset=start), row([0, 1], reset=warm), row([1, 1], 1)]
    with room(num_envs=3) as world:
        assert places(world.rollout(items, 2).frames) == [[4, 5, 5], [3, 3, 4], [1, 2, 3]]
        with pytest.raises(ValueError, match="ends the episode of 'room'"):
            world.rollout([row([0], reset={"seed": 2, "warmup": ["right"] * 6})], 1)
        assert places(world.rollout(items[:1], 2).frames) == [[4, 5, 5]]  # and it goes on


def test_noise_seed_redraws_what_is_drawn_later_only() -> None:
    script = [1, 0, 1]
    items = [row(script, 1, noise_seed=noise) for noise in (None, 8, 8, 9)]
    with room(num_envs=2) as world:
        frames = world.rollout(items, 3).frames
        again = world.rollout([row(script, 1, seed=5)], 3).frames
    assert torch.equal(frames[1], frames[2])
    assert torch.equal(frames[:, 0], frames[:1, 0].expand(4, -1, -1, -1))
    assert places(frames) == [[1, 2, 2, 3]] * 4
    chances = frames[:, 1:, 2, 0, 0].tolist()
    assert len({tuple(chance) for chance in chances}) == 3
    assert torch.equal(again[0], frames[0])  # Item.seed changes nothing


def test_vectors_are_taken_by_the_names_of_their_components() -> None:
    make = functools.partial(Room, vector=True, render_mode="rgb_array")
    script = torch.tensor([[0.25, 1.0], [0.0, 1.0]])
    swapped = row(script.tolist(), action_names=("ink", "way"))
    straight = row(script.flip(1).tolist(), action_names=("way", "ink"))
    with GymnasiumWorld(make, actions=["way", "ink"], action_units=["metre", "button"]) as world:
        assert world.capabilities.actions == "continuous"
        assert world.capabilities.action_units == ("metre", "button")
        frames = world.rollout([swapped, straight], 2).frames
        assert places(frames) == [[0, 1, 2]] * 2
        with pytest.raises(ValueError, match=r"expected a vector of Box.*got \[0\.0, 1\.5\]"):
            world.rollout([row([[0.0, 1.5]], action_names=("way", "ink"))], 1)
        with pytest.raises(ValueError, match=r"\['ink'\] are missing"):
            world.rollout([row([[0.0]], action_names=("way",))], 1)
        with pytest.raises(ValueError, match=r"expected \[T, 2\]"):
            world.rollout([row([0, 1], action_names=("way", "ink"))], 2)
    table = {"rest": [0, 0], "leap": [1, 0.5]}
    with GymnasiumWorld(make, actions=table) as world:
        assert world.capabilities.action_names == ("rest", "leap")
        leaps = world.rollout([row([0, 1, 1], action_names=("leap", "rest"))], 3)
        assert places(leaps.frames) == [[0, 1, 1, 1]]


def test_observations_are_frames_and_labels_too() -> None:
    options: dict[str, Any] = {"frames": "observation/pixels", "labels": "observation/ids"}
    item = row([1, 1, 1, 1, 1, 1, 1, 1], 2)
    with GymnasiumWorld(make_blind_room, actions=NAMES, num_envs=2, **options) as world:
        seen = world.rollout([item], 8)
    with room() as other:
        assert torch.equal(seen.frames, other.rollout([item], 8).frames)
    assert seen.labels is not None
    assert torch.equal(seen.labels, (seen.frames[:, :, 0] > 0).int() * 3)
    for frames, found in (
        ("observation", r"expected 'observation/KEY' with one of \['ids', 'pixels'\]"),
        ("observation/view", r"expected an observation 'view', got \['ids', 'pixels'\]"),
        ("observation/ids", r"expected images \[H, W, 3\] uint8, got \[4, 10\] uint16"),
        ("render", "renders nothing; expected one made with render_mode='rgb_array'"),
        ("screen", "expected 'render' or 'observation' or 'observation/KEY', got 'screen'"),
    ):
        with pytest.raises(ValueError, match=found):
            GymnasiumWorld(make_blind_room, frames=frames)


def test_bad_input_is_named() -> None:
    with room() as world:
        for changes, found in (
            ({"reset": {"seed": -1}}, r"reset\.seed: expected an integer of at least 0, got -1"),
            ({"reset": {}}, r"reset\.seed: .*got None"),
            ({"reset": {"seed": 0, "level": 3}}, r"expected the keys .*got \['level'\]"),
            ({"reset": {"seed": 0, "options": 3}}, r"reset\.options: expected an object, got 3"),
            ({"reset": {"seed": 0, "warmup": ["jump"]}}, r"reset\.warmup: .*got \['jump'\]"),
            ({"action_names": ("stay", "jump")}, r"action_names: expected names out of .*jump"),
            ({"actions": torch.tensor([2])}, r"actions: expected 0\.\.1, got \[2\]"),
            ({"actions": torch.tensor([[0.5]])}, r"actions: expected \[T\] indices"),
        ):
            with pytest.raises(ValueError, match=found):
                world.rollout([row([0], **changes)], 1)
    for options, found in (
        ({"actions": ["a", "b", "c"]}, "expected 2 different names"),
        ({"actions": {"a": 4}}, r"actions\['a'\]: expected an action of Discrete\(2"),
        ({"frame_skip": 0}, "frame_skip: expected an integer of at least 1"),
        ({"context": "thread"}, "context: expected one of"),
        ({"action_units": ["metre"]}, "action_units: expected 0 or none for discrete"),
        ({"gravity": 3}, r"\['gravity'\]: expected with the name of an environment only"),
    ):
        with pytest.raises(ValueError, match=found):
            GymnasiumWorld(make_room, **options)
    vector = functools.partial(make_vector_room, "NextStep")
    with pytest.raises(ValueError, match="expected with a single environment only"):
        GymnasiumWorld(vector, num_envs=2)


def test_promises_hold_on_a_real_environment() -> None:
    pytest.importorskip("pygame")
    names = ("left", "right")
    items = [row([i, 1, 0], i, action_names=names, noop=None) for i in range(2)]
    with GymnasiumWorld("CartPole-v1", actions=names, num_envs=2) as world:
        assert (world.name, world.capabilities.fps) == ("gymnasium CartPole-v1", 50)
        first = world.rollout(items, 3).frames[:, 0]
        items = [dataclasses.replace(item, frame=f) for item, f in zip(items, first, strict=True)]
        check_world_model(world, items, 3).raise_on_failure()


def test_processes_show_the_same_and_leave_nothing_behind() -> None:
    items = [row([1] * 9, 2, noise_seed=3), row([0, 1, 1] * 3, 1), row([1] * 9, 0)]
    with room(num_envs=2, processes=True) as world, room() as other:
        rollouts, expected = world.rollout(items, 9), other.rollout(items, 9)
        assert torch.equal(rollouts.frames, expected.frames)
        assert torch.equal(rollouts.valid, expected.valid)
        processes = world._vector.processes
        assert all(process.is_alive() for process in processes)
    assert not any(process.is_alive() for process in processes)
