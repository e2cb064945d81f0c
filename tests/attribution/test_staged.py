"""The staged testbed, delivered scripts, and causes of faults that are known."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from attribution_study import (
    WITHHELD,
    Evidence,
    calibrate,
    evaluation_cases,
    planning_cases,
    prepared,
    remember_textures,
    spoiled,
    study_panel,
    told,
    verdicts,
)

from tests.panels import sprite_panel
from wmscore.attribution import diagnose, misalignment
from wmscore.evidence.causes import cause_lines, diagnose_all, write_causes
from wmscore.recordings import Recording, record
from wmscore.replay import (
    delivered_scripts,
    examine,
    freeze_panel,
    panel_items,
    reconstruct_rows,
    render_truth,
    replay,
    replay_reconstruction,
    replay_rows,
    replay_teacher_forced,
    roll_out_rows,
)
from wmscore.rollouts import RECONSTRUCTION
from wmscore.scorer import Scorer, score_recording
from wmscore.scores import Scores
from wmscore.testing import DelayedActions, Faulty, MirroredActions, check_world_model
from wmscore.testing.staged import STAGE_FAULTS, StagedSprites, StageFault, stage_fault
from wmscore.worlds import Reconstructing, TeacherForced, sprite_scene
from wmscore.worlds.sprites import SpriteWorld

WORLD = SpriteWorld(48, 48)


STUDY = json.loads((Path(__file__).parents[2] / "docs/attribution-study.json").read_text("utf-8"))
QUICK = (None, "decoder-blur", "no-velocity", "delay", "fast-objects")


@pytest.fixture(scope="module", autouse=True)
def textures() -> Iterator[None]:
    """The ground of a scenario is drawn once, as in the study."""
    draw = sprite_scene.tiling_texture
    remember_textures()
    yield
    vars(sprite_scene)["tiling_texture"] = draw


@pytest.fixture(scope="module")
def lines() -> dict[str, dict[str, float]]:
    """The thresholds of the published study, of other scenarios than those judged here."""
    found: dict[str, dict[str, float]] = STUDY["thresholds"]
    return found


@pytest.mark.slow
def test_thresholds_are_found_again(lines) -> None:
    again = calibrate(1_000_000, STUDY["calibration_rollouts"])
    for signal, axes in lines.items():
        for axis, value in axes.items():
            assert again[signal][axis] == pytest.approx(value, abs=1e-4)


@pytest.mark.parametrize(
    "kind",
    [
        kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow)
        for kind in (None, *STAGE_FAULTS)
    ],
)
def test_the_stage_that_is_broken_is_named(lines, kind: str | None) -> None:
    panel, truth = prepared(study_panel(5000, 24, lines["rollout"]))
    found = Evidence(panel, truth, StagedSprites(48, 48, *([stage_fault(kind)] if kind else [])))
    causes, failed = verdicts(found, lines, "nothing", control=told(found))
    right = STAGE_FAULTS[kind] if kind else "none"
    judged = [c for c, f in zip(causes, failed.tolist(), strict=True) if f or kind is None]
    assert len(judged) >= 8
    named = [c for c in judged if c not in ("undetermined", right)]
    assert len(named) <= max(2, 0.05 * len(judged)), judged
    assert judged.count(right) >= 0.7 * len(judged)


def test_evaluation_and_planning_are_told_apart(lines) -> None:
    panel, truth = prepared(study_panel(700, 20, lines["rollout"]))
    clean = Evidence(panel, truth, StagedSprites(48, 48))
    control = told(clean)
    seen: dict[str, int] = {}
    for record_ in (
        *evaluation_cases(clean, lines, control),
        *planning_cases(clean, lines, control),
    ):
        if record_["withheld"] == WITHHELD[0]:
            wrong = {k: n for k, n in record_["causes"].items() if k != record_["stage"]}
            assert sum(n for k, n in wrong.items() if k != "none") <= 1, record_
            right = record_["causes"].get(record_["stage"], 0)
            seen[record_["stage"]] = seen.get(record_["stage"], 0) + right
    assert seen.keys() == {"evaluation", "planning"}
    assert min(seen.values()) >= 20, seen  # of 20 rows in each of several cases


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(
            # A model to which no action comes through breaks a promise: half of them do.
            stage_fault(kind, 0.5) if kind else None,
            marks=[] if kind in QUICK else [pytest.mark.slow],
            id=str(kind),
        )
        for kind in (None, *STAGE_FAULTS)
    ],
)
def test_the_testbed_keeps_the_promises_of_a_model(fault: StageFault | None) -> None:
    panel, truth = prepared(study_panel(0, 2))
    model = StagedSprites(48, 48, *([fault] if fault else []))
    assert isinstance(model, TeacherForced)
    assert isinstance(model, Reconstructing)
    report = check_world_model(model, panel_items(panel, truth=truth), panel.contract.horizon)
    assert report.ok, report.table()


def test_faults_are_checked() -> None:
    with pytest.raises(ValueError, match="kind"):
        stage_fault("rust")
    for strength in (0, 1.5, -1):
        with pytest.raises(ValueError, match="strength"):
            stage_fault("delay", strength)


# ---- delivered scripts ----------------------------------------------------------------------


def test_a_delayed_script_is_read_off_step_by_step() -> None:
    panel, truth = prepared(study_panel(40, 6))
    model = Faulty(WORLD, DelayedActions(2))
    rollouts = replay_rows(panel, model, truth, list(panel.rows()))
    found = delivered_scripts(panel, WORLD, rollouts)
    noop = panel.contract.actions.names.index("noop")
    expected = torch.cat([torch.full((6, 2), noop), found.commanded[:, :-2]], 1)
    assert torch.equal(found.actions, expected)
    assert float(found.explained.min()) == 1
    assert float(found.plain.mean()) < 0.9


def test_the_true_world_was_sent_what_was_commanded() -> None:
    panel, truth = prepared(study_panel(50, 4))
    found = delivered_scripts(panel, WORLD, replay_rows(panel, WORLD, truth, list(panel.rows())))
    assert not found.changed.any()
    mirrored = replay_rows(panel, Faulty(WORLD, MirroredActions()), truth, list(panel.rows()))
    other = delivered_scripts(panel, WORLD, mirrored, batch_size=7)
    moved = other.commanded != panel.contract.actions.names.index("noop")
    assert float(other.changed[moved].double().mean()) > 0.9
    assert float(other.explained.min()) == 1


def test_no_script_explains_a_broken_picture() -> None:
    panel, truth = prepared(study_panel(60, 3))
    model = StagedSprites(48, 48, stage_fault("decoder-blur"))
    found = delivered_scripts(panel, WORLD, replay_rows(panel, model, truth, list(panel.rows())))
    assert float(found.explained.mean()) < 0.8
    none = replay_rows(panel, model, truth, list(panel.rows()))[torch.zeros(0, dtype=torch.int64)]
    with pytest.raises(ValueError, match="commanded ones"):
        delivered_scripts(panel, WORLD, none)


# ---- all substitutions at once --------------------------------------------------------------


class LateAdapter(StagedSprites):
    """Every frame is handed over a step late, companions' too."""

    def rollout(self, items, horizon):
        return spoiled(super().rollout(items, horizon), "adapter-late")

    def predict_next(self, items, reference_frames, horizon):
        return spoiled(super().predict_next(items, reference_frames, horizon), "adapter-late")

    def reconstruct(self, items, reference_frames, horizon):
        return spoiled(super().reconstruct(items, reference_frames, horizon), "adapter-late")


