"""The stream of counterfactual groups: scripts, models with a known response, what is kept."""

import importlib.util
import weakref
from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from response_rollouts import SETTINGS, known_models, response_items, response_rollouts

from wmscore.rollouts import Rollouts
from wmscore.worlds import ActionBlind, Item, SpriteWorld, WorldModel

SPRITES = SETTINGS["sprites-64"]
HORIZON = 12


class Counting:
    """The sprite world, which counts the rows that it plays."""

    name = "counting"

    def __init__(self) -> None:
        self.world, self.rows = SPRITES.make(), 0
        self.capabilities = self.world.capabilities

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        self.rows += len(items)
        return self.world.rollout(items, horizon)


# ---- scripts -----------------------------------------------------------------------------


@pytest.mark.parametrize("scripts", ["held", "iid"])
def test_a_group_is_commanded_noop_and_random(scripts: str) -> None:
    items = response_items(SPRITES, range(20), 200, scripts=scripts, randoms=2)
    assert [item.branch for item in items] == [0, 1, 2, 3] * 20
    script = torch.stack([item.actions for item in items]).view(20, 4, 200)
    assert script[:, 1].unique().tolist() == [0]
    assert len({str(s.tolist()) for s in script[:, [0, 2, 3]].flatten(0, 1)}) == 60
    for branch in (0, 2, 3):  # every action is as likely
        count = script[:, branch].flatten().bincount(minlength=5) / 4000
        torch.testing.assert_close(count, torch.full((5,), 0.2), rtol=0, atol=0.05)
    kept = (script.diff(dim=2) == 0).float().mean((0, 2))
    # Held for four steps on average; four of five next actions are others.
    expected = [1 - 0.8 / 4 if scripts == "held" else 0.2, 1.0, 0.2, 0.2]
    torch.testing.assert_close(kept, torch.tensor(expected), rtol=0, atol=0.03)
    if scripts == "held":
        runs = []
        for commanded in script[:, 0].tolist():
            ends = [t for t in range(1, 200) if commanded[t] != commanded[t - 1]]
            runs += [b - a for a, b in pairwise(ends)]
        assert min(runs) == 2


def test_scenarios_do_not_depend_on_the_call() -> None:
    whole = response_items(SPRITES, range(4), 24, scripts="iid", randoms=3)
    some = response_items(SPRITES, [2], 24, scripts="iid", randoms=3)
    for mine, theirs in zip(some, whole[10:15], strict=True):
        assert torch.equal(mine.actions, theirs.actions)
        assert (mine.reset, mine.branch, mine.panel) == (theirs.reset, theirs.branch, theirs.panel)
    with pytest.raises(ValueError, match=r"scripts: expected one of \['held', 'iid'\], got 'long'"):
        response_items(SPRITES, [0], 8, scripts="long", randoms=1)


# ---- the stream --------------------------------------------------------------------------


def test_what_is_in_the_truth_is_not_played_again() -> None:
    world = Counting()
    free = ("truth", "frozen", "action-blind", "shuffled", "half-speed", "time-reversed")
    known = known_models()
    models = {name: known[name].make for name in (*free, "mirrored", "action-blind")}
    for batch, (truth, answers) in enumerate(
        response_rollouts(
            "sprites-64", models, scenarios=range(4), horizon=HORIZON, batch_size=2, world=world
        )
    ):
        assert len(truth) == 8
        assert world.rows == batch * (8 + 6) + 8
        played = []
        for name, rollouts in answers:
            played.append((name, world.rows - batch * (8 + 6) - 8))
            assert rollouts.reference is not None
            assert rollouts.reference_index is not None
            assert torch.equal(rollouts.reference[rollouts.reference_index], truth.frames)
            assert torch.equal(rollouts.actions, truth.actions)
            assert torch.equal(rollouts.branch, truth.branch)
            assert torch.equal(rollouts.frames[:, 0], truth.frames[:, 0])
        # Mirrored scripts are new, but for that of no-op.
        assert played == [*((name, 0) for name in free), ("mirrored", 6)]
    assert batch == 1


