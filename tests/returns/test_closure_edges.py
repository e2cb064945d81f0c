"""Coming back at its edges: pictures of one colour, whose distances are known by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.panels import NAMES, sprite_panel
from wmscore import functional as F
from wmscore.functional import Reason
from wmscore.manifest import Panel
from wmscore.replay import check_resets, panel_returns, render_truth, replay
from wmscore.rollouts import Rollouts
from wmscore.scorer import Scorer
from wmscore.scores import Scores
from wmscore.worlds.sprites import SpriteWorld

WORLD = SpriteWorld(height=16, width=16)


def flat(*values: float) -> Tensor:
    """Frames `[T+1, 3, 4, 4]` of one grey each."""
    return torch.tensor(values, dtype=torch.float64).view(-1, 1, 1, 1).expand(-1, 3, 4, 4)


def closed(preds: Tensor, target: Tensor, **options: float) -> F.Closure:
    return F.loop_closure(preds, target, F.returns_of(target), **options)  # type: ignore[arg-type]


def test_going_further_is_no_loss_and_earns_nothing() -> None:
    """There .4 and back to .1: the gap is .1, the way (.4 + .3) / 2, that of the reference .2."""
    found = closed(flat(0, 0.4, 0.1), flat(0, 0.2, 0))
    assert float(found.score[-1]) == pytest.approx((0.2 - 0.1) / 0.2)
    assert float(found.stability[-1]) == pytest.approx(0.1 / 0.35)
    assert float(found.motion[-1]) == pytest.approx(0.35 / 0.2)
    assert float(closed(flat(0, 0.4, 0), flat(0, 0.2, 0)).score[-1]) == 1


def test_a_broken_frame_on_the_way_is_named() -> None:
    found = closed(flat(0, math.nan, 0), flat(0, 0.2, 0))
    assert found.reason[-1] == found.stability_reason[-1] == Reason.NON_FINITE
    assert found.score[-1].isnan()
    assert found.distance[-1].isnan()


def test_what_counts_as_back_is_what_the_returns_were_found_with() -> None:
    """Three grey levels in a hundred are back where ten are allowed, and are compared then."""
    true = flat(0, 0.5, 0.03)
    returns = F.returns_of(true, levels=0.1)
    assert returns.to.tolist() == [-1, 0]
    found = F.loop_closure(true, true, returns, levels=0.1)
    assert float(found.score[-1]) == 1
    assert (F.returns_of(true).to == -1).all()


def test_a_displacement_is_undone_in_each_direction_and_never_counts_more() -> None:
    generator = torch.Generator().manual_seed(0)
    place = torch.randint(0, 256, (3, 12, 14), generator=generator, dtype=torch.uint8)
    away = 255 - place
    true = torch.stack([place, away, place])
    for dy, dx in ((2, 0), (-2, 0), (0, 2), (0, -2), (2, -2), (1, 1)):
        preds = torch.stack([place, away, place.roll((dy, dx), (-2, -1))])
        assert float(closed(preds, true, radius=2).registered[-1]) == 0, (dy, dx)
    preds = torch.stack([place, away, place.roll(3, -1)])
    assert float(closed(preds, true, radius=2).registered[-1]) > 0.1
    # Inner pixels alone may be worse than all: the picture as it is counts too.
    inner = true.clone()
    inner[-1, :, 4:8, 4:10] = 255 - inner[-1, :, 4:8, 4:10]
    found = closed(inner, true, radius=2)
    assert float(found.registered[-1]) <= float(found.distance[-1])


def test_the_furthest_frame_is_far_from_both() -> None:
    """Half of the picture is back: one frame is far from where it is now, not from where it was."""
    halves = torch.tensor([[0, 0], [0.6, 0], [0.4, 0.5], [0, 1]], dtype=torch.float64)
    found = F.returns_of(halves[:, None, None].expand(-1, 3, 2, -1))
    assert found.to.tolist() == [-1, -1, 0]
    assert int(found.far[-1]) == 2
    assert float(found.departure[-1]) == pytest.approx(0.4)


# ---- in the scorer --------------------------------------------------------------------------


def scored(edit) -> tuple[Scores, Scores]:
    """Scores of the true world on a loop, and with its rollouts edited."""
    data = sprite_panel(scenarios=1, seeds=1, horizon=6, size=16).model_dump()
    data["axes"] = [{"axis": "reset_consistency", "threshold": 0.7, "patience": 2}]
    scenario = data["scenarios"][0]
    scenario |= {"actions": ["left"] * 3 + ["right"] * 3, "branches": []}
    scenario["reset"] = {**scenario["reset"], "objects": 1, "noise": 0}
    panel = Panel.from_dict(data)
    found = []
    for change in (lambda rollouts: rollouts, edit):
        scorer = Scorer(panel)
        for rollouts in replay(panel, WORLD, render_truth(panel, WORLD)):
            scorer.update(change(rollouts))
        found.append(scorer.compute())
    return found[0], found[1]


@pytest.mark.parametrize("gone", [0, 3], ids=["what it returns to", "what lies between"])
def test_a_return_needs_all_three_frames(gone: int) -> None:
    def hide(rollouts: Rollouts) -> Rollouts:
        valid = rollouts.valid.clone()
        valid[:, 1 if gone == 0 else gone] = False
        return replace(rollouts, valid=valid)

    whole, holed = scored(hide)
    before = whole.axes["reset_consistency"].reason[0]
    after = holed.axes["reset_consistency"].reason[0]
    # There and back by three: step 5 returns to 1 and step 6 to 0, both by way of 3.
    assert before.tolist()[4:] == [0, 0]
    expected = [int(Reason.NO_FRAME), 0] if gone == 0 else [int(Reason.NO_FRAME)] * 2
    assert after.tolist()[4:] == expected
    assert holed.measures["closure_distance"].reason[0].tolist()[4:] == expected


def test_the_scorer_registers_what_comes_back_displaced() -> None:
    def moved(rollouts: Rollouts) -> Rollouts:
        frames = rollouts.frames.clone()
        frames[:, -1] = frames[:, -1].roll(2, -1)
        return replace(rollouts, frames=frames)

    _, found = scored(moved)
    at = {name: float(curve.values[0, -1]) for name, curve in found.measures.items()}
    assert at["closure_registered"] == 0
    assert at["closure_displaced"] == at["closure_distance"] > 0


def test_returns_are_those_of_the_commanded_script() -> None:
    data = sprite_panel(scenarios=1, seeds=1, horizon=4, size=16).model_dump()
    scenario = data["scenarios"][0]
    scenario["actions"] = ["left"] * 4
    scenario["branches"] = [{"name": "back", "actions": ["left", "left", "right", "right"]}]
    panel = Panel.from_dict(data)
    assert panel_returns(panel, render_truth(panel, WORLD))[0].steps == ()


# ---- resets ---------------------------------------------------------------------------------


class Remembers:
    """The true world, brighter by what was asked last: by its last action, or at each call."""

    name = "remembers"

    def __init__(self, *, by: float = 0, drift: float = 0, noise: float = 0) -> None:
        self.capabilities = WORLD.capabilities
        self.by, self.drift, self.noise = by, drift, noise
        self.calls, self.last = 0, 0.0

    def rollout(self, items, horizon):
        truth = WORLD.rollout([replace(item, noise_seed=None) for item in items], horizon)
        frames = truth.frames.double() / 255
        frames[:, 1:] += self.by * self.last + self.drift * self.calls
        generator = torch.Generator().manual_seed(self.calls)
        noise = torch.randn(frames[:, 1:].shape, generator=generator, dtype=torch.float64)
        frames[:, 1:] += self.noise * noise
        self.calls += 1
        self.last = float(items[0].actions[-1])
        return replace(truth, frames=frames, model=self.name)


def alone() -> tuple[Panel, Rollouts]:
    """One scenario of one script: nothing else in the panel that could be asked before."""
    data = sprite_panel(scenarios=1, seeds=1, horizon=3, size=16).model_dump()
    data["axes"] = [{"axis": "perceptual_drift", "threshold": 0.5}]
    data["scenarios"][0]["branches"] = []
    panel = Panel.from_dict(data)
    return panel, render_truth(panel, WORLD)


def test_a_panel_of_one_script_is_asked_for_other_actions_before() -> None:
    panel, truth = alone()
    assert check_resets(panel, Remembers(by=0.1), truth).leaks is True
    assert check_resets(panel, WORLD, truth).leaks is False


def test_vectors_are_turned_round_for_another_history() -> None:
    panel, truth = alone()
    data = panel.model_dump()
    data["contract"]["actions"] = {"kind": "continuous", "names": ["x"], "noop": [0.0]}
    data["scenarios"][0]["actions"] = [[0.5]] * 3
    vectors = Panel.from_dict(data)
    shown = replace(truth, panel=vectors.fingerprint, actions=vectors.actions(0)[None])

    class Model(Remembers):
        def rollout(self, items, horizon):
            still = {"actions": torch.zeros(3).long(), "action_names": tuple(NAMES)}
            found = super().rollout([replace(item, **still) for item in items], horizon)
            found.frames[:, 1:] += 0.1 * self.before
            self.before = float(items[0].actions[-1, 0])
            return replace(found, actions=torch.stack([item.actions for item in items]))

        before = 0.0

    assert check_resets(vectors, Model(), shown).leaks is True


def test_the_smallest_leak_of_an_exact_model_is_one() -> None:
    panel, truth = alone()
    report = check_resets(panel, Remembers(by=1e-8), truth)
    assert set(report.kind) == {"bit-exact"}
    assert report.leaks is True


def test_a_model_that_drifts_from_call_to_call_does_not_leak() -> None:
    """Both histories come in an order that is drawn: what changes with time is no history."""
    panel, truth = alone()
    report = check_resets(panel, Remembers(drift=1e-3, noise=1e-3), truth)
    assert report.kind == ("stochastic",)
    assert report.leaks is False