@pytest.mark.parametrize(
    ("model", "cause"),
    [
        (StagedSprites(48, 48), "none"),
        (StagedSprites(48, 48, stage_fault("decoder-blur")), "perception"),
        (StagedSprites(48, 48, stage_fault("delay")), "control"),
        (StagedSprites(48, 48, stage_fault("fast-objects")), "undetermined"),
        (LateAdapter(48, 48), "evaluation"),
    ],
    ids=["sound", "perception", "control", "no latents", "adapter"],
)
def test_every_substitution_in_one_call(model, cause: str) -> None:
    lines = {"perceptual_drift": 0.7, "identity_persistence": 1.0}
    panel, truth = prepared(study_panel(5, 3, lines))
    steps: list[tuple[int, int]] = []
    found = examine(panel, model, WORLD, truth, batch_size=2, progress=lambda *n: steps.append(n))
    assert found.diagnosis.cause == cause
    assert steps == [(2, 3), (3, 3)]
    assert found.roles == {"sprites": "truth"}
    assert examine(panel, model, WORLD, truth).diagnosis == found.diagnosis  # in one batch
    if cause == "undetermined":
        assert found.diagnosis.missing == ("representation",)
        assert found.diagnosis.candidates[0] == "representation"


def test_a_reconstruction_that_is_shifted_fits_once_it_is_moved_back() -> None:
    panel, truth = prepared(study_panel(20, 3))
    rows = list(panel.rows())
    sound = reconstruct_rows(panel, StagedSprites(48, 48), truth, rows).with_reference(truth)
    assert float(misalignment(sound).plain.min()) > 0.99
    for mistake, kind in (("adapter-late", "1 step late"), ("adapter-moved", "+1 px in x, +0 px")):
        found = misalignment(spoiled(sound, mistake))
        assert all(found.kinds[k].startswith(kind) for k in found.kind.tolist())
        assert float(found.plain.mean()) < 0.8
        assert float(found.explained[:, 2:].min()) > 0.98
    early = torch.cat([sound.frames[:, :1], sound.frames[:, 2:], sound.frames[:, -1:]], 1)
    found = misalignment(replace(sound, frames=early))
    assert {found.kinds[k] for k in found.kind.tolist()} == {"1 step early"}
    swapped = misalignment(replace(sound, frames=sound.frames.flip(2)), lag=0, shift=0)
    assert swapped.kinds == ("channels in the opposite order",)
    assert float(swapped.explained.min()) > 0.99
    blurred = StagedSprites(48, 48, stage_fault("decoder-blur"))
    other = misalignment(reconstruct_rows(panel, blurred, truth, rows).with_reference(truth))
    assert float(other.explained.nanmean()) < 0.8
    for wrong in ({"lag": -1}, {"lag": 14}, {"shift": 1.5}, {"lag": True}):
        with pytest.raises(ValueError, match="expected an integer"):
            misalignment(sound, **wrong)
    with pytest.raises(ValueError, match="expected references"):
        misalignment(roll_out_rows(panel, WORLD, truth, rows))