def test_answers_are_those_of_the_models_alone() -> None:
    known = known_models(HORIZON)
    items = response_items(SPRITES, [5, 6], HORIZON, scripts="held", randoms=1)
    first = SPRITES.make().rollout(items, 1)
    ((truth, answers),) = [
        (truth, dict(answers))
        for truth, answers in response_rollouts(
            "sprites-64",
            {name: k.make for name, k in known.items()},
            scenarios=[5, 6],
            randoms=1,
            horizon=HORIZON,
        )
    ]
    assert list(answers) == list(known)
    given = [
        Item(**{**vars(item), "frame": first.frames[row, 0], "labels": first.labels[row, 0]})
        for row, item in enumerate(items)
    ]
    for name, model in known.items():
        alone = model.make(SPRITES.make()).rollout(given, HORIZON)
        assert torch.equal(answers[name].frames, alone.frames), name
        assert torch.equal(answers[name].actions, truth.actions), name
        for key, value in alone.info.items():
            assert torch.equal(answers[name].info[key], value)


def test_no_more_than_one_model_is_kept() -> None:
    known = known_models(HORIZON)
    models = {name: known[name].make for name in ("mirrored", "delay-1", "gain-0.5", "noisy-0.5")}
    kept: list[weakref.ref[torch.Tensor]] = []
    for _, answers in response_rollouts(
        "sprites-64", models, scenarios=range(4), horizon=HORIZON, batch_size=2
    ):
        for name, rollouts in answers:
            kept.append(weakref.ref(rollouts.frames))
            del rollouts
            assert name in models
            assert sum(ref() is not None for ref in kept) <= 1
    assert len(kept) == 8


def test_gains_are_whole_pixels() -> None:
    world = SPRITES.make()
    assert isinstance(world, SpriteWorld)
    for known in known_models().values():
        if known.kind == "gain":
            assert world.scaled(known.value).pan % 1 == 0


def test_noise_does_not_depend_on_the_branch_but_actions_do() -> None:
    """Other-seed branches share their noise; and blind models show one film in a whole group."""
    models = {"other": known_models()["other-seed"].make, "blind": ActionBlind}
    for truth, answers in response_rollouts(
        "sprites-64", models, scenarios=[1], horizon=HORIZON, batch_size=1
    ):
        films = dict(answers)
        assert bool((films["blind"].frames == films["blind"].frames[:1]).all())
        assert bool((films["other"].frames[1:] != films["other"].frames[:1]).any())
        assert bool((films["other"].frames != truth.frames).any())


# ---- the table of models -----------------------------------------------------------------


def test_known_models_say_what_is_known() -> None:
    known = known_models()
    assert [k.value for k in known.values() if k.kind == "delay"] == [1, 2, 3, 4, 5, 6]
    assert [k.value for k in known.values() if k.kind == "gain"] == [0.25, 0.5, 0.75, 1.25, 1.5]
    shares = [k.value for k in known.values() if k.kind == "noise"]
    assert shares == sorted(shares)
    assert (min(shares), max(shares)) == (0.1, 1.0)
    assert {k.kind for k in known.values()} == {
        "truth", "floor", "wrong", "delay", "gain", "noise", "other",
    }  # fmt: skip
    assert "ignored" not in known_models(4)
    assert "delay-4" not in known_models(4)


@pytest.mark.skipif(importlib.util.find_spec("vizdoom") is None, reason="vizdoom is not installed")
@pytest.mark.parametrize("name", ["my_way_home", "my_way_home-turns", "health_gathering"])
def test_doom_settings_ask_what_the_world_knows(name: str) -> None:
    setting = SETTINGS[name]
    world = setting.make()
    assert isinstance(world, WorldModel)
    items = response_items(setting, [5], 16, scripts="held", randoms=1)
    assert [item.reset["scenario"] for item in items] == [name.removesuffix("-turns")] * 3
    assert set(setting.names) <= set(world.capabilities.action_names)
    assert setting.names[0] == "noop"
    assert "attack" not in setting.names


@pytest.mark.vizdoom
def test_doom_groups_with_known_models() -> None:
    known = known_models(6)
    names = ("truth", "action-blind", "mirrored", "gain-0.5", "noisy-0.5", "time-reversed")
    models = {name: known[name].make for name in names}
    for truth, answers in response_rollouts(
        "my_way_home", models, scenarios=[3], horizon=6, randoms=1, scripts="iid"
    ):
        films = dict(answers)
        assert truth.frames.shape == (3, 7, 3, 120, 160)
        assert torch.equal(films["truth"].frames, truth.frames)
        assert bool((films["action-blind"].frames == truth.frames[1]).all())
        assert torch.equal(films["mirrored"].frames[1], truth.frames[1])
        assert bool((films["mirrored"].frames[0] != truth.frames[0]).any())
        assert torch.equal(films["time-reversed"].frames[:, 1], truth.frames[:, 6])
