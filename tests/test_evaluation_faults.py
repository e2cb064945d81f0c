"""Evaluation faults: what cannot be judged is named by row, and never passes for a model's score.

One test for each way in which an evaluation, not a model, goes wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.panels import sprite_panel
from wmscore.functional import Reason
from wmscore.manifest import Panel
from wmscore.recordings import Recording, record
from wmscore.replay import freeze_panel, panel_items, render_truth, replay
from wmscore.rollouts import Rollouts
from wmscore.scorer import Scorer
from wmscore.scores import Scores
from wmscore.worlds import Frozen
from wmscore.worlds.sprites import SpriteWorld

WORLD = SpriteWorld(height=32, width=32)
Edit = Callable[[Rollouts], Rollouts]


@pytest.fixture(scope="module")
def scene() -> tuple[Panel, Rollouts]:
    panel = sprite_panel(scenarios=2, seeds=2, horizon=6, size=32)
    return freeze_panel(panel, render_truth(panel, WORLD), fps=10)


def scores_of(panel: Panel, batches: Iterable[Rollouts]) -> Scores:
    scorer = Scorer(panel)
    for rollouts in batches:
        scorer.update(rollouts)
    return scorer.compute()


def edited(scene: tuple[Panel, Rollouts], edit: Edit, row: int = 1) -> Scores:
    """Scores of the true world with one panel row edited."""
    panel, truth = scene
    batches = list(replay(panel, WORLD, truth, batch_size=1))
    batches[row] = edit(batches[row])
    return scores_of(panel, batches)


def only_row_is(scores: Scores, reason: Reason, row: int = 1) -> None:
    expected = [reason if r == row else 0 for r in range(len(scores))]
    assert scores.fault.tolist() == expected
    assert scores.horizon.defined.tolist() == [r != row for r in range(len(scores))]
    assert not scores.complete
    assert scores.records()[row]["fault"] == reason.name.lower()


def test_a_row_under_another_script_is_mislabelled(scene) -> None:
    """Its frames may be perfect: they answer another question."""

    def relabel(rollouts: Rollouts) -> Rollouts:
        return replace(rollouts, actions=rollouts.actions.roll(1, 1))

    only_row_is(edited(scene, relabel), Reason.WRONG_SCRIPT)


def test_scripts_of_another_kind_are_mislabelled(scene) -> None:
    def vectors(rollouts: Rollouts) -> Rollouts:
        return replace(rollouts, actions=rollouts.actions[..., None].float())

    panel, truth = scene
    scores = scores_of(panel, (vectors(r) for r in replay(panel, WORLD, truth)))
    assert scores.faults() == {"wrong_script": 4}


def test_a_counterfactual_under_another_script_is_mislabelled(scene) -> None:
    def relabel(rollouts: Rollouts) -> Rollouts:
        actions = rollouts.actions.clone()
        last = int((rollouts.branch == 2).nonzero()[0])
        actions[last, -1] = (actions[last, -1] + 1) % 5
        return replace(rollouts, actions=actions)

    only_row_is(edited(scene, relabel), Reason.WRONG_SCRIPT)


def test_a_row_of_another_scenario_is_told_by_its_start(scene) -> None:
    panel, truth = scene
    other = next(replay(panel, WORLD, truth, batch_size=1))  # scenario 0

    def relabel(rollouts: Rollouts) -> Rollouts:
        return replace(rollouts, frames=other.frames)

    only_row_is(edited(scene, relabel, row=2), Reason.RESET_MISMATCH, row=2)


@pytest.mark.parametrize(
    ("fps", "reason"),
    [(10.0, 0), (10.04, 0), (9.9, Reason.WRONG_TIMING), (20.0, Reason.WRONG_TIMING)],
)
def test_another_frame_rate_is_wrongly_timed(scene, fps: float, reason: int) -> None:
    class Clock(SpriteWorld):
        @property
        def capabilities(self):
            return replace(super().capabilities, fps=fps)

    panel, truth = scene
    scores = scores_of(panel, replay(panel, Clock(height=32, width=32), truth))
    assert set(scores.fault.tolist()) == {int(reason)}


def test_a_photograph_has_no_frame_rate(scene) -> None:
    data = scene[0].model_dump()
    data["contract"]["observation"]["fps"] = 8.75
    panel = Panel.from_dict(data)
    truth = render_truth(panel, WORLD)
    assert Frozen().capabilities.fps != 8.75
    assert not scores_of(panel, replay(panel, Frozen(), truth)).faults()


def test_nan_for_a_frame_rate_is_wrongly_timed(scene) -> None:
    panel, truth = scene
    rate = torch.full((12,), float("nan"))
    batches = [replace(r, info={"fps": rate}) for r in replay(panel, WORLD, truth)]
    assert scores_of(panel, batches).faults() == {"wrong_timing": 4}


def test_frames_of_another_size_are_wrongly_sized(scene) -> None:
    def crop(rollouts: Rollouts) -> Rollouts:
        assert rollouts.reference is not None
        return replace(
            rollouts,
            frames=rollouts.frames[..., :24],
            reference=rollouts.reference[..., :24],
            labels=None,
            reference_labels=None,
        )

    scores = edited(scene, crop)
    only_row_is(scores, Reason.WRONG_SIZE)
    assert "[3, 32, 32]" in scores.messages[1]
    assert "[3, 32, 24]" in scores.messages[1]
    assert any("wrong_size" in text for text in scores.provenance.values())


def test_a_model_of_another_size_is_recorded_as_wrongly_sized(scene, tmp_path: Path) -> None:
    class Small(Frozen):
        def rollout(self, items, horizon):
            found = super().rollout(items, horizon)
            return replace(found, frames=found.frames[..., :16, :16], labels=None)

    panel, _ = scene
    with pytest.warns(UserWarning, match="wrong_size: 4 rows"):
        record(tmp_path / "small", panel, WORLD, Small(), batch_size=4)
    reasons = {fault.reason for fault in Recording(tmp_path / "small").faults}
    assert reasons == {Reason.WRONG_SIZE}


def test_a_reference_that_does_not_move_judges_nobody(scene) -> None:
    """A photograph would be perfect there, so nobody gets a score for it."""
    panel, truth = scene
    frames = truth.frames.clone()
    still = truth.scenario == 1
    frames[still] = frames[still][:, :1]
    frozen = replace(truth, frames=frames)
    for model in (WORLD, Frozen()):
        scores = scores_of(panel, replay(panel, model, frozen))
        assert (scores.fault[2:] == Reason.STILL_REFERENCE).all()
        assert (scores.fault[:2] == 0).all()


def test_one_pixel_that_moves_is_enough(scene) -> None:
    panel, truth = scene
    frames = truth.frames[:, :1].expand_as(truth.frames).clone()
    frames[:, -1, 0, 0, 0] ^= 1
    scores = scores_of(panel, replay(panel, WORLD, replace(truth, frames=frames)))
    assert not (scores.fault == Reason.STILL_REFERENCE).any()


def test_a_scenario_may_be_meant_to_be_still(scene) -> None:
    panel, _ = scene
    data = panel.model_dump()
    data["scenarios"][1]["still"] = True
    meant = Panel.from_dict(data)
    truth = render_truth(meant, WORLD)
    frames = truth.frames[:, :1].expand_as(truth.frames).clone()
    scores = scores_of(meant, replay(meant, Frozen(), replace(truth, frames=frames)))
    assert (scores.fault[:2] == Reason.STILL_REFERENCE).all()
    assert (scores.fault[2:] == 0).all()
    assert meant.fingerprint != panel.fingerprint


def test_what_only_moves_where_nobody_looks_is_still(scene) -> None:
    panel, _ = scene
    data = panel.model_dump()
    data["contract"]["observation"]["ignore"] = [(0, 0, 4, 4)]
    blind = Panel.from_dict(data)
    truth = render_truth(blind, WORLD)
    frames = truth.frames[:, :1].expand_as(truth.frames).clone()
    frames[:, 1:, :, 1, 1] ^= 255
    scores = scores_of(blind, replay(blind, WORLD, replace(truth, frames=frames)))
    assert (scores.fault == Reason.STILL_REFERENCE).all()


def test_a_fault_is_found_in_any_batch(scene) -> None:
    panel, truth = scene
    whole = next(replay(panel, WORLD, truth, batch_size=4))
    actions = whole.actions.clone()
    actions[3:6, 2] = (actions[3:6, 2] + 1) % 5  # all scripts of row 1
    broken = replace(whole, actions=actions)
    alone = scores_of(panel, [broken[i : i + 1] for i in range(len(broken))])
    assert scores_of(panel, [broken]).fault.tolist() == alone.fault.tolist()
    assert alone.fault.tolist() == [0, int(Reason.WRONG_SCRIPT), 0, 0]


def test_panel_items_are_what_rows_are_compared_with(scene) -> None:
    panel, truth = scene
    items = panel_items(panel, truth=truth)
    rollouts = WORLD.rollout(items, panel.contract.horizon)
    assert torch.equal(rollouts.actions, torch.stack([item.actions for item in items]))
    assert scores_of(panel, [rollouts.with_reference(truth)]).complete


@pytest.mark.parametrize("order", [(2, 1, 0), (1, 0, 2), (1, 2, 0)])
def test_channels_in_another_order_are_told(scene, order) -> None:
    def swap(rollouts: Rollouts) -> Rollouts:
        frames = rollouts.frames.clone()
        frames[:, 1:] = frames[:, 1:, list(order)]
        return replace(rollouts, frames=frames)

    only_row_is(edited(scene, swap), Reason.WRONG_CHANNELS)


def test_a_tint_is_no_other_order(scene) -> None:
    def tint(rollouts: Rollouts) -> Rollouts:
        frames = rollouts.frames.clone()
        frames[:, 1:, 0] = frames[:, 1:, 0] // 2
        return replace(rollouts, frames=frames)

    assert edited(scene, tint).complete
