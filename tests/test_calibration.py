"""Calibrating a panel: what is written into it, what stays and why, from scores to the command."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from wmscore.calibration import TOLERANCE, calibrate, reference_copies, tolerance_scores
from wmscore.cli import main
from wmscore.functional import Reason, calibrate_thresholds, usable_horizon
from wmscore.manifest import AxisCalibration, Panel, PanelMismatchError
from wmscore.recordings import Recording, record
from wmscore.replay import render_truth
from wmscore.scorer import Scorer
from wmscore.scores import Curve, Scores
from wmscore.worlds import OtherSeed
from wmscore.worlds.sprites import SpriteWorld

from .panels import sprite_panel

AXES = ["perceptual_drift", "identity_persistence", "action_response"]


def panel_of(scenarios: int, seeds: int = 2, **changes: object) -> Panel:
    return sprite_panel(scenarios=scenarios, seeds=seeds, horizon=6, **changes)


def scores_of(panel: Panel, *, model: str = "other-seed", faults: int = 0) -> Scores:
    """Made-up scores: rollouts end between 0.5 and 1 on each axis."""
    generator = torch.Generator().manual_seed(0)
    rows, steps = len(panel.scenarios) * len(panel.seeds), panel.contract.horizon
    fault = torch.zeros(rows, dtype=torch.uint8)
    fault[:faults] = int(Reason.SHORT)
    values = torch.rand(len(panel.axes), rows, 1, generator=generator, dtype=torch.float64)
    curves = (1 - values / 2 * torch.linspace(0, 1, steps, dtype=torch.float64)).unbind(0)
    return with_curves(panel, list(curves), fault, model)


def with_curves(panel: Panel, curves: list[Tensor], fault: Tensor, model: str) -> Scores:
    axes = {
        spec.axis: Curve(
            values=values,
            reason=values.isnan().to(torch.uint8) * int(Reason.NO_OBJECT),
        )
        for spec, values in zip(panel.axes, curves, strict=True)
    }
    horizon = usable_horizon(
        torch.stack(curves),
        torch.tensor([spec.threshold for spec in panel.axes], dtype=torch.float64),
        patience=torch.tensor([spec.patience for spec in panel.axes]),
    )
    return Scores(panel=panel, model=model, axes=axes, measures={}, horizon=horizon, fault=fault)


def test_rows_that_tell_nothing_are_told() -> None:
    found = calibrate(scores_of(panel_of(60), faults=3))
    assert found.table().endswith("other-seed: 3 of 120 rows tell nothing (3 x short).")
    assert "tell nothing" not in calibrate(scores_of(panel_of(60))).table()


@pytest.mark.parametrize("joint", [False, True])
def test_thresholds_are_those_of_the_tensors(joint: bool) -> None:
    panel = panel_of(60)
    scores = scores_of(panel, faults=3)
    found = calibrate(scores, joint=joint, seed=4)
    cells = torch.stack([c.values for c in scores.axes.values()])
    cells[:, :3] = math.nan
    expected = calibrate_thresholds(
        cells.reshape(3, 60, 2, 6), patience=3, joint=joint, seed=4, alpha=0.05
    )
    assert [axis.threshold for axis in found.axes] == expected.threshold.tolist()
    assert found.complete
    assert found.axes[0].scenarios == 59  # the first scenario lost both of its seeds
    for spec, axis in zip(found.panel.axes, found.axes, strict=True):
        assert spec.threshold == axis.threshold
        assert spec.calibration == axis.calibration
        assert spec.calibration is not None
        assert spec.calibration.method == ("conformal_joint" if joint else "conformal")
        assert spec.calibration.alpha == pytest.approx(0.05 if joint else 0.05 / 3)
        assert (spec.calibration.redraws, spec.calibration.seed) == (200, 4)
        assert spec.calibration.oracle == "other-seed"


def test_the_choice_is_in_the_panel_and_its_fingerprint(tmp_path: Path) -> None:
    panel = panel_of(60)
    found = calibrate(scores_of(panel))
    assert found.panel.fingerprint != panel.fingerprint
    found.panel.save(tmp_path / "panel.json")
    again = Panel.load(tmp_path / "panel.json")
    assert again == found.panel
    assert again.fingerprint == found.panel.fingerprint
    other = calibrate(scores_of(panel), seed=1)
    assert any("calibration.seed" in line for line in other.panel.differences(found.panel))
    # By hand again: what it was calibrated from no longer holds.
    by_hand = found.panel.with_thresholds({axis: 0.5 for axis in AXES})
    assert all(spec.calibration is None for spec in by_hand.axes)
    assert by_hand.with_thresholds({s.axis: s.threshold for s in panel.axes}) == panel


def test_panels_without_calibration_keep_their_fingerprint() -> None:
    panel = panel_of(2)
    assert "calibration" not in panel.canonical_json()
    assert panel.with_thresholds({}) == panel


def test_too_few_scenarios_keep_the_threshold_and_say_how_many() -> None:
    panel = panel_of(20)
    found = calibrate(scores_of(panel))
    assert found.panel == panel
    assert not found.complete
    assert [axis.threshold for axis in found.axes] == [0.6, 0.9, 0.5]
    assert "perceptual_drift: stays 0.6. 20 scenarios are too few" in found.table()
    assert "59 are enough; with 20 the smallest alpha is 0.143" in found.table()
    assert calibrate(scores_of(panel), alpha=0.143).complete
    assert not calibrate(scores_of(panel), alpha=0.142).complete


def test_new_seeds_on_this_panel_need_rollouts_not_scenarios() -> None:
    panel = panel_of(8, seeds=8)
    scores = scores_of(panel)
    assert not calibrate(scores).complete
    found = calibrate(scores, estimand="seeds")
    assert found.complete
    record = found.axes[0].calibration
    assert record is not None
    assert (record.estimand, record.rollouts, record.scenarios) == ("seeds", 64, 8)
    assert (record.redraws, record.seed) == (None, None)
    assert "from 64 rollouts" in found.table()


def test_axis_without_a_gate_has_alpha_on_its_own() -> None:
    axes = [{"axis": a, "threshold": 0.5, "gate": a != AXES[1]} for a in AXES]
    found = calibrate(scores_of(panel_of(30, axes=axes)), alpha=0.1)
    shares = [axis.calibration.alpha for axis in found.axes if axis.calibration is not None]
    assert shares == pytest.approx([0.05, 0.1, 0.05])
    assert "identity_persistence (no gate): 0.5 -> " in found.table()


def test_world_that_repeats_itself_asks_for_a_tolerance() -> None:
    panel = panel_of(60)
    scores = scores_of(panel)
    same = [torch.ones_like(c.values) for c in scores.axes.values()]
    same[1] = scores.axes[AXES[1]].values
    oracle = with_curves(panel, same, scores.fault, "world")
    found = calibrate(oracle)
    assert [axis.calibration is None for axis in found.axes] == [True, False, True]
    assert "'world' repeats the reference" in found.axes[0].why
    shifted = [0.5 + values / 2 for values in (c.values for c in scores.axes.values())]
    shifted[2] = torch.full_like(shifted[2], math.nan)
    copies = [
        with_curves(panel, shifted, scores.fault, "left"),
        with_curves(panel, [v - 0.1 for v in shifted], scores.fault, "right"),
    ]
    found = calibrate(oracle, tolerance=copies)
    record = found.axes[0].calibration
    assert record == AxisCalibration(
        method="tolerance", oracle="world", scenarios=60, tolerance=TOLERANCE
    )
    # The lowest maximum of three steps in a row, of the worse copy.
    lowest = (shifted[0] - 0.1).unfold(1, 3, 1).amax(2).min().item()
    assert found.axes[0].threshold == lowest
    assert found.axes[1].calibration.method == "conformal"
    assert found.axes[2].calibration is None
    assert not found.complete
    for copy in copies:
        horizon = usable_horizon(
            copy.axes[AXES[0]].values[None], torch.tensor([lowest]).double(), patience=3
        )
        assert horizon.censored.all()


def test_a_tolerance_without_room_for_a_failure_tells_nothing() -> None:
    # With fewer defined steps than the patience no changed reference could fail.
    panel = panel_of(60)
    scores = scores_of(panel)
    oracle = with_curves(panel, [torch.ones(120, 6).double()] * 3, scores.fault, "world")
    short = torch.full((120, 6), math.nan, dtype=torch.float64)
    short[:, :2] = 0.1
    copy = with_curves(panel, [short, *oracle_curves(scores)[1:]], scores.fault, "left")
    found = calibrate(oracle, tolerance=[copy])
    assert found.axes[0].calibration is None
    assert found.axes[0].threshold == panel.axes[0].threshold
    assert found.axes[1].calibration is not None
    assert not found.complete


def oracle_curves(scores: Scores) -> list[Tensor]:
    return [curve.values for curve in scores.axes.values()]


def test_refusals() -> None:
    panel = panel_of(4)
    scores = scores_of(panel)
    with pytest.raises(PanelMismatchError, match="tolerance: scored on another panel"):
        calibrate(scores, tolerance=[scores_of(panel_of(5))])
    with pytest.raises(ValueError, match="every row of 'other-seed' has a fault"):
        calibrate(scores_of(panel, faults=8))
    with pytest.raises(ValueError, match="alpha must be a number"):
        calibrate(scores, alpha=1.5)
    with pytest.raises(ValueError, match="expected axes of the panel"):
        panel.with_thresholds({"latent_drift": 0.5})
    with pytest.raises(ValueError, match=r"axes\[0\].threshold"):
        panel.with_thresholds({AXES[0]: 1.5})
    record = AxisCalibration(method="tolerance", oracle="world", scenarios=1)
    with pytest.raises(ValueError, match="axes with a threshold"):
        panel.with_thresholds({}, {AXES[0]: record})


# ---- the changed reference ---------------------------------------------------------------

WORLD = SpriteWorld(height=48, width=48)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of the other seed, of a small panel."""
    path = tmp_path_factory.mktemp("recordings") / "other-seed"
    record(path, sprite_panel(scenarios=2, seeds=2, horizon=6), WORLD, OtherSeed(WORLD))
    return path


