"""Stress ladders: what they measure, what they refuse to say, and their statistics."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from tests.panels import sprite_panel
from wmscore.evidence.stress import read_stress, write_stress
from wmscore.ladder import Ladder, RungScores, run_ladder, summarise_ladder
from wmscore.ladder.rungs import usable_shares
from wmscore.manifest import Panel
from wmscore.replay import replay
from wmscore.replay.truth import render_truth
from wmscore.scorer import Scorer
from wmscore.stressors import find
from wmscore.testing import DelayedActions, Faulty
from wmscore.worlds import Frozen, WorldModel
from wmscore.worlds.lighting import Light
from wmscore.worlds.sprites import SpriteWorld

WORLD = SpriteWorld(height=32, width=32)
ROLES = {"sprites": "truth", "frozen": "floor"}


def panel_of(scenarios: int = 6) -> Panel:
    return sprite_panel(scenarios=scenarios, seeds=1, horizon=8, size=32)


class Nearsighted:
    """The true world, as long as the given frame is the one that it knows; else a photograph."""

    name = "nearsighted"

    def __init__(self, world: WorldModel) -> None:
        self.world, self.capabilities = world, world.capabilities
        self.clean = SpriteWorld(height=32, width=32)

    def rollout(self, items, horizon):
        from dataclasses import replace

        truth = self.clean.rollout(items, horizon)
        frames = truth.frames.clone()
        for row, item in enumerate(items):
            if not torch.equal(item.frame, frames[row, 0]):
                frames[row, 1:] = item.frame
            frames[row, 0] = item.frame
        return replace(truth, frames=frames, model=self.name)


def models(world: WorldModel) -> Sequence[WorldModel]:
    return [world, Nearsighted(world), Faulty(world, DelayedActions(1)), Frozen()]


@pytest.fixture(scope="module")
def ladder() -> Ladder:
    return run_ladder(
        panel_of(),
        models,
        WORLD,
        [find("occlusion"), find("actuator-delay"), find("prompt-distractor")],
        severities={"occlusion": (0.1, 0.3), "actuator-delay": (1, 2)},
        roles=ROLES,
    )


def test_the_true_world_keeps_all_of_it(ladder: Ladder) -> None:
    truth = ladder.models["sprites"]
    assert truth.clean["usable_share"] == 1
    told = [rung for rung in truth.rungs if rung.excluded is None]
    assert len(told) == 4
    assert all(rung.relative == 1 and rung.usable_share == 1 for rung in told)
    assert not any(rung.broken for rung in told)
    assert truth.stressors["occlusion"].auc == 1
    assert truth.first_break is None


def test_what_breaks_a_model_first_is_found(ladder: Ladder) -> None:
    model = ladder.models["nearsighted"]
    occluded = [rung for rung in model.rungs if rung.stressor == "occlusion"]
    assert [rung.broken for rung in occluded] == [True, True]
    assert all(rung.relative < 0.3 for rung in occluded)
    assert model.first_break == {"stressor": "occlusion", "severity": 0.1}
    assert model.stressors["occlusion"].breakpoint == 0.1
    delayed = [rung for rung in model.rungs if rung.stressor == "actuator-delay"]
    assert [rung.broken for rung in delayed] == [False, False]
    assert model.stressors["actuator-delay"].breakpoint is None
    assert model.stressors["occlusion"].trend_p < 0.01
    assert "occlusion 0.1 share of area breaks it first" in model.why
    assert ladder.sentences()[0] == f"nearsighted: {model.why}"


def test_what_has_nothing_to_lose_is_not_called_robust(ladder: Ladder) -> None:
    frozen = ladder.models["frozen"]
    assert frozen.clean["usable_share"] == 0
    assert all(math.isnan(rung.relative) for rung in frozen.rungs)
    climbed = [rung for rung in frozen.rungs if rung.excluded is None]
    assert all(rung.broken is None and math.isnan(rung.p_joint) for rung in climbed)
    assert all("nothing to lose" in str(rung.undecided) for rung in climbed)
    assert frozen.first_break is None
    assert "no usable horizon on the clean panel" in frozen.why


def test_what_cannot_be_applied_is_kept_with_its_reason(ladder: Ladder) -> None:
    for model in ladder.models.values():
        prompts = [rung for rung in model.rungs if rung.stressor == "prompt-distractor"]
        assert len(prompts) == 3
        assert all("needs a prompt" in str(rung.excluded) for rung in prompts)
        assert all(rung.broken is None for rung in prompts)
    (sentence,) = ladder.exclusions()
    assert sentence.startswith("prompt-distractor 1, 2, 4: ")
    assert "needs a prompt" in sentence


def test_the_baseline_has_a_corruption_error_of_one(ladder: Ladder) -> None:
    assert ladder.baseline == "frozen"
    assert ladder.models["frozen"].stressors["occlusion"].corruption_error == 1
    assert ladder.models["sprites"].stressors["occlusion"].corruption_error == 0
    own = ladder.models["nearsighted"]
    shares = [rung.usable_share for rung in own.rungs if rung.stressor == "occlusion"]
    expected = sum(1 - share for share in shares) / 2
    assert own.stressors["occlusion"].corruption_error == pytest.approx(expected)


def test_files_hold_all_of_it(ladder: Ladder, tmp_path: Path) -> None:
    write_stress(tmp_path, ladder)
    assert read_stress(tmp_path) is not None
    text = (tmp_path / "stress.json").read_text("utf-8")
    assert "NaN" not in text
    assert Ladder.from_json(json.loads(text)).to_json() == ladder.to_json()
    with (tmp_path / "stress.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 4 * 7
    assert {line["model"] for line in lines} == set(ladder.models)
    (tmp_path / "stress.json").write_text(text.replace('"seed"', '"sed"'), encoding="utf-8")
    with pytest.raises(ValueError, match="seed: Field required"):
        read_stress(tmp_path)


def test_a_stress_that_changes_nothing_is_excluded() -> None:
    data = panel_of(scenarios=2).model_dump()
    for scenario in data["scenarios"]:
        scenario["actions"] = ["left"] * 8
        scenario["branches"] = [{"name": "right", "actions": ["right"], "then": "hold"}]
    found = run_ladder(Panel.from_dict(data), [WORLD], WORLD, [find("sticky-actions")])
    assert all("changes nothing" in str(r.excluded) for r in found.models["sprites"].rungs)


def test_too_few_scenarios_have_no_verdict() -> None:
    found = run_ladder(
        panel_of(scenarios=3), models, WORLD, [find("occlusion")], severities={"occlusion": (0.3,)}
    )
    model = found.models["nearsighted"]
    assert math.isnan(model.rungs[0].p)
    assert math.isnan(model.rungs[0].p_joint)
    assert model.rungs[0].broken is None
    assert "3 scenarios have a horizon" in str(model.rungs[0].undecided)
    assert model.first_break is None
    assert "cannot be told" in model.why


def test_a_longer_horizon_is_no_break_for_who_fails_at_the_same_step() -> None:
    """A model that fails at step 4 of 8 and of 16 has half of the share, and has lost nothing."""

    class FailsAtFour(Nearsighted):
        name = "fails-at-four"

        def rollout(self, items, horizon):
            from dataclasses import replace

            truth = self.clean.rollout(items, horizon)
            frames = truth.frames.clone()
            frames[:, 5:] = 255 - frames[:, 5:]
            return replace(truth, frames=frames, model=self.name)

    found = run_ladder(
        panel_of(),
        lambda world: [FailsAtFour(world)],
        WORLD,
        [find("horizon-extension")],
        severities={"horizon-extension": (2,)},
    )
    model = found.models["fails-at-four"]
    assert model.clean["usable_share"] == pytest.approx(0.5)
    assert model.rungs[0].horizon == 16
    assert model.rungs[0].usable_share == pytest.approx(0.25)
    assert model.rungs[0].relative == pytest.approx(1)
    assert model.rungs[0].broken is False
    assert model.first_break is None


def test_the_result_does_not_depend_on_the_batch() -> None:
    options = {"stressors": [find("blur")], "severities": {"blur": (2.0,)}, "roles": ROLES}
    one = run_ladder(panel_of(3), models, WORLD, batch_size=1, **options)
    all_at_once = run_ladder(panel_of(3), models, WORLD, batch_size=64, **options)
    assert one.to_json() == all_at_once.to_json()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"severities": {"blur": (1,)}}, "severities: expected names"),
        ({"severities": {"occlusion": (2,)}}, "severity: occlusion"),
        ({"severities": {"occlusion": (0.3, 0.1)}}, "rising severities"),
        ({"severities": {"occlusion": ()}}, "rising severities"),
        ({"batch_size": 0}, "batch_size"),
        ({"roles": {"sprites": "best"}}, "roles: expected one of"),
    ],
)
def test_bad_arguments_are_named(change, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run_ladder(panel_of(1), [WORLD], WORLD, [find("occlusion")], **change)


def test_models_and_stressors_come_once() -> None:
    with pytest.raises(ValueError, match="stressors: expected each once"):
        run_ladder(panel_of(1), [WORLD], WORLD, [find("blur"), find("blur")])
    with pytest.raises(ValueError, match="models: expected each name once"):
        run_ladder(panel_of(1), [WORLD, WORLD], WORLD, [find("blur")])
    with pytest.raises(ValueError, match="expected a clean one"):
        run_ladder(find("blur").apply(panel_of(1), 1), [WORLD], WORLD, [find("blur")])


class Picky:
    """The true world, which does not take what one of its conditions hits."""

    name = "picky"

    def __init__(self, refuses, error: Exception) -> None:
        self.capabilities, self.refuses, self.error = WORLD.capabilities, refuses, error
        self.asked: list[int] = []

    def rollout(self, items, horizon):
        from dataclasses import replace

        self.asked.append(len(items))
        if self.refuses(items, horizon):
            raise self.error
        return replace(WORLD.rollout(items, horizon), model=self.name)


def test_what_one_model_refuses_is_its_own_and_told() -> None:
    picky = Picky(lambda items, horizon: horizon > 8, NotImplementedError("8 steps at most"))
    found = run_ladder(
        panel_of(5),
        [picky, WORLD],
        WORLD,
        [find("horizon-extension"), find("actuator-delay")],
        severities={"horizon-extension": (2,), "actuator-delay": (1,)},
    )
    longer, late = found.models["picky"].rungs
    assert longer.excluded == "8 steps at most"
    assert longer.broken is None
    assert late.excluded is None
    assert late.usable_share == 1
    assert all(rung.usable_share == 1 for rung in found.models["sprites"].rungs)
    assert found.exclusions() == ["horizon-extension 2 (picky): 8 steps at most"]
    assert found.models["picky"].why.startswith("none of 1 rungs is shown to break it")


def test_what_goes_wrong_in_a_model_is_not_a_refusal() -> None:
    late = find("actuator-delay").apply(panel_of(2), 1).actions(0)
    broken = Picky(
        lambda items, horizon: any(torch.equal(item.actions, late) for item in items),
        RuntimeError("out of memory"),
    )
    with pytest.raises(RuntimeError, match="out of memory"):
        run_ladder(panel_of(2), [broken], WORLD, [find("actuator-delay")])
    picky = Picky(lambda items, horizon: True, ValueError("no"))
    with pytest.raises(ValueError, match="'picky' refuses the clean panel: no"):
        run_ladder(panel_of(2), [picky], WORLD, [find("blur")])


def test_no_model_is_asked_on_a_rung_that_changes_nothing() -> None:
    data = panel_of(2).model_dump()
    for scenario in data["scenarios"]:
        scenario["actions"] = ["left"] * 8
        scenario["branches"] = [{"name": "right", "actions": ["right"], "then": "hold"}]
    model = Picky(lambda items, horizon: False, ValueError())
    found = run_ladder(
        Panel.from_dict(data), [model], WORLD, [find("sticky-actions")], batch_size=1
    )
    assert len(model.asked) == 2  # the clean panel, one scenario at a time
    assert all(rung.changed == 0 for rung in found.models["picky"].rungs)


def test_a_change_behind_the_first_scenarios_is_found_and_counted() -> None:
    data = panel_of(3).model_dump()
    for scenario in data["scenarios"][:2]:
        scenario["actions"] = ["left"] * 8
        scenario["branches"] = [{"name": "right", "actions": ["right"], "then": "hold"}]
    found = run_ladder(
        Panel.from_dict(data),
        [WORLD],
        WORLD,
        [find("sticky-actions")],
        severities={"sticky-actions": (0.8,)},
        batch_size=1,
    )
    (rung,) = found.models["sprites"].rungs
    assert rung.excluded is None
    assert rung.changed == 1
    assert rung.usable_share == 1


def test_memory_is_bounded_by_the_batch() -> None:
    model = Picky(lambda items, horizon: False, ValueError())
    run_ladder(panel_of(5), [model], WORLD, [find("blur")], severities={"blur": (1,)}, batch_size=2)
    scripts = len(panel_of(5).scenarios[0].scripts)
    assert max(model.asked) == 2 * scripts
    assert sum(model.asked) == 2 * 5 * scripts


def test_a_model_keeps_its_name() -> None:
    made = []

    def renamed(world: WorldModel) -> Sequence[WorldModel]:
        model = Picky(lambda items, horizon: False, ValueError())
        model.name = f"picky-{len(made)}"
        made.append(model)
        return [model]

    with pytest.raises(ValueError, match=r"models: expected \['picky-0'\] under blur 0\.5 too"):
        run_ladder(panel_of(1), renamed, WORLD, [find("blur")])


def test_worlds_made_for_a_rung_are_closed() -> None:
    class Lit(SpriteWorld):
        closed: ClassVar[list[str]] = []
        lit = False

        def relit(self, light):
            made = Lit(32, 32)
            made.lit = True
            return made

        def close(self) -> None:
            self.closed.append("lit" if self.lit else "given")

    world = Lit(32, 32)
    run_ladder(
        panel_of(1),
        lambda world: [world],
        world,
        [find("under-exposure", rendered="simulator")],
        severities={"under-exposure": (1, 2)},
    )
    assert world.closed == ["lit", "lit"]


def test_ladders_leave_to_a_world_the_light_that_it_draws_itself() -> None:
    asked: list[Light] = []

    class Lit(SpriteWorld):
        own_light = ("exposure",)

        def relit(self, light: Light) -> SpriteWorld:
            asked.append(light)
            return super().relit(light)

    chosen = [find("under-exposure"), find("warm-light"), find("shadow", rendered="frames")]
    severities = {"under-exposure": (1,), "warm-light": (1,), "shadow": (0.5,)}
    ladder = run_ladder(panel_of(1), [WORLD], Lit(32, 32), chosen, severities=severities)
    assert [(light.exposure, light.warmth, light.shadow) for light in asked] == [(-1, 0, 0)]
    assert [rung.excluded for rung in ladder.models[WORLD.name].rungs] == [None] * 3


def test_progress_tells_each_rung() -> None:
    told: list[tuple[str, int, int]] = []
    run_ladder(
        panel_of(3),
        [WORLD],
        WORLD,
        [find("blur")],
        severities={"blur": (1, 2)},
        batch_size=2,
        progress=lambda *what: told.append(what),
    )
    assert told == [
        (what, done, 3) for what in ("clean panel", "blur 1", "blur 2") for done in (2, 3)
    ]


def test_rungs_must_be_of_the_panel() -> None:
    panel = panel_of(2)
    truth = render_truth(panel, WORLD)
    scorer = Scorer(panel)
    for rollouts in replay(panel, WORLD, truth):
        scorer.update(rollouts)
    scores = scorer.compute()
    assert usable_shares(scores).tolist() == [1, 1]
    rung = RungScores(stressor="blur", severity=1.0, unit="px", scores=[scores])
    with pytest.raises(ValueError, match="of another panel"):
        summarise_ladder([scores], [rung])
    with pytest.raises(ValueError, match="expected scores of"):
        summarise_ladder([scores], [RungScores(stressor="blur", severity=1.0, unit="px")])
