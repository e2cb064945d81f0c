"""Recoveries, hysteresis and shares of defined steps, from frames to records and files."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.panels import sprite_panel
from wmscore.evidence.postmortem import postmortem
from wmscore.functional import Reason
from wmscore.manifest import AxisSpec, Panel
from wmscore.replay import freeze_panel, render_truth, replay
from wmscore.rollouts import Rollouts
from wmscore.scorer import Scorer
from wmscore.scores import Scores
from wmscore.tensorfile import load_tensors, save_tensors
from wmscore.worlds.sprites import SpriteWorld

WORLD = SpriteWorld(height=48, width=48)
STEPS = 16


@pytest.fixture(scope="module")
def scene() -> tuple[Panel, Rollouts]:
    panel = sprite_panel(scenarios=1, seeds=2, horizon=STEPS)
    return freeze_panel(panel, render_truth(panel, WORLD), fps=10)


def with_axis(panel: Panel, **changes: object) -> Panel:
    """The panel with the perceptual axis alone as a gate, patience 3."""
    data = panel.model_dump()
    for spec in data["axes"]:
        spec["gate"] = spec["axis"] == "perceptual_drift"
        if spec["gate"]:
            spec |= {"patience": 3, "threshold": 0.5} | changes
    return Panel.from_dict(data)


def score(panel: Panel, noisy: Sequence[int], mixed: Sequence[int] = ()) -> Scores:
    """Scores of the true world, but for steps that are noise, or somewhat noisy."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (3, 48, 48), generator=generator, dtype=torch.uint8)
    scorer = Scorer(panel)
    for rollouts in replay(panel, WORLD, render_truth(panel, WORLD)):
        frames = rollouts.frames.clone()
        for step in noisy:
            frames[:, step] = noise
        for step in mixed:
            frames[:, step] = frames[:, step] // 4 * 3 + noise // 4
        scorer.update(replace(rollouts, frames=frames))
    return scorer.compute()


def test_records_say_when_a_failure_is_over(scene):
    panel = with_axis(scene[0])
    scores = score(panel, [5, 6, 7, 8, 14, 15, 16])
    for row, line in enumerate(scores.records()):
        assert line["horizon_steps"] == 4
        assert (line["recovered_at"], line["recovered_steps"]) == (9, 5)
        assert scores.recovery(row) == (9, 5)
        assert line["usable_steps_share"] == pytest.approx(9 / 16)
        assert line["perceptual_drift_failures"] == 2
        assert line["perceptual_drift_lost_steps"] == 7
        assert line["perceptual_drift_recovered_at"] == 9
        assert line["perceptual_drift_margin_at_failure"] < 0
        low = line["perceptual_drift_smallest_margin"]
        assert low <= line["perceptual_drift_margin_at_failure"]
    text = postmortem([scores], [], roles={})
    assert "from step 9 on the score is back for 5 defined steps, then it fails again" in text
    assert "2 of the 2 rows that fail recover" in text


def test_records_of_a_failure_that_lasts_and_of_none(scene):
    panel = with_axis(scene[0])
    lasting = score(panel, range(5, STEPS + 1))
    assert lasting.records()[0]["recovered_at"] == ""
    assert "that failure lasts to the end; 0 of the 2 rows" in postmortem([lasting], [], roles={})
    sound = score(panel, [5])
    line = sound.records()[0]
    assert (line["horizon_steps"], line["recovered_at"]) == (STEPS, "")
    assert line["usable_steps_share"] == 1.0
    assert line["perceptual_drift_margin_at_failure"] == ""
    assert line["perceptual_drift_smallest_margin"] < 0  # a step is below, too short a run
    assert line["perceptual_drift_failures"] == 0


def test_an_axis_may_recover_at_a_higher_score_than_it_fails_at(scene):
    """Every other step fails: three in a row do only where frames between are no recovery."""
    panel = with_axis(scene[0])
    noisy, mixed = [5, 7, 9, 11], [6, 8, 10]
    curve = score(panel, noisy, mixed).axes["perceptual_drift"].values
    low, high = curve[:, [4, 6, 8, 10]].max(), curve[:, [5, 7, 9]]
    assert float(low) < float(high.min()) <= float(high.max()) < 1
    between = float(low + high.min()) / 2
    plain = with_axis(scene[0], threshold=between)
    assert score(plain, noisy, mixed).horizon.censored.all()
    held = with_axis(scene[0], threshold=between, recover_threshold=1.0)
    found = score(held, noisy, mixed).horizon
    assert found.steps.tolist() == [4, 4]
    assert found.lost_steps[[spec.gate for spec in held.axes].index(True)].tolist() == [7, 7]


def test_too_few_defined_steps_leave_no_horizon(scene):
    half = with_axis(scene[0], min_defined=0.9)
    scores = score(half, [])
    assert scores.horizon.defined.all()
    assert not scores.horizon.reason.any()
    missing = Scorer(half).compute()
    assert (missing.horizon.reason == int(Reason.MISSING)).all()
    assert missing.horizon.usable_share.isnan().all()


def test_fields_that_are_left_out_keep_the_fingerprint(scene):
    panel = scene[0]
    data = panel.model_dump()
    assert all(spec["recover_threshold"] is None for spec in data["axes"])
    assert "recover_threshold" not in panel.canonical_json()
    data["axes"][0]["min_defined"] = 0.5
    assert Panel.from_dict(data).fingerprint != panel.fingerprint
    with pytest.raises(
        ValueError, match=r"recover_threshold: expected at least the threshold, 0\.8"
    ):
        AxisSpec(axis="perceptual_drift", threshold=0.8, recover_threshold=0.5)


def test_a_file_of_an_earlier_version_is_refused_in_words(scene, tmp_path: Path):
    path = tmp_path / "scores.safetensors"
    score(with_axis(scene[0]), []).save(path)
    assert Scores.load(path).horizon.recovery.dtype == torch.int64
    header, tensors = load_tensors(path, "scores")
    del tensors["horizon.recovery"]
    save_tensors(path, "scores", tensors, header)
    with pytest.raises(ValueError, match=r"horizon\.recovery .* score the rollouts again"):
        Scores.load(path)
