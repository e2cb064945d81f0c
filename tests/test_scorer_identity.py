"""Identity in the scorer: its measures, what they need, the error of telling it without labels."""

from __future__ import annotations

import csv
import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.panels import sprite_panel
from wmscore.evidence import write_evidence
from wmscore.evidence.postmortem import postmortem
from wmscore.functional import IdentityState, Reason, carried_identity, share_ids
from wmscore.manifest import Panel
from wmscore.networks import LpipsNetwork, ModuleEncoder
from wmscore.replay import freeze_panel, render_truth, replay, replay_rows
from wmscore.rollouts import Rollouts
from wmscore.scorer import Scorer
from wmscore.scores import Scores
from wmscore.testing import Faulty, IdentitySwap, Vanish, sprite_items
from wmscore.worlds import SpriteWorld, WorldModel

WORLD = SpriteWorld(height=48, width=48)
SWAP = Faulty(WORLD, IdentitySwap())
Change = Callable[[Rollouts], Rollouts]


def panel_of(measure: str, **options: object) -> tuple[Panel, Rollouts]:
    axis = {"axis": "identity_persistence", "measure": measure, "threshold": 0.9, **options}
    panel = sprite_panel(scenarios=3, seeds=2, horizon=16, axes=[axis])
    return freeze_panel(panel, render_truth(panel, WORLD), fps=10)


def score(
    scene: tuple[Panel, Rollouts],
    model: WorldModel,
    change: Change | None = None,
    **options: object,
) -> Scores:
    panel, truth = scene
    scorer = Scorer(panel, **options)  # type: ignore[arg-type]
    for rollouts in replay(panel, model, truth):
        scorer.update(rollouts if change is None else change(rollouts))
    return scorer.compute()


def no_labels(rollouts: Rollouts) -> Rollouts:
    return replace(rollouts, labels=None)


def test_area_weights_each_object_by_its_pixels() -> None:
    by_object, by_area = (
        score(panel_of(m), Faulty(WORLD, Vanish())) for m in ("objects", "objects_area")
    )
    assert by_object.identity is not None
    state, area = by_object.identity.state, by_object.identity.area
    kept = (state == IdentityState.OK) | (state == IdentityState.MISLOCATED)
    broken = (state >= IdentityState.SWAP) & (state <= IdentityState.REENTRY)
    for scores, weight in ((by_object, torch.ones_like(area)), (by_area, area)):
        good, bad = ((weight * mask).sum(-1).double() for mask in (kept, broken))
        torch.testing.assert_close(
            scores.axes["identity_persistence"].values, good / (good + bad), equal_nan=True
        )
    for name, scores in (("identity_objects", by_object), ("identity_area", by_area)):
        torch.testing.assert_close(
            scores.axes["identity_persistence"].values, scores.measures[name].values, equal_nan=True
        )
    assert not by_object.axes["identity_persistence"].values.equal(
        by_area.axes["identity_persistence"].values
    )


def test_tracking_metrics_stand_in_every_row(tmp_path: Path) -> None:
    scene = panel_of("objects")
    true, swapped = score(scene, WORLD), score(scene, SWAP)
    for name in ("hota", "det_a", "ass_a", "loc_a", "idf1", "mota", "mean_j", "track_lifetime"):
        assert true.summary[name].tolist() == [1.0] * 6
    assert true.summary["id_switches"].tolist() == [0.0] * 6
    hit = swapped.info["fault_step"] > 0
    assert hit.any()
    for name in ("hota", "idf1", "mean_j", "ass_a"):
        assert (swapped.summary[name][hit] < 1).all()
    assert (swapped.summary["id_switches"][hit] >= 2).all()
    assert swapped.summary["det_a"].tolist() == [1.0] * 6  # all is there, under other names
    assert swapped.records()[0]["idf1"] == pytest.approx(float(swapped.summary["idf1"][0]))
    swapped.save(tmp_path / "scores.safetensors")
    again = Scores.load(tmp_path / "scores.safetensors")
    assert again.summary["idf1"].equal(swapped.summary["idf1"])


