"""Stressors: what changes for the model, what for the truth, and what must not change."""

from __future__ import annotations

import itertools
import json

import pytest
import torch

from tests.panels import NAMES, sprite_panel
from wmscore.ladder import run_ladder
from wmscore.manifest import Panel
from wmscore.replay import freeze_panel, panel_items, render_truth, replay
from wmscore.rollouts import Rollouts
from wmscore.scorer import Scorer
from wmscore.stressors import Stressor, all_stressors, applicable, find
from wmscore.testing import check_world_model
from wmscore.worlds import ActionBlind, Frozen, OtherSeed, StressedWorld, load_world, stressed_world
from wmscore.worlds.sprites import SpriteWorld

WORLD = SpriteWorld(height=32, width=32)
HORIZON = 8
STRESSORS = {stressor.name: stressor for stressor in all_stressors()}
LIGHT = ("over-exposure", "under-exposure", "warm-light", "cool-light", "shadow")
RUNGS = [(s, v) for s in all_stressors() for v in s.severities]


def clean_panel() -> Panel:
    data = sprite_panel(scenarios=2, seeds=1, horizon=HORIZON, size=32).model_dump()
    for scenario in data["scenarios"]:
        scenario["prompt"] = f"some sprites, {scenario['id']}"
    return Panel.from_dict(data)


@pytest.fixture(scope="module")
def clean() -> tuple[Panel, Rollouts]:
    panel = clean_panel()
    return freeze_panel(panel, render_truth(panel, WORLD), fps=10)


def stressed_truth(clean: tuple[Panel, Rollouts], stressor: Stressor, severity: float):
    panel = stressor.apply(clean[0], severity)
    return freeze_panel(panel, render_truth(panel, WORLD), fps=10)


@pytest.mark.parametrize(("stressor", "severity"), RUNGS, ids=lambda x: getattr(x, "name", x))
def test_every_rung_is_a_panel_of_its_own(clean, stressor, severity) -> None:
    panel = clean[0]
    harder = stressor.apply(panel, severity)
    assert harder.fingerprint != panel.fingerprint
    assert harder.stress is not None
    assert harder.stress.clean == panel.fingerprint
    assert (harder.stress.stressor, harder.stress.severity) == (stressor.name, severity)
    assert stressor.apply(panel, severity).fingerprint == harder.fingerprint
    assert stressor.apply(panel, severity, seed=1).fingerprint != harder.fingerprint
    assert Panel.from_dict(json.loads(harder.canonical_json())) == harder
    assert panel.stress is None
    with pytest.raises(ValueError, match="one at a time"):
        STRESSORS["actuator-delay"].apply(harder, 1)


@pytest.mark.parametrize("stressor", all_stressors(), ids=lambda s: s.name)
@pytest.mark.parametrize("severity", [0, -1, float("nan"), float("inf"), 1e9, 10**400, "2", True])
def test_severities_are_checked(clean, stressor, severity) -> None:
    with pytest.raises(ValueError, match="severity"):
        stressor.apply(clean[0], severity)


@pytest.mark.parametrize(
    ("name", "largest"),
    [("blur", 32), ("camera-jitter", 32), ("noise", 255), ("reset-jitter", 1000)],
)
def test_the_largest_severity_can_be_rendered_and_no_larger_one(clean, name, largest) -> None:
    assert render_truth(find(name).apply(clean[0], largest), WORLD).frames.shape[0] == 6
    with pytest.raises(ValueError, match=rf"severity: {name} expects .*at most {largest}"):
        find(name).apply(clean[0], largest + 1)


def test_a_panel_that_says_no_frame_size_leaves_the_limit_to_rendering(clean) -> None:
    data = clean[0].model_dump()
    data["contract"]["observation"] = None
    for scenario in data["scenarios"]:
        scenario["initial_frame_sha256"] = None
    harder = find("blur").apply(Panel.from_dict(data), 1000)
    with pytest.raises(ValueError, match=r"sigma.*expected a number in 0.05..32, got 1000"):
        render_truth(harder, WORLD)


def test_what_a_panel_has_no_room_for_is_said_before_the_first_rung(clean) -> None:
    with pytest.raises(ValueError, match=r"blur expects at most 32 .* the shorter side of 32x32"):
        run_ladder(clean[0], [Frozen()], WORLD, [find("blur")], severities={"blur": (2, 1e9)})


@pytest.mark.parametrize("stressor", all_stressors(), ids=lambda s: s.name)
def test_the_stressed_world_itself_is_perfect(clean, stressor) -> None:
    """The reference is right: whoever does what the stressed world does has no error."""
    panel, truth = stressed_truth(clean, stressor, stressor.severities[-1])
    scorer = Scorer(panel)
    for rollouts in replay(panel, stressed_world(WORLD, panel), truth):
        scorer.update(rollouts)
    scores = scorer.compute()
    assert not scores.faults()
    assert scores.horizon.censored.all()
    for curve in scores.axes.values():
        assert float(curve.values.nan_to_num(1.0).min()) == 1


