"""A network that recognises actions, in the scorer and in the evidence."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.panels import sprite_panel
from wmscore.actions import action_summary
from wmscore.functional import global_motion
from wmscore.manifest import Panel
from wmscore.replay import render_truth, replay
from wmscore.scorer import Scorer
from wmscore.scores import Scores
from wmscore.testing import Faulty, MirroredActions
from wmscore.worlds import SpriteWorld, WorldModel

WORLD = SpriteWorld(48, 48)


class ByShift:
    """Looks where the picture moves: exact on SpriteWorld."""

    name = "by-shift"

    def recognise(self, frames: Tensor) -> Tensor:
        dy, dx = global_motion(frames).shift.nan_to_num(0.0).round().unbind(-1)
        # noop, left, right, up, down; the view moves against the camera.
        found = torch.zeros_like(dy, dtype=torch.int64)
        for action, where in enumerate((dx > 0, dx < 0, dy > 0, dy < 0), start=1):
            found = found.masked_fill(where, action)
        return found


class AlwaysNoop:
    """What idle-heavy scripts flatter."""

    name = "always-noop"

    def recognise(self, frames: Tensor) -> Tensor:
        return torch.zeros(len(frames), frames.shape[1] - 1, dtype=torch.int64)


@pytest.fixture(scope="module")
def panel() -> Panel:
    return sprite_panel(3, 1, axes=[{"axis": "action_response", "threshold": 0.5}])


def score(panel: Panel, model: WorldModel, network: object) -> Scores:
    scorer = Scorer(panel, inverse_dynamics=network)
    for rollouts in replay(panel, model, render_truth(panel, WORLD), batch_size=4):
        scorer.update(rollouts)
    return scorer.compute()


def test_an_exact_recogniser(panel: Panel) -> None:
    own = score(panel, WORLD, ByShift())
    assert float(own.actions.recovery.score) == 1.0
    assert float(own.actions.ceiling.score) == 1.0
    assert own.provenance["inverse dynamics"] == "by-shift"
    mirrored = score(panel, Faulty(WORLD, MirroredActions()), ByShift())
    confusion = mirrored.actions.recovery.confusion
    assert confusion[1, 2] == confusion[1].sum() > 0
    assert float(mirrored.actions.ceiling.score) == 1.0
    assert float(mirrored.actions.recovery.score) < 0.05


def test_always_noop_scores_nothing_whatever_its_accuracy(panel: Panel) -> None:
    found = score(panel, WORLD, AlwaysNoop())
    summary = action_summary(found)["recovery"]
    assert summary["score"] == 0.0
    assert summary["kappa"] == 0.0
    assert summary["accuracy"] > 0.2
    assert summary["share_of_ceiling"] is None  # it tells nothing on the reference either


def test_what_is_no_recogniser_is_refused(panel: Panel) -> None:
    with pytest.raises(TypeError, match="inverse_dynamics: expected a name and recognise"):
        Scorer(panel, inverse_dynamics=object())

    class Short(AlwaysNoop):
        def recognise(self, frames: Tensor) -> Tensor:
            return super().recognise(frames)[:, 1:]

    with pytest.raises(ValueError, match=r"always-noop.recognise must return actions \[B, T\]"):
        score(panel, WORLD, Short())