def test_reference_is_moved_by_a_pixel(folder: Path) -> None:
    rollouts = next(iter(Recording(folder)))
    assert rollouts.reference is not None
    assert rollouts.reference_index is not None
    reference = rollouts.reference[rollouts.reference_index]
    copies = list(reference_copies(rollouts))
    left, right, up, down = (copy.frames for copy in copies)
    even = reference & 254
    assert torch.equal(left[:, 1:, ..., :-1], even[:, 1:, ..., 1:])
    assert torch.equal(left[:, 1:, ..., -1], even[:, 1:, ..., -1])
    assert torch.equal(right[:, 1:, ..., 1:], even[:, 1:, ..., :-1])
    assert torch.equal(up[:, 1:, ..., :-1, :], even[:, 1:, ..., 1:, :])
    assert torch.equal(down[:, 1:, ..., 1:, :], even[:, 1:, ..., :-1, :])
    for copy in copies:
        assert torch.equal(copy.frames[:, 0], reference[:, 0])
    labels = copies[0].labels
    assert labels is not None
    assert rollouts.reference_labels is not None
    true_labels = rollouts.reference_labels[rollouts.reference_index]
    assert torch.equal(labels[:, 1:, ..., :-1], true_labels[:, 1:, ..., 1:])
    with pytest.raises(ValueError, match="expected a reference"):
        next(reference_copies(rollouts.without_reference()))


