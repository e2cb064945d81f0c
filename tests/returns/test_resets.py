"""Resets: an answer must not depend on what was asked before, and twice must mean the same."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch

from tests.panels import sprite_panel
from wmscore.manifest import Panel
from wmscore.replay import ResetReport, check_resets, render_scenarios, render_truth
from wmscore.rollouts import Rollouts
from wmscore.worlds.sprites import SpriteWorld

WORLD = SpriteWorld(height=16, width=16)


@pytest.fixture(scope="module")
def scene() -> tuple[Panel, Rollouts]:
    panel = sprite_panel(scenarios=3, seeds=2, horizon=4, size=16)
    return panel, render_truth(panel, WORLD)


class Leaky:
    """Remembers what the last call began with; or draws anew at every call, or by row and seed."""

    name = "leaky"

    def __init__(self, *, leak: float = 0, noise: float = 0, by: str = "call") -> None:
        self.capabilities = WORLD.capabilities
        self.leak, self.noise, self.by = leak, noise, by
        self.memory = 0.0
        self.draws = 0

    def rollout(self, items, horizon):
        truth = WORLD.rollout([replace(item, noise_seed=None) for item in items], horizon)
        frames = truth.frames.double() / 255
        frames[:, 1:] += self.leak * self.memory
        for row, item in enumerate(items):
            self.draws += 1
            seed = {"seed": item.seed, "row": 100 * item.seed + row, "call": self.draws}[self.by]
            generator = torch.Generator().manual_seed(seed)
            noise = torch.randn(frames[row, 2:].shape, generator=generator, dtype=torch.float64)
            frames[row, 2:] += self.noise * noise
        self.memory = float(truth.frames[:, 0].double().mean()) / 255
        return replace(truth, frames=frames, model=self.name)


def ask(scene, model, **options) -> ResetReport:
    return check_resets(*scene[:1], model, scene[1], **options)


def test_the_true_world_is_bit_exact(scene) -> None:
    report = ask(scene, WORLD, world=WORLD)
    assert set(report.kind) == {"bit-exact"}
    for curve in (report.together, report.again, report.after, report.world):
        assert curve.shape == (3, 5)
        assert (curve == 0).all()
    assert (report.first == -1).all()
    assert report.leaks is False
    assert report.sentences() == [
        "sprites: the same 3 rows twice: bit-exact in 3.",
        "What was asked before makes no difference.",
    ]


def test_a_leak_of_an_exact_model_is_found_at_once(scene) -> None:
    """Also by a first check, since each call follows one for something else."""
    report = ask(scene, Leaky(leak=1.0))
    assert set(report.kind) == {"bit-exact"}
    assert report.leaks is True
    assert (report.after[:, 0] == 0).all()
    assert (report.after[:, 1:] > 0).all()
    assert "does not forget" in report.sentences()[-1]


def test_only_rendered_scenarios_are_asked_for(scene) -> None:
    panel = scene[0]
    report = check_resets(
        panel, Leaky(leak=1.0), render_scenarios(panel, WORLD, range(2)), rows=[(0, 0)]
    )
    assert report.leaks is True
    alone = render_scenarios(panel, WORLD, range(1))
    assert check_resets(panel, WORLD, alone, rows=[(0, 0)]).leaks is False


def test_rounding_is_no_leak_and_no_chance(scene) -> None:
    report = ask(scene, Leaky(noise=1e-8))
    assert set(report.kind) == {"within 1e-6"}
    assert report.leaks is False
    assert math.isnan(report.leak_p)
    assert ask(scene, Leaky(noise=1e-8, leak=0.1)).leaks is True


def test_seeds_of_rows_and_of_places(scene) -> None:
    """A draw by place in the batch is the same in two calls, and another in one."""
    by_seed = ask(scene, Leaky(noise=0.1, by="seed"), repeats=4)
    assert set(by_seed.kind) == {"bit-exact"}
    assert (by_seed.other_seed[:, 2:] > 0).all()
    by_place = ask(scene, Leaky(noise=0.1, by="row"), repeats=4)
    assert (by_place.again == 0).all()
    assert set(by_place.kind) == {"stochastic"}
    assert (by_place.first == 2).all()
    assert "within one call only" in by_place.sentences()[1]


@pytest.mark.parametrize("leak", [0.0, 1.0])
def test_a_leak_of_a_model_that_draws_is_told_from_chance(scene, leak: float) -> None:
    report = ask(scene, Leaky(leak=leak, noise=0.05), rows=[(0, 0)])
    assert report.kind == ("stochastic",)
    assert report.leaks is (leak > 0)
    assert (report.leak_p < 0.01) is (leak > 0)


def test_a_check_of_what_forgets_rejects_as_often_as_its_level(scene) -> None:
    """Whole checks, 15 of them: more than 4 rejections at 5 % have a chance below 1 in 1000."""
    one = Panel.from_dict({**scene[0].model_dump(), "seeds": [0]})
    truth = render_scenarios(one, WORLD, range(2))
    model = Leaky(noise=0.05)
    leaks = [
        check_resets(one, model, truth, rows=[(0, 0)], repeats=4, seed=n).leaks for n in range(15)
    ]
    assert sum(map(bool, leaks)) <= 4


def test_a_model_that_answers_nan_is_not_told_to_leak(scene) -> None:
    class Broken(Leaky):
        def rollout(self, items, horizon):
            found = super().rollout(items, horizon)
            self.draws += 1
            found.frames[0, -1, 0, 0, 0] = math.nan if self.draws % 2 else 0.0
            return found

    report = ask(scene, Broken(noise=0.1), rows=[(0, 0)])
    assert report.leaks is None
    assert "could not be told" in report.sentences()[-1]
    assert report.again.isinf().any() or report.together.isinf().any()
    back = ResetReport.from_json(json.loads(json.dumps(report.to_json(), allow_nan=False)))
    assert torch.equal(back.again, report.again)


def test_json_there_and_back(scene) -> None:
    report = ask(scene, Leaky(noise=0.1, by="row"), repeats=4)
    data = json.loads(json.dumps(report.to_json(), allow_nan=False))
    back = ResetReport.from_json(data)
    assert back.to_json() == report.to_json()
    assert back.sentences() == report.sentences()
    for field, bad in [
        ("rows", 3),
        ("again", [[0.0]]),
        ("kind", ["odd"] * 3),
        ("first", [1]),
        ("leaks", "yes"),
        ("leak_p", "x"),
    ]:
        with pytest.raises(ValueError, match=field):
            ResetReport.from_json({**data, field: bad})
    with pytest.raises(ValueError, match="fields"):
        ResetReport.from_json({})


@pytest.mark.parametrize(("name", "bad"), [("rows", []), ("repeats", 2), ("level", 0.0)])
def test_bad_arguments_are_named(scene, name: str, bad: object) -> None:
    with pytest.raises(ValueError, match=name):
        ask(scene, WORLD, **{name: bad})
