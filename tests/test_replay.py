"""Replay: the same questions to every model, the truth beside each answer, recordings on disk."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.panels import sprite_panel
from wmscore.manifest import Panel, PanelMismatchError
from wmscore.recordings import Recording, record
from wmscore.replay import freeze_panel, panel_items, render_truth, replay
from wmscore.rollouts import Rollouts
from wmscore.scorer import Scorer
from wmscore.worlds import Capabilities, Frozen, Item
from wmscore.worlds.sprites import SpriteWorld

WORLD = SpriteWorld(height=32, width=32)


class Edited:
    """The true world with its answer edited: a model that does not answer what was asked."""

    name = "edited"

    def __init__(self, **changes: object) -> None:
        self.changes = changes

    @property
    def capabilities(self) -> Capabilities:
        return WORLD.capabilities

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        answer = WORLD.rollout(items, horizon)
        changes = {k: v(answer) if callable(v) else v for k, v in self.changes.items()}
        return replace(answer, **changes)


@pytest.fixture(scope="module")
def scene() -> tuple[Panel, Rollouts]:
    panel = sprite_panel(scenarios=2, seeds=2, horizon=5, size=32)
    return freeze_panel(panel, render_truth(panel, WORLD), fps=10)


def test_items_are_row_major_with_all_branches(scene):
    panel, truth = scene
    items = panel_items(panel, truth=truth)
    keys = [(item.scenario, item.seed, item.branch) for item in items]
    assert keys == [(s, k, b) for s in range(2) for k in range(2) for b in range(3)]
    assert all(item.noop == 0 for item in items)
    torch.testing.assert_close(items[1].actions, torch.zeros(5, dtype=torch.int64))
    for item in items:
        row = ((truth.scenario == item.scenario) & (truth.branch == 0)).nonzero().item()
        torch.testing.assert_close(item.frame, truth.frames[row, 0])
        torch.testing.assert_close(item.labels, truth.labels[row, 0])


def test_truth_is_one_rollout_per_scenario_and_branch(scene):
    panel, truth = scene
    assert len(truth) == 2 * 3
    assert truth.panel == panel.fingerprint
    alone = render_truth(panel, WORLD, batch_size=1)
    torch.testing.assert_close(alone.frames, truth.frames)


def test_the_frozen_initial_frame_is_enforced(scene):
    panel, _ = scene
    data = panel.model_dump()
    data["scenarios"][1]["initial_frame_sha256"] = "0" * 64
    with pytest.raises(ValueError, match=r"scenario 'scene-1' starts from another frame"):
        render_truth(Panel.from_dict(data), WORLD)


def test_replay_covers_the_panel_beside_the_truth(scene):
    panel, truth = scene
    calls: list[tuple[int, int]] = []
    batches = list(
        replay(panel, WORLD, truth, batch_size=3, progress=lambda *done: calls.append(done))
    )
    assert calls == [(3, 4), (4, 4)]
    assert [len(batch) for batch in batches] == [9, 3]
    for batch in batches:
        assert batch.reference is not None
        assert batch.reference_index is not None
        torch.testing.assert_close(batch.frames, batch.reference[batch.reference_index])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": lambda r: r.seed + 1}, r"answered other rows than asked \(seed\)"),
        ({"scenario": lambda r: r.scenario.flip(0)}, r"other rows than asked \(scenario\)"),
        ({"panel": "other"}, "expected horizon 5 and panel"),
        ({"actions": lambda r: r.actions * 0}, "expected the commanded actions"),
        (
            {"frames": lambda r: r.frames[..., :16], "labels": None},
            r"expected frames \[3, 32, 32\]",
        ),
    ],
)
def test_an_answer_to_another_question_is_refused(scene, changes, message):
    panel, truth = scene
    with pytest.raises(ValueError, match=message):
        list(replay(panel, Edited(**changes), truth))


def test_a_recording_scores_like_the_replay(scene, tmp_path: Path):
    open_panel = sprite_panel(scenarios=2, seeds=2, horizon=5, size=32)
    panel = record(tmp_path / "r", open_panel, WORLD, Frozen(), batch_size=3)
    assert panel.fingerprint == scene[0].fingerprint
    live, stored = Scorer(panel), Scorer(panel)
    for rollouts in replay(panel, Frozen(), scene[1]):
        live.update(rollouts)
    recording = Recording(tmp_path / "r", open_panel)
    for rollouts in recording:
        stored.update(rollouts)
    assert stored.compute().records() == live.compute().records()
    row = recording.row(1, 1)
    assert row.branch.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="exists; choose a new one"):
        record(tmp_path / "r", open_panel, WORLD, Frozen())
    other = sprite_panel(scenarios=2, seeds=3, horizon=5, size=32)
    with pytest.raises(PanelMismatchError, match="seeds"):
        Recording(tmp_path / "r", other)
    with pytest.raises(ValueError, match="holds no recording"):
        Recording(tmp_path)


def test_batch_size_is_checked(scene):
    with pytest.raises(ValueError, match="batch_size: expected at least 1, got -1"):
        list(replay(*scene[:1], WORLD, scene[1], batch_size=-1))
    with pytest.raises(ValueError, match="batch_size"):
        render_truth(scene[0], WORLD, batch_size=0)


def test_a_failing_world_leaves_nothing_but_a_beginning(tmp_path: Path):
    panel = sprite_panel(scenarios=2, seeds=2, horizon=5, size=32)
    with pytest.raises(ValueError, match="other rows"):
        record(tmp_path / "r", panel, Edited(seed=lambda r: r.seed + 1), Frozen())
    with pytest.raises(ValueError, match="truth is not rendered yet"):
        Recording(tmp_path / "r")
    record(tmp_path / "r", panel, WORLD, Frozen())
    assert Recording(tmp_path / "r").complete
