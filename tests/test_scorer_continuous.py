"""Action response of a world with continuous actions: a camera that pans by what it is told."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from wmscore.actions import action_records, action_sentences, action_summary
from wmscore.functional import global_motion
from wmscore.manifest import Panel
from wmscore.replay import render_truth, replay
from wmscore.scorer import Scorer
from wmscore.scores import Scores
from wmscore.testing import Faulty, MirroredActions, ScaledActions
from wmscore.worlds import Capabilities, Item, StepModel, StepOutput, WorldModel

SIDE, HORIZON = 48, 20


class Panning:
    """A view of a texture of its own for each scenario, moved by whole pixels."""

    name = "panning"
    capabilities = Capabilities(
        actions="continuous", action_names=("right", "down"), fps=10.0, frame_size=(SIDE, SIDE)
    )

    def __init__(self, lag: int = 0) -> None:
        self.lag = lag

    def reset(self, items: Sequence[Item]) -> StepOutput:
        grounds = []
        for item in items:
            generator = torch.Generator().manual_seed(int(item.reset["seed"]))
            small = torch.rand(1, 3, 40, 40, generator=generator)
            large = torch.nn.functional.interpolate(small, 240, mode="bilinear")[0]
            grounds.append((large * 255).round().byte())
        self.ground = torch.stack(grounds)
        self.place = torch.zeros(len(items), 2)
        self.sent = [torch.zeros(len(items), 2)] * self.lag
        return self.show()

    def step(self, actions: Tensor) -> StepOutput:
        self.sent = [*self.sent, actions]
        now, self.sent = self.sent[0], self.sent[1:]
        self.place = self.place + now
        return self.show()

    def show(self) -> StepOutput:
        x, y = (self.place.round().long() + 96).unbind(1)
        side = torch.arange(SIDE)
        rows, columns = y[:, None] + side, x[:, None] + side
        every = torch.arange(len(x))[:, None, None]
        frames = self.ground[every, :, rows[:, :, None], columns[:, None, :]]
        return StepOutput(frames=frames.movedim(-1, 1).contiguous(), labels=None)


@pytest.fixture(scope="module")
def panel() -> Panel:
    rng = random.Random(0)

    def script() -> list[list[float]]:
        steps: list[list[float]] = []
        while len(steps) < HORIZON:
            move = [float(rng.randint(-3, 3)), float(rng.randint(-3, 3))]
            steps += [move] * rng.randint(1, 3)
        return steps[:HORIZON]

    return Panel.from_dict(
        {
            "name": "panning",
            "contract": {
                "actions": {"kind": "continuous", "names": ["right", "down"], "noop": [0.0, 0.0]},
                "horizon": HORIZON,
            },
            "scenarios": [
                {
                    "id": f"s{i}",
                    "initial_state_id": f"s{i}",
                    "reset": {"seed": i},
                    "actions": script(),
                    "branches": [
                        {"name": "noop", "actions": [[0.0, 0.0]], "then": "hold"},
                        {"name": "other", "actions": script()},
                        {"name": "third", "actions": script()},
                    ],
                }
                for i in range(6)
            ],
            "axes": [{"axis": "action_response", "threshold": 0.5}],
        }
    )


def score(panel: Panel, model: WorldModel, network: object = None) -> Scores:
    scorer = Scorer(panel, inverse_dynamics=network)
    for rollouts in replay(panel, model, render_truth(panel, StepModel(Panning()))):
        scorer.update(rollouts)
    return scorer.compute()


def test_the_world_itself(panel: Panel) -> None:
    scores = score(panel, StepModel(Panning()))
    agreement = scores.measures["agreement"].values
    assert (agreement[~agreement.isnan()] == 1).all()
    recovery = action_summary(scores)["vector_recovery"]
    assert min(recovery["r2"]) > 0.95
    assert recovery["r2"] == recovery["ceiling"]["r2"]
    assert action_records(scores) == []  # there are no actions to list
    said = [line for line in action_sentences(scores) if line.startswith("R2")]
    assert said == [
        "R2 of recovered actions: right 1.00 (reference 1.00), down 1.00 (reference 1.00)"
    ]


@pytest.mark.parametrize("lag", [1, 3])
def test_a_late_camera(panel: Panel, lag: int) -> None:
    late = StepModel(Panning(lag))
    scores = score(panel, late)
    pooled = scores.actions.latency.excess.pooled
    assert int(pooled.lag) == lag
    assert float(pooled.gain) == pytest.approx(1.0, abs=0.05)
    assert max(action_summary(scores)["vector_recovery"]["r2"]) < 0.8


def test_mirrored_and_half(panel: Panel) -> None:
    mirrored = score(panel, Faulty(StepModel(Panning()), MirroredActions()))
    pooled = mirrored.actions.latency.excess.pooled
    assert (int(pooled.lag), int(pooled.polarity)) == (0, -1)
    recovery = action_summary(mirrored)["vector_recovery"]
    assert max(recovery["correlation"]) < -0.9
    half = score(panel, Faulty(StepModel(Panning()), ScaledActions(0.5)))
    assert float(half.actions.latency.excess.pooled.gain) == pytest.approx(0.5, abs=0.05)
    slopes = action_summary(half)["vector_recovery"]["slope"]
    assert slopes == pytest.approx([0.5, 0.5], abs=0.1)


def test_files(panel: Panel, tmp_path) -> None:
    scores = score(panel, StepModel(Panning()))
    scores.save(tmp_path / "scores.safetensors")
    again = Scores.load(tmp_path / "scores.safetensors")
    assert again.actions.vectors.r2.equal(scores.actions.vectors.r2)
    assert again.actions.recovery is None
    assert action_summary(again) == action_summary(scores)
    assert replace(again).actions.motion is None


class Seer:
    """Measures how far the view went; it is blind downwards, and after ten steps altogether."""

    name = "seer"

    def recognise(self, frames: Tensor) -> Tensor:
        moved = -global_motion(frames).shift.nan_to_num(0.0)
        found = torch.stack([moved[..., 1], torch.zeros_like(moved[..., 0])], -1)
        found[:, 10:] = torch.nan
        return found


def test_a_network_that_recognises_values(panel: Panel) -> None:
    own = score(panel, StepModel(Panning()), Seer())
    summary = action_summary(own)["vector_recovery"]
    assert summary["r2"] == summary["ceiling"]["r2"]
    right, down = summary["r2"]
    assert 0.3 < right < 0.7  # nothing is recognised in half of the steps
    assert down is None or down < 0.1
    half = score(panel, Faulty(StepModel(Panning()), ScaledActions(0.5)), Seer())
    slope = action_summary(half)["vector_recovery"]["slope"][0]
    whole = summary["slope"][0]
    assert slope == pytest.approx(whole / 2, abs=0.1)
    assert own.provenance["inverse dynamics"] == "seer"

    class Ids(Seer):
        def recognise(self, frames: Tensor) -> Tensor:
            return torch.zeros(len(frames), frames.shape[1] - 1, dtype=torch.int64)

    with pytest.raises(TypeError, match=r"seer.recognise must return values \(floating point\)"):
        score(panel, StepModel(Panning()), Ids())
