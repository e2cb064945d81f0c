"""Genie's shape: the adapter, and finding out what latent actions do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from tests.worlds.tiny_models import genie
from wmscore.rollouts import Rollouts
from wmscore.testing import check_world_model, sprite_items
from wmscore.timeline import Timeline
from wmscore.worlds import (
    Capabilities,
    Item,
    LatentActionModel,
    SpriteWorld,
    calibrate_latent_actions,
    item_keys,
)
from wmscore.worlds.latent_assignment import chance_of, motion_effects
from wmscore.worlds.latent_meaning import describe_response
from wmscore.worlds.step import stack_actions

SIZE = 48
WORLD = SpriteWorld(SIZE, SIZE)  # 2 pixels a step
NAMES = WORLD.capabilities.action_names


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return sprite_items(4, 4, branches=2, world=WORLD)


def latent_items(items: Sequence[Item], model: LatentActionModel) -> list[Item]:
    names = model.capabilities.action_names
    return [replace(item, action_names=names, noop=None) for item in items]


def test_adapter(items: list[Item]) -> None:
    model = genie()
    assert model.capabilities.action_names == tuple(f"latent-{i}" for i in range(8))
    given = latent_items(items, model)
    rolled = model.rollout(given, 4)
    # Tokens are pixels, so a move is exact: latent 1 moves the content 2 pixels to the left.
    one = replace(given[0], actions=torch.ones(4, dtype=torch.int64))
    found = model.rollout([one], 3).frames[0]
    assert found[3].equal(one.frame.roll(-6, 2))  # type: ignore[union-attr]
    assert rolled.frames.dtype == torch.uint8
    assert model.dynamics.contexts[:4] == [1, 2, 2, 2]
    seen = model.tokenizer.seen[0]
    assert seen.dtype == torch.float32
    assert float(seen.min()) >= -1
    assert float(seen.max()) <= 1
    assert float(seen.min()) < -0.5


def test_adapter_contract() -> None:
    model = genie(size=16)
    given = latent_items(sprite_items(2, 4, world=SpriteWorld(16, 16)), model)
    report = check_world_model(model, given, 4)
    report.raise_on_failure()
    assert report.action_effect > 0
    # With a temperature the noise of torch.randn is contained, and a row's own.
    warm = genie(0.3, size=16, temperature=1.0)
    before = torch.get_rng_state()
    report = check_world_model(warm, given, 4)
    report.raise_on_failure()
    found = {row.property: row.observed for row in report.rows}
    assert found["seedable"] != "bitwise equal"
    assert found["deterministic"] == found["batch invariant"] == "bitwise equal"
    assert torch.get_rng_state().equal(before)


def test_adapter_options() -> None:
    with pytest.raises(ValueError, match="count: expected the number of latent actions, got None"):
        LatentActionModel(
            None, None, SimpleNamespace(quantizer=None), frame_size=(16, 16), fps=10.0
        )
    with pytest.raises(ValueError, match="steps, temperature: expected at least 1 and 0, got 0"):
        genie(steps=0)


# ---- a model whose actions are secretly the world's, in another order --------------------


class Secret:
    """The sprite world under other names: latent i does what `meaning[i]` says."""

    name = "secret"

    def __init__(self, *meaning: tuple[str, float]) -> None:
        """`(action, gain)` of each latent action; `a+b` does both."""
        self.meaning = meaning
        names = tuple(f"latent-{i}" for i in range(len(meaning)))
        self.capabilities: Capabilities = replace(WORLD.capabilities, action_names=names)
        self.calls: list[int] = []

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        self.calls.append(len(items))
        latents = [int(item.actions[0]) for item in items]
        frames: list[Tensor | None] = [None] * len(items)
        for gain, ways in {(gain, 1 + action.count("+")) for action, gain in self.meaning}:
            told, rows = [], []
            for row, (item, latent) in enumerate(zip(items, latents, strict=True)):
                action, own_gain = self.meaning[latent]
                if (own_gain, 1 + action.count("+")) != (gain, ways):
                    continue
                both = [NAMES.index(name) for name in action.split("+")]
                script = torch.tensor(both * horizon)
                told.append(replace(item, actions=script, action_names=NAMES))
                rows.append(row)
            if told:
                rolled = WORLD.scaled(gain).rollout(told, horizon * ways).frames[:, ::ways]
                for row, shown in zip(rows, rolled, strict=True):
                    frames[row] = shown
        return Rollouts(
            frames=torch.stack([shown for shown in frames if shown is not None]),
            actions=stack_actions(items, horizon),
            model=self.name,
            **item_keys(items),
        )


PERMUTED = (
    ("up", 1.0),
    ("right", 1.0),
    ("noop", 1.0),  # does nothing
    ("left", 1.0),
    ("left", 1.0),  # does the same
    ("down", 1.0),
    ("right+down", 1.0),  # no action of the panel
    ("right", 0.4),  # like one, but not as good
)


def test_a_secret_permutation_is_recovered(items: list[Item]) -> None:
    secret = Secret(*PERMUTED)
    found = calibrate_latent_actions(secret, items, WORLD, batch_size=3)
    assert found.mapping == {
        "noop": "latent-2",
        "left": "latent-3",
        "right": "latent-1",
        "up": "latent-0",
        "down": "latent-5",
    }
    assert found.assigned == ("up", "right", "noop", "left", None, "down", None, None)
    assert found.unassigned == ()
    assert found.does[:6] == (
        "view up 2.0 px",
        "view right 2.0 px",
        "still",
        "view left 2.0 px",
        "view left 2.0 px",
        "view down 2.0 px",
    )
    assert found.does[6] == "view right 2.0 px, view down 2.0 px"
    assert found.why[4] == "does the same as latent-3"
    assert found.why[6].startswith("not clearly one of the panel's actions: closest to")
    assert found.why[7] == "like 'right', but latent-1 fits better"
    assert [name for name, why in zip(found.assigned, found.why, strict=True) if not why] == list(
        filter(None, found.assigned)
    )
    assert float(found.confidence[6]) < 0.5
    assert bool((found.confidence[:6] == 1).all())
    assert found.gain[0, NAMES.index("up")] == pytest.approx(1, abs=0.01)
    assert found.gain[7, NAMES.index("right")] == pytest.approx(0.4, abs=0.1)
    assert found.gain[:, NAMES.index("noop")].isnan().all()  # moves nothing
    assert found.scenarios == 4
    assert secret.calls == [24, 8]  # a scenario's second branch starts the same


@pytest.mark.parametrize("seed", range(3))
def test_any_permutation(items: list[Item], seed: int) -> None:
    order = torch.randperm(5, generator=torch.Generator().manual_seed(seed)).tolist()
    found = calibrate_latent_actions(Secret(*((NAMES[i], 1.0) for i in order)), items, WORLD)
    assert found.assigned == tuple(NAMES[i] for i in order)


def test_what_a_model_cannot_do_stays_unassigned(items: list[Item]) -> None:
    found = calibrate_latent_actions(Secret(("left", 1.0), ("right+down", 1.0)), items, WORLD)
    assert found.mapping == {"left": "latent-0"}
    assert found.unassigned == ("noop", "right", "up", "down")
    assert "not found: noop, right, up, down" in found.table()
    # One that is half as fast is the best there is, and its gain says so.
    slow = calibrate_latent_actions(Secret(("left", 0.5), ("noop", 1.0)), items, WORLD)
    assert slow.mapping == {"noop": "latent-1", "left": "latent-0"}
    assert slow.gain[0, NAMES.index("left")] == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("always", ["noop", "left"])
def test_a_blind_model_has_no_action(items: list[Item], always: str) -> None:
    blind = calibrate_latent_actions(Secret(*[(always, 1.0)] * 3), items, WORLD)
    assert blind.mapping == {}
    assert blind.why == ("all latent actions do the same: the model does not react to them",) * 3


def test_motion_in_random_directions_is_no_action() -> None:
    """A model that moves as fast as an action does, but each time another way."""
    still, count, names = 0.02, 8, 5
    theirs = torch.zeros(names, 4, dtype=torch.float64)
    theirs[1:, :2] = torch.tensor([(2, 0), (-2, 0), (0, 2), (0, -2)])
    for scenarios in (3, 6):
        lucky = 0
        for seed in range(40):
            generator = torch.Generator().manual_seed(seed)
            angle = torch.rand(scenarios, count, generator=generator) * 2 * torch.pi
            mine = torch.zeros(scenarios, count, 4, dtype=torch.float64)
            mine[..., 0], mine[..., 1] = 2 * angle.sin(), 2 * angle.cos()
            fields = motion_effects(mine, theirs.expand(scenarios, -1, -1), 0, (48, 48))[:2]
            chance = chance_of(*fields, torch.arange(scenarios), still, 400, 0)
            lucky += bool((chance * count <= 0.05).any())
        assert lucky <= 6  # of 40, at a rate of 5 %


class Slanted(Secret):
    """Its last latent action moves right and up, right and down, or right, by the scenario."""

    WAYS = ("right+up", "right", "right")

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        parts = []
        for item in items:
            self.meaning = (*self.meaning[:-1], (self.WAYS[item.scenario], 1.0))
            parts.append(super().rollout([item], horizon))
        return Rollouts.concat(parts)


def test_few_scenarios_may_agree_by_chance(items: list[Item]) -> None:
    three = [item for item in items if item.scenario < 3]
    ways = ("left", "up", "down", "noop", "left", "up", "down", "right")
    found = calibrate_latent_actions(Slanted(*((way, 1.0) for way in ways)), three, WORLD)
    assert found.why[7] == "like 'right', which may be chance in so few scenarios"
    assert "right" not in found.mapping
    assert float(found.confidence[7]) > 0.95  # drawn anew, it agrees nearly every time
    assert found.chance[3].isnan()  # moves nothing, which no direction makes
    assert float(found.chance[0]) < 0.005 < float(found.chance[7])
    assert found.to_dict()["latent"][7]["chance"] == pytest.approx(float(found.chance[7]))


def test_actions_that_move_nothing_cannot_be_told_apart(items: list[Item]) -> None:
    """As firing and doing nothing."""

    class Firing:
        """The sprite world with a sixth action that moves nothing."""

        name = "firing"
        capabilities = replace(WORLD.capabilities, action_names=(*NAMES, "attack"))

        def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
            plain = [replace(item, actions=item.actions % 5, action_names=NAMES) for item in items]
            return WORLD.rollout(plain, horizon)

    armed = [replace(item, action_names=(*NAMES, "attack")) for item in items]
    found = calibrate_latent_actions(Secret(("noop", 1.0), ("up", 1.0)), armed, Firing())
    assert found.mapping == {"up": "latent-1"}
    assert found.why[0].endswith("closest to 'noop' (1.00), then 'attack' (1.00)")


def test_noise_is_no_action(items: list[Item]) -> None:
    class Noise:
        """Answers with noise."""

        name = "noise"
        capabilities = replace(WORLD.capabilities, action_names=("latent-0", "latent-1"))

        def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
            generator = torch.Generator().manual_seed(0)
            shape = (len(items), horizon + 1, 3, SIZE, SIZE)
            frames = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
            return Rollouts(
                frames=frames,
                actions=stack_actions(items, horizon),
                model="noise",
                **item_keys(items),
            )

    found = calibrate_latent_actions(Noise(), items, WORLD)
    assert found.mapping == {}
    assert found.does == ("picture cannot be followed",) * 2
    assert found.why == ("its picture cannot be followed",) * 2
    with pytest.raises(ValueError, match="'noise': no action was assigned"):
        found.converter()


def test_without_a_true_world_actions_are_described_only(items: list[Item]) -> None:
    found = calibrate_latent_actions(Secret(*PERMUTED), items[:2])
    assert found.does[0] == "view up 2.0 px"
    assert found.mapping == {}
    assert found.table().splitlines()[0].split() == ["latent", "does"]
    assert json.loads(json.dumps(found.to_dict()))["latent"][2]["does"] == "still"


def test_a_calibrated_genie_replays_the_panel(items: list[Item]) -> None:
    """From the double's tokens to the panel's actions: calibrate, convert, roll out."""
    model = genie()
    found = calibrate_latent_actions(model, items, WORLD)
    assert found.assigned == ("up", "right", "noop", "left", None, "down", None, None)
    commanded = genie(converter=found.converter())
    rolled = commanded.rollout(items, 4)
    assert rolled.actions.equal(stack_actions(items, 4))
    moves = {"noop": (0, 0), "left": (0, 2), "right": (0, -2), "up": (2, 0), "down": (-2, 0)}
    for item, frames in zip(items, rolled.frames, strict=True):
        way = torch.tensor([moves[NAMES[int(a)]] for a in item.actions]).sum(0).tolist()
        assert frames[4].equal(item.frame.roll(way, (1, 2)))  # type: ignore[union-attr]
    assert commanded.conversion_losses == ()


# ---- words and converters ----------------------------------------------------------------


def test_scripts_with_an_action_that_was_not_found(items: list[Item]) -> None:
    found = calibrate_latent_actions(Secret(("left", 1.0), ("noop", 1.0)), items, WORLD)
    strict = found.converter()
    fine = Timeline.of(torch.tensor([1, 0, 1]), NAMES, noop="noop", fps=10.0)
    assert strict(fine).value.tolist() == [0, 1, 0]
    assert strict(fine).lossless
    stray = fine.with_actions(torch.tensor([1, 2]))
    with pytest.raises(ValueError, match=r"no latent action of 'secret' is \['right'\]"):
        strict(stray)
    loose = found.converter(fallback="latent-1")(stray)
    assert loose.value.tolist() == [0, 1]
    assert "right: dropped at 1 step" in str(loose.losses[0])


@pytest.mark.parametrize(
    ("response", "words"),
    [
        ((0.0, -3.0, 0.0, 0.0), "view right 3.0 px"),
        ((1.5, 2.0, 0.0, 0.0), "view left 2.0 px, view up 1.5 px"),
        ((0.0, 0.0, 0.02, 0.0), "zoom in 2.0 %"),
        ((0.0, 0.0, -0.02, -2.0), "zoom out 2.0 %, turn anticlockwise 2.0 degrees"),
        ((0.05, -0.05, 0.001, 0.1), "still"),
        ((float("nan"),) * 4, "picture cannot be followed"),
    ],
)
def test_words(items: list[Item], response: tuple[float, ...], words: str) -> None:
    rows = torch.tensor([response] * 3, dtype=torch.float64)
    assert describe_response(rows, items) == words


def test_motion_without_a_direction_of_its_own(items: list[Item]) -> None:
    rows = torch.tensor([[3.0, 0, 0, 0], [-3.0, 0, 0, 0]], dtype=torch.float64)
    assert describe_response(rows, items) == "moves 3.0 px, each time another way"


def test_bad_input(items: list[Item]) -> None:
    secret = Secret(("left", 1.0))
    with pytest.raises(ValueError, match="items: expected at least one, got none"):
        calibrate_latent_actions(secret, [], WORLD)
    with pytest.raises(ValueError, match="at least 3 scenarios to assign actions by, got 2"):
        calibrate_latent_actions(secret, items[:4], WORLD)
    with pytest.raises(ValueError, match="steps: expected at least 1, got 0"):
        calibrate_latent_actions(secret, items, WORLD, steps=0)
    secret.capabilities = replace(secret.capabilities, action_names=())
    with pytest.raises(ValueError, match="model 'secret': expected discrete actions with names"):
        calibrate_latent_actions(secret, items, WORLD)
    mixed = [replace(items[0], action_names=("a", "b")), *items[1:]]
    with pytest.raises(ValueError, match="items: expected discrete actions of one panel"):
        calibrate_latent_actions(Secret(("left", 1.0)), mixed, WORLD)
