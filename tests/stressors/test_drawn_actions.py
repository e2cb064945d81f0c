"""What stressors draw: by seed, scenario and script alone, and as often as the severity says."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.panels import sprite_panel
from wmscore.manifest import Panel
from wmscore.stressors import PromptDistractor, PromptParaphrase, applicable, find

STEPS = 400


def moving(scenarios: int = 1, horizon: int = STEPS, **script: object) -> Panel:
    """Scenarios that all command the same, with one counterfactual that commands it once later."""
    data = sprite_panel(scenarios=scenarios, seeds=1, horizon=horizon).model_dump()
    commanded = ["left", "up", "right", "down"]
    for scenario in data["scenarios"]:
        scenario |= {"actions": commanded, "then": "cycle", "prompt": "some sprites", **script}
        late = [commanded[-1], *commanded[:-1]]
        scenario["branches"] = [{"name": "late", "actions": late, "then": "cycle"}]
    return Panel.from_dict(data)


def changed(panel: Panel, name: str, severity: float, branch: int = 0, **options: int) -> Tensor:
    """Steps `[T]` at which a stress sends something else."""
    harder = find(name).apply(panel, severity, **options)
    return harder.actions(0, branch) != panel.actions(0, branch)


@pytest.mark.parametrize("name", ["dropped-actions", "sticky-actions", "noisy-actions"])
def test_the_share_of_changed_actions_is_the_severity(name: str) -> None:
    """Within five standard deviations of 400 draws. Four repeats on end are what was commanded."""
    for severity in (0.1, 0.4, 0.8):
        share = float(changed(moving(), name, severity).double().mean())
        alike = (1 - severity) * severity**4 / (1 - severity**4)
        expected = severity - (alike if name == "sticky-actions" else 0)
        assert share == pytest.approx(expected, abs=5 * (0.25 / STEPS) ** 0.5)


@pytest.mark.parametrize("name", ["dropped-actions", "sticky-actions", "noisy-actions"])
def test_seeds_scenarios_and_scripts_are_drawn_apart(name: str) -> None:
    panel = moving(scenarios=2)
    one = changed(panel, name, 0.5)
    assert not torch.equal(one, changed(panel, name, 0.5, seed=1))
    assert not torch.equal(one, changed(panel, name, 0.5, branch=1))
    first, second = find(name).apply(panel, 0.5).scenarios
    assert first.actions != second.actions


def test_a_noisy_action_is_another_one() -> None:
    assert bool(changed(moving(), "noisy-actions", 1.0).all())


def test_a_button_is_pressed_as_often_as_the_severity_says() -> None:
    data = moving().model_dump()
    data["contract"]["actions"] = {
        "kind": "continuous",
        "names": ["gas", "fire"],
        "units": ["number", "button"],
        "noop": [0.0, 0.0],
    }
    data["axes"] = [{"axis": "perceptual_drift", "threshold": 0.5}]
    for scenario in data["scenarios"]:
        scenario |= {"actions": [[1.0, 0.0]], "then": "hold", "branches": []}
    panel = Panel.from_dict(data)
    sent = find("noisy-actions").apply(panel, 0.2).actions(0).double()
    assert float(sent[:, 1].mean()) == pytest.approx(0.2, abs=5 * 0.02)
    # The noise of an actuator that is at its end: half of the draws go beyond and are cut there,
    # the others are a half-normal with a sigma of 0.2 times half of the range.
    down = 1 - sent[:, 0]
    assert float((down == 0).double().mean()) == pytest.approx(0.5, abs=0.13)
    assert float(down[down > 0].square().mean().sqrt()) == pytest.approx(0.1, rel=0.25)


def test_two_counterfactuals_that_become_one_are_told_once() -> None:
    """The later of the two is left out, though neither is the commanded script."""
    data = sprite_panel(scenarios=1, seeds=1, horizon=3).model_dump()
    scenario = data["scenarios"][0]
    scenario |= {
        "actions": ["left", "left", "left"],
        "branches": [
            {"name": "up", "actions": ["up", "up", "left"], "then": None},
            {"name": "up-down", "actions": ["up", "up", "down"], "then": None},
        ],
    }
    late = find("actuator-delay").apply(Panel.from_dict(data), 1)
    assert [branch.name for branch in late.scenarios[0].branches] == ["up"]
    assert late.stress is not None
    assert late.stress.parameters["left_out"] == {"scene-0": ["up-down"]}


def test_a_scenario_of_one_script_can_be_stressed() -> None:
    data = moving().model_dump()
    data["axes"] = [{"axis": "perceptual_drift", "threshold": 0.5}]
    data["scenarios"][0]["branches"] = []
    late = find("actuator-delay").apply(Panel.from_dict(data), 2)
    assert late.scenarios[0].actions[:3] == ("noop", "noop", "left")


def test_a_severity_is_a_whole_number_and_has_a_most() -> None:
    for name, bad in (("actuator-delay", 1.5), ("occlusion", 1.1), ("compression", 100)):
        with pytest.raises(ValueError, match=f"severity: {name} expects"):
            find(name).apply(moving(horizon=8), bad)
    with pytest.raises(ValueError, match=r"at least 0\.05"):
        find("blur").apply(moving(horizon=8), 0.04)


def test_quality_is_what_is_left_of_it() -> None:
    stress = find("compression").apply(moving(horizon=8), 90).stress
    assert stress is not None
    assert stress.parameters["quality"] == 10


@pytest.mark.parametrize(
    ("name", "light"),
    [
        ("over-exposure", {"exposure": 1.5, "warmth": 0, "shadow": 0}),
        ("under-exposure", {"exposure": -1.5, "warmth": 0, "shadow": 0}),
        ("warm-light", {"exposure": 0, "warmth": 1.5, "shadow": 0}),
        ("cool-light", {"exposure": 0, "warmth": -1.5, "shadow": 0}),
    ],
)
def test_light_has_a_sign_and_is_laid_on_frames(name: str, light: dict[str, float]) -> None:
    stress = find(name).apply(moving(horizon=8), 1.5).stress
    assert stress is not None
    assert stress.parameters == {"world": "light", "rendered": "frames", **light}


def test_paraphrases_of_ones_own_are_other_words() -> None:
    panel = moving(horizon=8)
    own = PromptParaphrase(paraphrases={"some sprites": ["a few sprites", "some sprites"]})
    assert own.apply(panel, 1).scenarios[0].prompt == "a few sprites"
    with pytest.raises(ValueError, match="number 2 of 'some sprites' is the prompt"):
        own.apply(panel, 2)
    with pytest.raises(ValueError, match="has 2 paraphrases of 'some sprites', got 3"):
        own.apply(panel, 3)


def test_distractors_come_in_an_order_that_is_drawn() -> None:
    panel = moving(scenarios=6, horizon=8)
    told = PromptDistractor(distractors=("One.", "Two.", "Three."))
    prompts = [scenario.prompt for scenario in told.apply(panel, 3).scenarios]
    assert len(set(prompts)) > 1
    for prompt in prompts:
        assert prompt is not None
        assert sorted(prompt.split()) == ["One.", "Three.", "Two.", "some", "sprites"]
    with pytest.raises(ValueError, match="has 3 sentences, got 4"):
        told.apply(panel, 4)


def test_a_warmup_that_is_no_list_is_named() -> None:
    data = moving(horizon=8).model_dump()
    data["scenarios"][0]["reset"] = {**data["scenarios"][0]["reset"], "warmup": "left"}
    with pytest.raises(ValueError, match=r"reset\.warmup: reset-jitter needs a list"):
        find("reset-jitter").apply(Panel.from_dict(data), 1)


def test_whether_a_stress_can_be_applied_is_asked_of_its_mildest_rung() -> None:
    """Four steps late, nothing of four is left; one step late, three are."""
    panel = moving(horizon=4)
    assert applicable(panel)["actuator-delay"] is None
    with pytest.raises(ValueError, match="become the same"):
        find("actuator-delay").apply(panel, 4)