def test_levels_of_floats_are_those_of_bytes(folder: Path) -> None:
    rollouts = next(iter(Recording(folder)))
    whole = next(reference_copies(rollouts)).frames
    parts = {"frames": rollouts.frames.double() / 255, "reference": rollouts.reference / 255.0}
    parts["reference"] = parts["reference"].double()

    floats = next(reference_copies(replace(rollouts, **parts))).frames
    difference = (floats[:, 1:] * 255 - whole[:, 1:].double()).abs()
    assert difference.max() < 1e-4


def test_changed_reference_scores_below_one_and_passes(folder: Path) -> None:
    recording = Recording(folder)
    copies = tolerance_scores(recording.panel, recording)
    assert [c.model for c in copies] == [
        f"reference, 1 px {s}" for s in ("left", "right", "up", "down")
    ]
    for copy in copies:
        faults = copy.fault.reshape(2, 2).tolist()
        assert faults == [[0, int(Reason.MISSING)]] * 2
        values = copy.axes["perceptual_drift"].values[::2]
        assert (values < 1).all()
        assert (values > 0.3).all()
    with pytest.raises(ValueError, match="rollouts of seed 0"):
        tolerance_scores(recording.panel, [r[r.seed == 1] for r in recording])
    # A simulator that repeats itself, and its panel.
    scorer = Scorer(recording.panel)
    for rollouts in recording:
        index = rollouts.reference_index

        scorer.update(
            replace(
                rollouts,
                frames=rollouts.reference[index],
                labels=rollouts.reference_labels[index],
                model="world",
            )
        )
    found = calibrate(scorer.compute(), tolerance=copies)
    drift = found.axes[0]
    assert drift.calibration is not None
    assert drift.calibration.method == "tolerance"
    assert 0.3 < drift.threshold < 1