def test_alone_needs_no_labels_of_the_reference() -> None:
    scene = panel_of("objects_alone")
    scores = score(scene, SWAP, lambda r: replace(r, reference_labels=None))
    assert scores.complete
    assert scores.identity is not None
    hit = scores.info["fault_step"] > 0
    same = scores.identity.first_break == scores.info["fault_step"]
    assert same[hit].double().mean() >= 0.8  # a swap across the view has nothing to go on
    assert all(math.isnan(v) for v in scores.summary["idf1"].tolist())
    assert score(scene, SWAP, no_labels).faults() == {"no_labels": 6}


def test_carried_needs_no_labels_of_the_generated_frames() -> None:
    scene = panel_of("carried")
    scores = score(scene, SWAP, no_labels)
    assert scores.complete
    assert scores.identity is not None
    assert scores.identity_truth is None
    assert scores.identity_error() is None
    hit = scores.info["fault_step"] > 0
    same = scores.identity.first_break == scores.info["fault_step"]
    assert same[hit].all()
    assert {e["event"] for e in scores.events()} == {"swap"}
    assert all(0 < float(e["confidence"]) <= 1 for e in scores.events())  # type: ignore[arg-type]
    clean = score(scene, WORLD, no_labels)
    assert clean.horizon.censored.all()
    assert not clean.events()


def test_the_error_of_carried_identity_stands_beside_the_score(tmp_path: Path) -> None:
    scene = panel_of("carried")
    scores = score(scene, SWAP)
    error = scores.identity_error()
    assert error is not None
    counts = error.counts()
    assert counts["hit"] >= 10
    assert counts["missed"] + counts["false"] + counts["off"] <= 1
    assert sum(counts.values()) == int((scores.identity.ids > 0).sum())  # type: ignore[union-attr]
    scores.save(tmp_path / "scores.safetensors")
    again = Scores.load(tmp_path / "scores.safetensors")
    assert again.identity_error().counts() == counts  # type: ignore[union-attr]
    assert not math.isnan(float(scores.summary["idf1"][0]))

    panel, truth = scene
    folder = tmp_path / "evidence"
    write_evidence(
        folder,
        [scores],
        fetch=lambda name, scenario, seed: replay_rows(panel, SWAP, truth, [(scenario, seed)]),
    )
    text = (folder / "postmortem.md").read_text()
    assert (
        f"{counts['hit']} of {counts['hit'] + counts['missed'] + counts['off']} true breaks" in text
    )
    with (folder / "events.csv").open() as file:
        events = list(csv.DictReader(file))
    assert [int(e["first_step"]) for e in events if e["seed"] == "0"]
    assert {e["model"] for e in events} == {"identity-swap"}
    assert {e["cause"] for e in events} == {"another object is in its place"}


def test_carried_first_uses_the_given_frame_alone() -> None:
    scene = panel_of("carried_first")

    def first_only(rollouts: Rollouts) -> Rollouts:
        assert rollouts.reference_labels is not None
        only = torch.zeros_like(rollouts.reference_labels)
        only[:, 0] = rollouts.reference_labels[:, 0]
        return replace(rollouts, labels=None, reference_labels=only)

    one, other = score(scene, SWAP, no_labels), score(scene, SWAP, first_only)
    for name in ("state", "score", "first_break"):
        torch.testing.assert_close(
            getattr(one.identity, name), getattr(other.identity, name), equal_nan=True
        )
    assert one.identity is not None
    assert (one.identity.state == IdentityState.SWAP).any()


def test_carried_without_any_label_is_a_fault() -> None:
    scores = score(
        panel_of("carried"), WORLD, lambda r: replace(r, labels=None, reference_labels=None)
    )
    assert scores.faults() == {"no_labels": 6}