@pytest.mark.parametrize("stressor", all_stressors(), ids=lambda s: s.name)
def test_what_changes_for_the_truth(clean, stressor) -> None:
    truth = clean[1][clean[1].branch == 0]
    panel, other = stressed_truth(clean, stressor, stressor.severities[-1])
    other = other[other.branch == 0]
    start = not torch.equal(other.frames[:, 0], truth.frames[:, 0])
    assert start == stressor.spoils_start
    if stressor.name.startswith("prompt"):
        assert torch.equal(other.frames, truth.frames)
        assert all(
            a.prompt != b.prompt for a, b in zip(panel.scenarios, clean[0].scenarios, strict=True)
        )
    elif panel.stress is not None and panel.stress.parameters.get("world") == "given":
        assert torch.equal(other.frames[:, 1:], truth.frames[:, 1:])
    else:
        assert not torch.equal(other.frames[:, -1], truth.frames[:, -1])


def test_a_delay_is_the_shifted_script(clean) -> None:
    harder = find("actuator-delay").apply(clean[0], 2)
    noop = NAMES.index("noop")
    for s in range(2):
        for b in range(3):
            before, after = clean[0].actions(s, b), harder.actions(s, b)
            assert after[:2].tolist() == [noop, noop]
            assert torch.equal(after[2:], before[:-2])


@pytest.mark.parametrize("name", ["dropped-actions", "noisy-actions"])
def test_a_harder_rung_contains_the_easier_one(name: str) -> None:
    panel = sprite_panel(scenarios=3, seeds=1, horizon=40)
    changed = []
    for severity in find(name).severities:
        harder = find(name).apply(panel, severity)
        changed.append(harder.actions(0) != panel.actions(0))
    shares = [float(c.double().mean()) for c in changed]
    assert shares == sorted(shares)
    assert shares[-1] > shares[0]
    for easy, hard in itertools.pairwise(changed):
        assert bool((hard | ~easy).all())


def test_sticky_actions_repeat_what_was_sent() -> None:
    panel = sprite_panel(scenarios=1, seeds=1, horizon=40)
    sent = find("sticky-actions").apply(panel, 0.6).actions(0)
    before = panel.actions(0)
    differs = sent != before
    assert bool(differs.any())
    assert bool((sent[1:][differs[1:]] == sent[:-1][differs[1:]]).all())


def test_the_order_of_scenarios_changes_nothing_that_is_drawn() -> None:
    panel = sprite_panel(scenarios=3, seeds=1, horizon=12)
    data = panel.model_dump()
    data["scenarios"] = data["scenarios"][::-1]
    turned = Panel.from_dict(data)
    for stressor in (find("noisy-actions"), find("dropped-actions")):
        one, two = stressor.apply(panel, 0.4), stressor.apply(turned, 0.4)
        assert one.scenarios == two.scenarios[::-1]


def test_a_longer_horizon_goes_on_as_the_script_says(clean) -> None:
    longer = find("horizon-extension").apply(clean[0], 2)
    assert longer.contract.horizon == 2 * HORIZON
    assert torch.equal(longer.actions(0), clean[0].actions(0).repeat(2))
    data = clean[0].model_dump()
    data["contract"]["horizon"] = 6
    written = find("horizon-extension").apply(Panel.from_dict(data), 2).actions(0)
    assert torch.equal(written, clean[0].actions(0).repeat(2)[:12])
    with pytest.raises(ValueError, match="at least 2"):
        find("horizon-extension").apply(clean[0], 1)
    noop = longer.actions(0, 1)
    assert (noop == NAMES.index("noop")).all()


def test_light_is_a_known_function_of_the_pixels(clean) -> None:
    _, lit = stressed_truth(clean, find("over-exposure"), 1.0)
    value = clean[1].frames.double() / 255
    linear = torch.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    twice = (2 * linear).clamp(max=1)
    expected = torch.where(twice <= 0.0031308, 12.92 * twice, 1.055 * twice ** (1 / 2.4) - 0.055)
    assert float((lit.frames.double() - 255 * expected).abs().max()) <= 0.51