# ---- one recording, another judgement ----------------------------------------------------


def test_a_recording_may_be_judged_by_other_axes(folder: Path) -> None:
    own = Recording(folder)
    lenient = own.panel.with_thresholds({axis: 0.01 for axis in AXES})
    recording = Recording(folder, lenient)
    assert recording.panel.fingerprint == lenient.fingerprint
    scorer, strict = Scorer(lenient), Scorer(own.panel)
    for rollouts in recording:
        scorer.update(rollouts)
    for rollouts in own:
        strict.update(rollouts)
    one, other = scorer.compute(), strict.compute()
    for axis in AXES:
        assert torch.equal(one.axes[axis].values.nan_to_num(), other.axes[axis].values.nan_to_num())
    open_panel = sprite_panel(scenarios=2, seeds=2, horizon=6).with_thresholds({AXES[0]: 0.2})
    assert Recording(folder, open_panel).panel.axes[0].threshold == 0.2
    with pytest.raises(PanelMismatchError, match="seeds"):
        Recording(folder, sprite_panel(scenarios=2, seeds=3, horizon=6))
    # Whose patience does not fit this recording's horizon.
    axes = [{"axis": a, "threshold": 0.5, "patience": 9} for a in AXES]
    longer = sprite_panel(scenarios=2, seeds=2, horizon=12, axes=axes)
    with pytest.raises(PanelMismatchError, match="horizon"):
        Recording(folder, longer)


# ---- command -----------------------------------------------------------------------------


