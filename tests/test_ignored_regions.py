"""Regions that no metric looks at: nothing inside counts, everything outside does."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.panels import sprite_panel
from wmscore.evidence import choose_traces
from wmscore.evidence.postmortem import postmortem
from wmscore.evidence.traces import write_trace
from wmscore.functional import Reason
from wmscore.manifest import Panel
from wmscore.recordings import Recording, record
from wmscore.replay import freeze_panel, render_truth
from wmscore.rollouts import Rollouts
from wmscore.scorer import Scorer, cover_ignored
from wmscore.scores import Scores
from wmscore.tensorfile import load_tensors
from wmscore.worlds import Frozen
from wmscore.worlds.sprites import SpriteWorld

BOX = (4, 28, 20, 46)
WORLD = SpriteWorld(height=48, width=48)


def boxed(panel: Panel, *boxes: tuple[int, int, int, int]) -> Panel:
    data = panel.model_dump()
    data["contract"]["observation"]["ignore"] = boxes or None
    return Panel.from_dict(data)


@pytest.fixture(scope="module")
def scene() -> tuple[Panel, Rollouts]:
    panel = boxed(sprite_panel(scenarios=2, seeds=1, horizon=10), BOX)
    return freeze_panel(panel, render_truth(panel, WORLD), fps=10)


def score(panel: Panel, rollouts: Rollouts, truth: Rollouts) -> Scores:
    scorer = Scorer(panel)
    rollouts = replace(rollouts, panel=panel.fingerprint)
    scorer.update(rollouts.with_reference(replace(truth, panel=panel.fingerprint)))
    return scorer.compute()


def inside(frames: Tensor, box: tuple[int, int, int, int] = BOX) -> Tensor:
    return frames[..., box[0] : box[2], box[1] : box[3]]


def everything(scores: Scores) -> dict[str, Tensor]:
    found = {"fault": scores.fault}
    for group in (scores.axes, scores.measures):
        for name, curve in group.items():
            found |= {f"{name}.values": curve.values, f"{name}.reason": curve.reason}
    return found


def test_a_panel_without_boxes_keeps_its_fingerprint() -> None:
    panel = sprite_panel()
    assert "ignore" not in panel.canonical_json()
    assert boxed(panel).fingerprint == panel.fingerprint
    assert boxed(panel, BOX).fingerprint != panel.fingerprint
    assert boxed(panel, BOX).contract.observation.ignored().sum() == 16 * 18  # type: ignore[union-attr]


def test_freezing_keeps_the_boxes(scene: tuple[Panel, Rollouts]) -> None:
    assert scene[0].contract.observation is not None
    assert scene[0].contract.observation.ignore == (BOX,)


@pytest.mark.parametrize(
    ("box", "says"),
    [
        ((4, 4, 4, 9), r"ignore\[0\]: expected top < bottom <= 48 and left < right <= 48"),
        ((0, 0, 49, 9), r"ignore\[0\]"),
        ((-1, 0, 5, 9), "greater than or equal to 0"),
        ((0, 0, 48, 48), "expected to leave some pixels"),
    ],
)
def test_bad_boxes_are_refused(box: tuple[int, int, int, int], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        boxed(sprite_panel(), box)


def test_nothing_inside_a_box_changes_any_number(scene: tuple[Panel, Rollouts]) -> None:
    panel, truth = scene
    # A model that drifts outside the box, so that there is something to measure.
    model = replace(truth, model="drifts", frames=truth.frames.clone())
    model.frames[:, 1:, :, 30:, :20] //= 2
    plain = everything(score(panel, model, truth))
    noise = torch.randint(0, 256, inside(model.frames).shape, dtype=torch.uint8)
    marked = replace(model, frames=model.frames.clone())
    inside(marked.frames).copy_(noise)  # frame 0 too: a watermark is there from the start
    assert marked.labels is not None
    labels = marked.labels.clone()
    inside(labels).fill_(3)
    found = everything(score(panel, replace(marked, labels=labels), truth))
    assert plain.keys() == found.keys()
    for name, value in plain.items():
        assert torch.equal(value.nan_to_num(-1), found[name].nan_to_num(-1)), name
    # The same marks count where the panel does not ignore them.
    open_panel = boxed(panel)
    assert score(open_panel, marked, truth).fault.tolist() == [int(Reason.RESET_MISMATCH)] * 2
    assert float(plain["perceptual_drift.values"].mean()) < 0.99


def test_a_box_hides_the_reference_too(scene: tuple[Panel, Rollouts]) -> None:
    panel, truth = scene
    covered = cover_ignored(truth.with_reference(truth), panel.contract.observation)
    assert covered.reference is not None
    assert covered.labels is not None
    assert covered.reference_labels is not None
    for frames in (covered.frames, covered.reference):
        box = inside(frames)
        assert torch.equal(box, box[:, :1, :, :1, :1].expand_as(box))
        outside = inside(truth.frames[..., :, :28], (0, 0, 48, 28))
        assert torch.equal(frames[..., :28], outside)
    assert not inside(covered.labels).any()
    assert not inside(covered.reference_labels).any()
    assert inside(truth.labels).any()  # type: ignore[arg-type]
    mean = inside(truth.frames[0, 0]).double().mean((-2, -1)).round()
    assert torch.equal(covered.frames[0, 0, :, 5, 30].double(), mean)


def test_float_frames_get_the_same_colour(scene: tuple[Panel, Rollouts]) -> None:
    panel, truth = scene
    model = replace(truth, frames=truth.frames.float() / 255)
    covered = cover_ignored(model.with_reference(truth), panel.contract.observation)
    assert covered.reference is not None
    assert torch.equal(inside(covered.frames), inside(covered.reference)[covered.reference_index])


def test_a_flat_picture_stays_a_fault(scene: tuple[Panel, Rollouts]) -> None:
    panel, truth = scene
    frames = truth.frames.clone()
    frames[:, 1:] = 77
    assert (
        score(panel, replace(truth, frames=frames), truth).fault.tolist()
        == [int(Reason.CONSTANT)] * 2
    )
    frames[:, 1:, :, 40, 10] = 78  # one pixel outside the box
    assert score(panel, replace(truth, frames=frames), truth).fault.tolist() == [0, 0]


def test_a_recording_is_judged_with_boxes_that_came_later(tmp_path: Path) -> None:
    panel = sprite_panel(scenarios=1, seeds=2, horizon=8)
    record(tmp_path / "run", panel, WORLD, Frozen(WORLD))
    recording = Recording(tmp_path / "run", boxed(panel, BOX))
    assert recording.panel.contract.observation is not None
    assert recording.panel.contract.observation.ignore == (BOX,)
    scorer = Scorer(recording.panel)
    for rollouts in recording:
        scorer.update(rollouts)
    scores = scorer.compute()
    assert scores.provenance["ignored"] == "12.5% of the picture: [4, 28, 20, 46]"
    assert "Ignored by every metric: 12.5% of the picture" in postmortem([scores], [], roles={})
    trace = choose_traces([scores])[0]
    pytest.importorskip("av")
    pytest.importorskip("PIL")
    write_trace(tmp_path, trace, scores, lambda _, s, seed: recording.row(s, seed))
    _, tensors = load_tensors(tmp_path / f"{trace.name}.safetensors", "trace", device="cpu")
    box = inside(tensors["frames"])
    assert torch.equal(box, box[:1, :, :1, :1].expand_as(box))


def test_frames_of_another_size_are_refused(scene: tuple[Panel, Rollouts]) -> None:
    panel, truth = scene
    small = replace(truth, frames=truth.frames[..., :32, :32], labels=None)
    with pytest.raises(ValueError, match="expected 48x48 as observation"):
        cover_ignored(small.with_reference(small), panel.contract.observation)
    with pytest.raises(ValueError, match="expected a reference"):
        cover_ignored(truth, panel.contract.observation)