@pytest.mark.parametrize(
    "name", ["over-exposure", "warm-light", "shadow", "blur", "noise", "occlusion", "compression"]
)
def test_float_frames_are_stressed_like_uint8_ones(clean, name: str) -> None:
    stressor = find(name, rendered="frames") if name in LIGHT else find(name)
    panel = stressor.apply(clean[0], stressor.severities[1])
    items = panel_items(panel)

    class Floats(SpriteWorld):
        def rollout(self, items, horizon):
            from dataclasses import replace

            found = super().rollout(items, horizon)
            return replace(found, frames=found.frames.float() / 255)

        def relit(self, light):
            raise AssertionError("laid on the frames")

    whole = stressed_world(WORLD, panel).rollout(items, HORIZON).frames
    part = stressed_world(Floats(32, 32), panel).rollout(items, HORIZON).frames
    assert part.dtype == torch.float32
    assert float((part * 255 - whole).abs().max()) < (0.8 if name != "shadow" else 4)


def test_a_spoiled_start_is_no_reset_mismatch_for_a_model_that_takes_it(clean) -> None:
    panel, truth = stressed_truth(clean, find("occlusion"), 0.3)
    scorer = Scorer(panel)
    for rollouts in replay(panel, Frozen(), truth):
        scorer.update(rollouts)
    assert not scorer.compute().faults()
    # And one for a world that nobody told of the stress.
    scorer = Scorer(panel)
    for rollouts in replay(panel, WORLD, truth):
        scorer.update(rollouts)
    assert scorer.compute().faults() == {"reset_mismatch": 2}


def test_a_truth_of_the_clean_panel_is_refused(clean) -> None:
    harder = find("under-exposure").apply(clean[0], 1)
    with pytest.raises(ValueError, match="panel"):
        list(replay(harder, WORLD, clean[1]))


def test_no_world_is_stressed_twice(clean) -> None:
    harder = find("under-exposure").apply(clean[0], 1)
    world = stressed_world(WORLD, harder)
    assert stressed_world(world, harder) is world
    assert isinstance(load_world(harder), StressedWorld)
    assert stressed_world(WORLD, clean[0]) is WORLD
    for panel in (clean[0], find("under-exposure").apply(clean[0], 2)):
        with pytest.raises(ValueError, match="under the stress under-exposure 1"):
            stressed_world(world, panel)


def test_what_cannot_be_applied_says_why() -> None:
    panel = sprite_panel(scenarios=1, seeds=1, horizon=4)
    data = panel.model_dump()
    data["contract"]["actions"]["noop"] = None
    data["scenarios"][0]["branches"] = [
        {"name": "left", "actions": ["left"], "then": "hold"},
    ]
    found = applicable(Panel.from_dict(data))
    assert "commands nothing" in str(found["actuator-delay"])
    assert "needs a prompt" in str(found["prompt-paraphrase"])
    assert found["sticky-actions"] is None
    with pytest.raises(ValueError, match="expected one of"):
        find("earthquake")


def test_a_counterfactual_that_becomes_the_commanded_script_is_left_out_by_name() -> None:
    panel = sprite_panel(scenarios=1, seeds=1, horizon=4)
    with pytest.raises(ValueError, match="all scripts of scenario 'scene-0' become the same"):
        find("actuator-delay").apply(panel, 4)
    data = panel.model_dump()
    data["scenarios"][0]["actions"] = ["noop", "noop", "left", "left"]
    late = find("actuator-delay").apply(Panel.from_dict(data), 2)
    assert [branch.name for branch in late.scenarios[0].branches] == ["random-0"]
    assert late.stress is not None
    assert late.stress.parameters["left_out"] == {"scene-0": ["noop"]}


@pytest.mark.parametrize("name", ["under-exposure", "occlusion", "reset-jitter"])
def test_a_stressed_world_keeps_the_promises_of_a_model(clean, name: str) -> None:
    stressor = find(name)
    panel = stressor.apply(clean[0], stressor.severities[0])
    world = stressed_world(WORLD, panel)
    truth = render_truth(panel, WORLD)
    assert torch.equal(world.rollout(panel_items(panel), HORIZON).frames, truth.frames)
    if name == "reset-jitter":
        assert world is WORLD
    report = check_world_model(world, panel_items(panel, truth=truth), HORIZON)
    assert report.ok, str(report)


@pytest.mark.parametrize("name", ["reset-jitter", "shadow", "blur"])
def test_anchors_of_the_stressed_world_begin_where_it_does(clean, name: str) -> None:
    """Also the one whose chance is drawn anew: its warm-up is still the scenario's own."""
    panel, truth = (
        stressed_truth(clean, find(name), 4)
        if name != "shadow"
        else stressed_truth(clean, find(name), 0.8)
    )
    world = stressed_world(WORLD, panel)
    for anchor in (ActionBlind(world), OtherSeed(world)):
        found = anchor.rollout(panel_items(panel, truth=truth), HORIZON)
        assert torch.equal(found.frames[:, 0], truth.frames[:, 0])
        assert not torch.equal(found.frames, truth.frames)