def test_command(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    panel = panel_of(60)
    scores_of(panel).save(tmp_path / "scores" / "other-seed.safetensors")
    out = tmp_path / "calibrated.json"
    assert main(["calibrate", str(tmp_path), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    calibrated = Panel.load(out)
    assert calibrated == calibrate(scores_of(panel)).panel
    assert f"fingerprint {calibrated.fingerprint[:12]}" in printed
    assert printed.count(" -> ") == 3
    command = ["calibrate", str(tmp_path), "--estimand", "seeds", "--joint", "--out", str(out)]
    assert main(command) == 0
    assert Panel.load(out) == calibrate(scores_of(panel), estimand="seeds", joint=True).panel
    file = tmp_path / "scores" / "other-seed.safetensors"
    assert main(["calibrate", str(file), "--alpha", "0.001", "--out", str(out)]) == 3
    assert Panel.load(out) == panel
    assert main(["calibrate", str(tmp_path), "--model", "frozen", "--out", str(out)]) == 2
    assert "expected one of ['other-seed']" in capsys.readouterr().err
    assert main(["calibrate", str(file), "--model", "frozen", "--out", str(out)]) == 2


def test_command_with_a_tolerance(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = Recording(folder)
    panel = recording.panel
    rows = torch.ones(4, 6, dtype=torch.float64)
    fault = torch.zeros(4, dtype=torch.uint8)
    file = tmp_path / "world.safetensors"
    with_curves(panel, [rows] * 3, fault, "world").save(file)
    out = tmp_path / "panel.json"
    command = ["calibrate", str(file), "--model", "world", "--out", str(out)]
    assert main(command) == 3
    assert main([*command, "--tolerance", str(folder)]) == 0
    assert "1 px to each side" in capsys.readouterr().out
    methods = [s.calibration.method for s in Panel.load(out).axes if s.calibration is not None]
    assert methods == ["tolerance"] * 3


def test_truth_of_the_sprites_is_what_the_recording_holds(folder: Path) -> None:
    truth = render_truth(sprite_panel(scenarios=2, seeds=2, horizon=6), WORLD)
    assert torch.equal(truth.frames, Recording(folder).truth.frames)


def test_hysteresis_counts() -> None:
    """Perfect rollouts fail as seldom as asked under it, and no threshold is above its end."""

    def oracle(seed: int, panel: Panel) -> Scores:
        rows = len(panel.scenarios) * len(panel.seeds)
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(3, rows, 6, generator=generator, dtype=torch.float64)
        curves = list((0.8 + 0.05 * noise).clamp(0, 1))
        return with_curves(panel, curves, torch.zeros(rows, dtype=torch.uint8), "other-seed")

    limits = (0.8, 0.82, 0.7)
    specs = [
        {"axis": axis, "threshold": 0.5, "patience": 2, "recover_threshold": limit}
        for axis, limit in zip(AXES, limits, strict=True)
    ]
    found = calibrate(oracle(0, panel_of(300, 1, axes=specs)), alpha=0.3)
    assert found.complete
    chosen = [axis.threshold for axis in found.axes]
    assert chosen[0] < limits[0]
    assert chosen[1] < limits[1]
    assert chosen[2] == limits[2]
    assert "recover_threshold" in found.axes[2].why
    fresh = oracle(1, panel_of(3000, 1, axes=specs))
    values = torch.stack([curve.values for curve in fresh.axes.values()])
    ends = [torch.tensor(x, dtype=torch.float64) for x in (chosen, limits)]
    failed = ~usable_horizon(values, ends[0], patience=2, recover_thresholds=ends[1]).axis_censored
    shares = failed.double().mean(1)
    assert shares[:2].tolist() == pytest.approx([0.1, 0.1], abs=0.04)
    assert shares[2] < 0.06
    blind = calibrate_thresholds(values[:, :300, None], patience=2, alpha=0.3).threshold
    without = usable_horizon(
        values, torch.minimum(blind, ends[1]), patience=2, recover_thresholds=ends[1]
    )
    assert (~without.axis_censored)[:2].double().mean() > 0.2


def test_a_threshold_that_nothing_fails_is_told() -> None:
    panel = panel_of(40, 1)
    curves = [torch.full((40, 6), value, dtype=torch.float64) for value in (0.7, 0.0, 0.5)]
    oracle = with_curves(panel, curves, torch.zeros(40, dtype=torch.uint8), "other-seed")
    found = calibrate(oracle, alpha=0.2)
    assert [axis.threshold for axis in found.axes] == [0.7, 0.0, 0.5]
    assert ["ends no horizon" in axis.why for axis in found.axes] == [False, True, False]