def test_sensitivity_and_encoder_are_of_carried_identity_only() -> None:
    with pytest.raises(ValueError, match="sensitivity: only identity_persistence without labels"):
        panel_of("objects", sensitivity=0.5)
    bold, shy = (score(panel_of("carried", sensitivity=s), SWAP, no_labels) for s in (0.9, 0.0))
    assert len(bold.events()) > len(shy.events())
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 5, 2, 2), torch.nn.ReLU())
    encoder = ModuleEncoder(network.eval(), name="mine")
    scene = panel_of("carried", encoder="mine")
    with pytest.raises(ValueError, match="needs the encoder 'mine'"):
        Scorer(scene[0])
    assert score(scene, SWAP, no_labels, encoder=encoder).complete


def renumbered(labels: Tensor) -> Tensor:
    """Numbers given anew in each frame, as a renderer does it."""
    out = torch.zeros_like(labels)
    for t in range(labels.shape[1]):
        names = torch.cat([torch.zeros(1, dtype=torch.long), 1 + (torch.arange(9) + t) % 9])
        out[:, t] = names[labels[:, t].long()].to(labels.dtype)
    return out


def test_ids_that_change_their_meaning_are_warned_of_by_row() -> None:
    scene = panel_of("objects")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        score(scene, SWAP)

    def change(rollouts: Rollouts) -> Rollouts:
        assert rollouts.labels is not None
        return replace(rollouts, labels=renumbered(rollouts.labels))

    with pytest.warns(UserWarning, match=r"rollouts.labels: in 6 rows.*'scene-0', seed 0.*change"):
        scores = score(scene, WORLD, change)
    assert any("ids seem to change" in text for text in scores.provenance.values())
    assert "**Warning:** rollouts.labels: in 6 rows" in postmortem([scores], [], roles={})


def test_a_reference_whose_ids_change_their_meaning_is_warned_of() -> None:
    def change(rollouts: Rollouts) -> Rollouts:
        assert rollouts.reference_labels is not None
        return replace(rollouts, reference_labels=renumbered(rollouts.reference_labels))

    with pytest.warns(UserWarning, match=r"rollouts.reference_labels: in 6 rows"):
        score(panel_of("objects"), WORLD, change)


def test_ids_of_their_own_are_warned_of_and_can_be_shared() -> None:
    scene = panel_of("objects")

    def change(rollouts: Rollouts) -> Rollouts:
        assert rollouts.labels is not None
        return replace(rollouts, labels=(rollouts.labels + 40).masked_fill(rollouts.labels == 0, 0))

    def share(rollouts: Rollouts) -> Rollouts:
        theirs = change(rollouts)
        assert theirs.labels is not None
        assert theirs.reference_labels is not None
        return replace(
            theirs, labels=share_ids(theirs.labels, theirs.reference_labels[theirs.reference_index])
        )

    with pytest.warns(UserWarning, match="no object has the id that the reference gives it"):
        score(scene, SWAP, change)
    shared, expected = score(scene, SWAP, share), score(scene, SWAP)
    assert shared.identity is not None
    assert expected.identity is not None
    assert shared.identity.first_break.equal(expected.identity.first_break)


def test_a_gate_with_nothing_but_undetermined_objects_is_a_fault() -> None:
    scene = panel_of("carried_first", encoder="blind")
    blind = torch.nn.Sequential(torch.nn.AvgPool2d(48), torch.nn.Conv2d(3, 4, 1))
    encoder = ModuleEncoder(blind.eval(), name="blind")
    scores = score(scene, SWAP, no_labels, encoder=encoder)
    undefined = (scores.axes["identity_persistence"].reason != 0).all(1)
    told = (scores.axes["identity_persistence"].reason == Reason.UNDETERMINED).any(1)
    assert (scores.fault[undefined & told] == Reason.UNDETERMINED).all()
    assert (undefined & told).any()