def test_two_faults_at_once() -> None:
    with pytest.raises(ValueError, match="one of control"):
        StagedSprites(48, 48, stage_fault("delay"), stage_fault("mirrored"))
    both = StagedSprites(48, 48, stage_fault("delay", 0.5), stage_fault("decoder-tint", 0.25))
    assert both.name == "staged-delay-0.5-decoder-tint-0.25"


# ---- diagnoses ------------------------------------------------------------------------------


def scores_of(panel, batches) -> Scores:
    scorer = Scorer(panel)
    for rollouts in batches:
        scorer.update(rollouts)
    return scorer.compute()


@pytest.fixture(scope="module")
def results():
    panel = sprite_panel(scenarios=3, seeds=2, horizon=10)
    panel, truth = freeze_panel(panel, render_truth(panel, WORLD), fps=10)
    model = StagedSprites(48, 48, stage_fault("decoder-blur"))
    return panel, [
        replace(scores_of(panel, replay(panel, WORLD, truth)), model="simulator"),
        scores_of(panel, replay(panel, model, truth)),
        scores_of(panel, replay_teacher_forced(panel, model, truth)),
        scores_of(panel, replay_reconstruction(panel, model, truth)),
    ]


ROLES = {"simulator": "truth"}


def test_a_diagnosis_by_companions(results) -> None:
    _, scores = results
    found = diagnose(scores[1], scores, roles=ROLES)
    assert found.cause == "perception"
    assert found.failure is not None
    assert found.failure.axis == "perceptual_drift"
    assert any(text.startswith("perception") for text in found.for_)
    assert any(text.startswith("evaluation") for text in found.against)
    assert found.rows == {"perception": 6}
    assert found.settles == ()
    assert json.loads(json.dumps(found.to_json()))["cause"] == "perception"


def test_without_its_reconstruction_it_abstains_and_says_what_is_missing(results) -> None:
    _, scores = results
    found = diagnose(scores[1], scores[:3], roles=ROLES)
    assert found.cause == "undetermined"
    assert "perception" in found.candidates
    assert "perception" in found.missing
    assert any("--reconstruct" in text for text in found.settles)


def test_companions_have_no_diagnosis_of_their_own(results, tmp_path: Path) -> None:
    _, scores = results
    found = diagnose_all(scores, ROLES)
    assert [d.model for d in found] == [scores[1].model]
    write_causes(tmp_path, found)
    data = json.loads((tmp_path / "attribution.json").read_text())
    entry = data["models"][scores[1].model]
    assert entry["for"]
    assert entry["first_failure"]["step"] >= 1
    text = "\n".join(cause_lines(found[0]))
    assert "**Cause:** perception" in text
    assert "- For:" in text


def test_regret_blames_planning_where_the_world_holds(results) -> None:
    _, scores = results
    regret = torch.tensor([0.0, 0.5, 0.0, 0.0, 0.0, 0.0])
    found = diagnose(scores[0], scores, regret=regret)
    assert found.cause == "planning"
    assert found.rows == {"none": 5, "planning": 1}
    assert "50%" in found.for_[0]


def test_a_recording_of_reconstructions(results, tmp_path: Path) -> None:
    panel, scores = results
    model = StagedSprites(48, 48, stage_fault("decoder-blur"))
    record(tmp_path / "r", panel, WORLD, model, reconstruction=True, batch_size=2)
    found = score_recording(Recording(tmp_path / "r"))
    assert found.model == model.name + RECONSTRUCTION
    torch.testing.assert_close(
        found.axes["perceptual_drift"].values, scores[3].axes["perceptual_drift"].values
    )
    with pytest.raises(ValueError, match="reconstruction"):
        record(tmp_path / "r", panel, WORLD, model, batch_size=2)
    with pytest.raises(ValueError, match="expected one of them"):
        record(tmp_path / "x", panel, WORLD, model, reconstruction=True, teacher_forced=True)
    with pytest.raises(ValueError, match="offers no reconstructions"):
        record(tmp_path / "y", panel, WORLD, WORLD, reconstruction=True)
