"""Models that take no actions, on a panel that asks for a response: n/a, not 0, and no prize."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.panels import sprite_panel
from wmscore.actions import action_sentences, takes_no_actions
from wmscore.comparison import rank
from wmscore.evidence import write_evidence
from wmscore.evidence.table import action_table, summary_table
from wmscore.functional import Reason
from wmscore.manifest import Panel
from wmscore.recordings import Recording, record
from wmscore.replay import render_truth, replay
from wmscore.rollouts import Rollouts
from wmscore.scorer import Scorer, score_recording
from wmscore.scores import Scores
from wmscore.worlds import ActionBlind, Capabilities, Frozen, SpriteWorld, StepModel, WorldModel

WORLD = SpriteWorld(48, 48)
AXES = [
    {"axis": "perceptual_drift", "threshold": 0.6, "patience": 1},
    {"axis": "action_response", "threshold": 0.5, "patience": 1},
]


class Deaf:
    """The world, as a model that is told no actions sees it."""

    name = "deaf"

    def __init__(self) -> None:
        self.inner = ActionBlind(WORLD)

    @property
    def capabilities(self) -> Capabilities:
        return replace(self.inner.capabilities, actions="none", action_names=())

    def rollout(self, items: object, horizon: int) -> Rollouts:
        return replace(self.inner.rollout(items, horizon), model=self.name)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def panel() -> Panel:
    return sprite_panel(2, 1, 8, axes=AXES)


@pytest.fixture(scope="module")
def batches(panel: Panel) -> list[Rollouts]:
    return list(replay(panel, Deaf(), render_truth(panel, WORLD)))


def scored(panel: Panel, batches: list[Rollouts], takes_actions: bool) -> Scores:
    scorer = Scorer(panel, takes_actions=takes_actions)
    for batch in batches:
        scorer.update(batch)
    return scorer.compute()


def test_the_response_is_undefined_and_no_fault(panel: Panel, batches: list[Rollouts]) -> None:
    asked, deaf = scored(panel, batches, True), scored(panel, batches, False)
    # Asked for a response it gives none: that is 0, which says something else.
    known = asked.axes["action_response"].values
    assert float(known[~known.isnan()].max()) < 0.5
    assert not takes_no_actions(asked)
    curve = deaf.axes["action_response"]
    assert bool(curve.values.isnan().all())
    assert set(curve.reason.flatten().tolist()) == {int(Reason.NO_ACTIONS)}
    assert deaf.complete
    assert deaf.actions is deaf.chance is None
    assert takes_no_actions(deaf)
    # What is not about actions is the same number.
    same = [scores.axes["perceptual_drift"].values for scores in (asked, deaf)]
    assert same[0].equal(same[1])
    assert deaf.horizon.axis_steps[0].equal(asked.horizon.axis_steps[0])
    assert bool(deaf.horizon.axis_defined[0].all())


def test_no_horizon_is_won_by_it(panel: Panel, batches: list[Rollouts]) -> None:
    deaf, world = scored(panel, batches, False), Scorer(panel)
    for batch in replay(panel, WORLD, render_truth(panel, WORLD)):
        world.update(batch)
    assert not bool(deaf.horizon.defined.any())
    assert deaf.horizon.steps.tolist() == [-1, -1]
    assert set(deaf.horizon.reason.tolist()) == {int(Reason.NO_ACTIONS)}
    assert rank([world.compute(), deaf]).unranked.keys() == {"deaf"}
    # Where the axis does not gate, the horizon is that of the others.
    open_axes = [AXES[0], {**AXES[1], "gate": False}]
    free = sprite_panel(2, 1, 8, axes=open_axes)
    moved = [replace(batch, panel=free.fingerprint) for batch in batches]
    found = scored(free, moved, False)
    assert bool(found.horizon.defined.all())
    assert found.horizon.steps.equal(deaf.horizon.axis_steps[0])


def test_commanded_scripts_are_enough(panel: Panel, batches: list[Rollouts]) -> None:
    commanded = [batch[batch.branch == 0] for batch in batches]
    assert scored(panel, commanded, False).complete
    assert set(scored(panel, commanded, True).faults()) == {"missing"}


def test_it_is_said(panel: Panel, batches: list[Rollouts], tmp_path: Path) -> None:
    deaf = scored(panel, batches, False)
    assert action_sentences(deaf) == [
        "n/a, the model takes no actions, so that it cannot be asked for a response"
    ]
    _, body = action_table([deaf])
    assert body == [["deaf", "model", "n/a", "n/a", "n/a", "n/a", "n/a"]]
    _, ((*_, response, ended),) = summary_table([deaf])
    assert (response, ended) == ("n/a", "n/a: takes no actions")
    deaf.save(tmp_path / "scores.safetensors")
    again = Scores.load(tmp_path / "scores.safetensors", panel)
    assert takes_no_actions(again)
    assert not bool(again.horizon.defined.any())


@pytest.mark.parametrize(
    ("model", "role", "wanted"),
    [(Deaf(), None, True), (WORLD, "model", False), (Frozen(WORLD), "floor", False)],
    ids=["takes none", "takes them", "a floor"],
)
def test_a_recording_says_who_takes_none(
    panel: Panel, tmp_path: Path, model: WorldModel, role: str | None, wanted: bool
) -> None:
    record(tmp_path / "run", panel, WORLD, model, role=role)
    run = Recording(tmp_path / "run")
    scores = score_recording(run)
    assert scores.complete
    assert takes_no_actions(scores) is wanted
    write_evidence(tmp_path / "evidence", [scores], lambda name, s, seed: run.row(s, seed))
    text = (tmp_path / "evidence" / "postmortem.md").read_text(encoding="utf-8")
    assert ("n/a, the panel gates on action_response" in text) is wanted
    if wanted:
        steps = float(scores.horizon.axis_steps[0].double().mean())
        failed = int((~scores.horizon.axis_censored[0]).sum())
        assert f"perceptual_drift: fails in {failed} of 2 rows; usable for {steps:.1f} of 8" in text


def test_what_conversion_lost_is_in_the_provenance(panel: Panel, tmp_path: Path) -> None:
    class Losing(StepModel):
        """Says that it does not do as it is told."""

        name = "losing"
        conversion_losses = ("yaw: rounded at 2 steps", "jump: dropped at 1 step")

        def rollout(self, items: object, horizon: int) -> Rollouts:
            return replace(super().rollout(items, horizon), model="losing")  # type: ignore[arg-type]

    record(tmp_path / "run", panel, WORLD, Losing(WORLD.stepper), role="model")
    found = score_recording(Recording(tmp_path / "run"))
    assert found.provenance["conversion of actions"] == "; ".join(Losing.conversion_losses)
    assert torch.equal(found.fault, torch.zeros(2, dtype=torch.uint8))