def test_rows_with_and_without_labels_stand_side_by_side() -> None:
    panel, truth = panel_of("objects")
    scorer = Scorer(panel)
    for i, rollouts in enumerate(replay(panel, WORLD, truth, batch_size=1)):
        scorer.update(no_labels(rollouts) if i % 2 else rollouts)
    scores = scorer.compute()
    assert scores.fault.tolist() == [0, int(Reason.NO_LABELS)] * 3
    assert scores.summary["idf1"].isnan().tolist() == [False, True] * 3


@pytest.mark.parametrize("net", ["alex", "squeeze"])
def test_a_trunk_of_lpips_is_an_encoder_too(net: str) -> None:
    network = LpipsNetwork.random(net)  # type: ignore[arg-type]
    world = SpriteWorld(height=64, width=64)
    items = sprite_items(2, 8)
    truth, model = (w.rollout(items, 8) for w in (world, Faulty(world, IdentitySwap())))
    for target_labels in (truth.labels, None):
        assert truth.labels is not None
        found = carried_identity(
            model.frames,
            truth.frames,
            truth.labels[:, 0],
            target_labels=target_labels,
            encoder=network,
        )
        assert found.score.isfinite().any()
        assert ((found.confidence >= 0) & (found.confidence <= 1))[found.visible].any()


def test_labels_of_the_given_frame_are_the_references_own() -> None:
    """A model cannot make a stranger known by a pixel in its own label map of frame 0."""
    scene = panel_of("objects")

    def change(rollouts: Rollouts) -> Rollouts:
        assert rollouts.labels is not None
        labels = rollouts.labels.clone()
        labels[:, 1:] = torch.where(labels[:, 1:] == 1, 99, labels[:, 1:])
        labels[:, 0, 0, 0] = 99
        return replace(rollouts, labels=labels)

    events = score(scene, WORLD, change).events()
    assert {e["event"] for e in events} <= {"morph", "reentry"}
    assert {e["object_id"] for e in events} == {1}


def test_rows_without_truth_are_no_errors() -> None:
    panel, truth = panel_of("carried")
    scorer = Scorer(panel)
    for i, rollouts in enumerate(replay(panel, SWAP, truth, batch_size=2)):
        scorer.update(no_labels(rollouts) if i else rollouts)
    error = scorer.compute().identity_error()
    assert error is not None
    assert error.counts()["false"] == 0
    assert not torch.stack(list(error))[:, 2:].any()


def test_traces_take_ids_that_one_of_the_label_maps_cannot_hold(tmp_path: Path) -> None:
    panel, truth = panel_of("objects")

    def large(rollouts: Rollouts) -> Rollouts:
        assert rollouts.labels is not None
        labels = rollouts.labels.long()
        labels[:, 1:] = torch.where(labels[:, 1:] == 1, 300, labels[:, 1:])
        return replace(rollouts, labels=labels)

    scores = score((panel, truth), WORLD, large)
    write_evidence(
        tmp_path / "evidence",
        [scores],
        fetch=lambda name, s, seed: large(replay_rows(panel, WORLD, truth, [(s, seed)])),
    )
    assert list((tmp_path / "evidence" / "traces").glob("*.png"))


@pytest.mark.parametrize(
    ("axis", "said"),
    [
        (
            {"axis": "identity_persistence", "threshold": 0.5},
            "ids shared with the reference; iou_gate 0.5, min_area 16, patience 2",
        ),
        (
            {"axis": "identity_persistence", "measure": "objects_alone", "threshold": 0.5},
            "label maps alone; iou_gate 0.5, min_area 16, patience 2",
        ),
        (
            {"axis": "identity_persistence", "measure": "carried_first_area", "threshold": 0.5},
            "appearance, with labels of the given frame; sensitivity 0.5, min_area 16, patience 2",
        ),
        ({"axis": "perceptual_drift", "threshold": 0.5}, None),
    ],
)
def test_the_provenance_says_how_objects_are_told(axis: dict[str, object], said: str | None):
    panel = Panel.from_dict({**Panel.packaged("sprites").model_dump(), "axes": [axis]})
    assert Scorer(panel).compute().provenance.get("identity") == said
