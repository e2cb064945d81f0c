"""The stream of labelled rollouts: every model beside the truth, which is played once."""

import importlib.util
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from identity_rollouts import FAULTS, SETTINGS, fault_contrast, identity_items, identity_rollouts

from wmscore.rollouts import Rollouts
from wmscore.testing.disturbances import Disturbed, Gain
from wmscore.worlds import Item, OtherSeed, SpriteWorld, WorldModel


class Counting:
    """The sprite world, which counts the rows that it plays."""

    name = "counting"

    def __init__(self) -> None:
        self.world, self.rows = SpriteWorld(), 0
        self.capabilities = self.world.capabilities

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        self.rows += len(items)
        return self.world.rollout(items, horizon)


def test_the_truth_is_played_once_for_all_models() -> None:
    world = Counting()
    models = {
        "clean": lambda world: world,
        "gain": lambda world: Disturbed(world, Gain(0.5)),
        **FAULTS,
    }
    found: dict[str, list[int]] = {name: [] for name in models}
    scenarios = []
    for truth, rollouts in identity_rollouts(
        "sprites-64", models, scenarios=range(6), horizon=24, batch_size=4, world=world
    ):
        assert list(rollouts) == list(models)
        scenarios += truth.scenario.tolist()
        for name, answer in rollouts.items():
            assert answer.reference is not None
            assert answer.reference_index is not None
            assert torch.equal(answer.reference[answer.reference_index], truth.frames)
            assert torch.equal(answer.frames[:, 0], truth.frames[:, 0])
            if name != "clean":
                step = answer.info.get("fault_step", torch.ones(len(answer)))
                found[name] += step.tolist()
                differs = (answer.frames != truth.frames).flatten(1).any(1)
                assert torch.equal(differs, step > 0)
        assert torch.equal(rollouts["clean"].frames, truth.frames)
    assert world.rows == 6
    assert scenarios == [*range(6)]
    for name in FAULTS:
        assert sum(step > 0 for step in found[name]) >= 2


def test_contrast_is_the_change_of_what_is_changed() -> None:
    ((truth, rollouts),) = identity_rollouts(
        "sprites-64", {"swap": FAULTS["identity-swap"]}, scenarios=range(3), horizon=16
    )
    swapped = rollouts["swap"]
    assert truth.labels is not None
    step = int(swapped.info["fault_step"][0])
    objects = [int(swapped.info[f"fault_{name}"][0]) for name in ("object", "other_object")]
    mask = torch.isin(truth.labels[0, step], torch.tensor(objects, dtype=torch.uint8))
    gap = (swapped.frames[0, step].double() - truth.frames[0, step].double()).abs().mean(0)
    assert float(fault_contrast(swapped)[0]) == pytest.approx(float(gap[mask].mean()))
    # The same swap in labels alone is not seen; and where nothing is wrong there is no contrast.
    unseen = replace(swapped, frames=truth.frames)
    assert fault_contrast(unseen).tolist() == [0, 0, 0]
    sound = replace(swapped, info={"fault_step": torch.zeros(3, dtype=torch.int64)})
    assert bool(fault_contrast(sound).isnan().all())


def test_a_model_that_asks_something_else_gets_it() -> None:
    world = Counting()
    for truth, rollouts in identity_rollouts(
        "sprites-64", {"other": OtherSeed}, scenarios=[3, 4], horizon=8, world=world
    ):
        assert bool((rollouts["other"].frames != truth.frames).any())
    assert world.rows == 4


def test_scenarios_do_not_depend_on_the_call() -> None:
    setting = SETTINGS["sprites-64"]
    whole = identity_items(setting, range(4), 24, branches=3)
    (some,) = (item for item in identity_items(setting, [2], 24, branches=3) if item.branch == 2)
    assert torch.equal(whole[2 * 3 + 2].actions, some.actions)
    assert whole[1].actions.tolist() == [0] * 24
    scripts = {tuple(item.actions.tolist()) for item in whole if item.branch != 1}
    assert len(scripts) == 8
    # Every second scenario goes away and comes back by the same way.
    moves = dict(enumerate(((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))))
    for item in identity_items(setting, range(1, 20, 2), 24):
        places = torch.tensor([moves[a] for a in item.actions.tolist()]).cumsum(0)
        home = (places == 0).all(1).nonzero().flatten().tolist()
        assert home
        assert int(places[: home[0]].abs().max()) >= 7


@pytest.mark.skipif(importlib.util.find_spec("vizdoom") is None, reason="vizdoom is not installed")
@pytest.mark.parametrize("name", [name for name in SETTINGS if not name.startswith("sprites")])
def test_doom_settings_ask_what_the_world_knows(name: str) -> None:
    setting = SETTINGS[name]
    assert isinstance(setting.make(), WorldModel)
    (item,) = identity_items(setting, [5], 16)
    assert item.reset["seed"] == 5
    assert item.reset["scenario"] == name.removesuffix("-240")
    assert set(setting.moves) <= set(item.action_names)
