"""One frozen panel, asked of models of every shape: one question, one scorer, one folder.

Nothing here is good at anything: weights are random. What is held is that all of them answer the
same panel, that what a model cannot do is said, and that nobody's number comes from elsewhere.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.panels import sprite_panel
from tests.tiny_systems import FPS, HORIZON, SIZE, WORLD, system
from wmscore.evidence import read_scores, write_evidence
from wmscore.functional import Reason
from wmscore.manifest import Panel
from wmscore.recordings import Recording, record
from wmscore.scorer import score_recording
from wmscore.scores import Scores
from wmscore.worlds import RecordedWorld, WorldModel

# Of Diffusers with NumPy 2, not ours.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

STEPS = ("DIAMOND's shape", "Genie's shape, calibrated", "open-oasis' shape")
SERVED = ("Oasis 3 client, server here", "videos API client, server here")
FEW = (*STEPS, "gymnasium environment", *SERVED, "WanImageToVideoPipeline")
ALL = (
    *FEW,
    "GameNGen's shape",
    "Cosmos2VideoToWorldPipeline",
    "Cosmos2_5_PredictBasePipeline",
    "Cosmos3OmniPipeline, forward dynamics",
    "SanaWMPipeline",
    "LTXConditionPipeline",
    "CogVideoXImageToVideoPipeline",
)
SCRIPTS = 3


def the_panel() -> Panel:
    """Two scenes under a commanded, a no-op and a random script."""
    axes = [
        {"axis": "perceptual_drift", "threshold": 0.6, "patience": 1},
        {"axis": "action_response", "threshold": 0.5, "patience": 1},
    ]
    panel = sprite_panel(2, 1, HORIZON, SIZE, axes=axes)
    data = panel.model_dump()
    for scenario in data["scenarios"]:
        scenario["prompt"] = "blocks on a carpet"
    return Panel.from_dict(data)


class Played:
    """The clips that a generator of films without actions would have made: one for each scene."""

    def __init__(self, folder: Path, truth: Recording) -> None:
        from wmscore.video import write_video

        folder.mkdir()
        for s, scenario in enumerate(truth.panel.scenarios):
            frames = truth.row(s, 0).frames[0].clone()
            frames[4:] = frames[3]
            write_video(folder / f"{scenario.id}_0_0.mp4", frames, fps=FPS)
        self.folder = folder

    def model(self) -> WorldModel:
        from wmscore.episodes import ClipFolder

        return RecordedWorld(ClipFolder(self.folder), name="clips", every_script=True)


@dataclass
class Replayed:
    """What came of it."""

    truth: Recording
    recordings: dict[str, Recording]
    scores: dict[str, Scores]
    folder: Path


def replay_all(names: Sequence[str], folder: Path) -> Replayed:
    panel = the_panel()
    record(folder / "truth", panel, WORLD, WORLD)
    truth = Recording(folder / "truth")
    recordings: dict[str, Recording] = {}
    models = {name: system(name).make for name in names}
    played = Played(folder / "films", truth)
    models["recorded clips"] = lambda stack: played.model()
    for i, (name, make) in enumerate(models.items()):
        with ExitStack() as stack:
            record(folder / f"run-{i}", panel, None, make(stack), truth=truth)
        recordings[name] = Recording(folder / f"run-{i}")
    scores = {name: score_recording(found, codec_floor=False) for name, found in recordings.items()}
    by_model = {found.model: found for found in recordings.values()}
    write_evidence(
        folder / "evidence",
        list(scores.values()),
        lambda model, s, seed: by_model[model].row(s, seed),
    )
    return Replayed(truth, recordings, scores, folder)


def first(found: Replayed) -> list[Tensor]:
    return [found.truth.row(s, 0).frames[0, 0] for s in range(2)]


def check_same_question(found: Replayed, count: int) -> None:
    """All answered the same frozen panel, row by row, from the same frame."""
    assert len(found.recordings) == count
    assert len({recording.model for recording in found.recordings.values()}) == count
    print_of = {recording.panel.fingerprint for recording in found.recordings.values()}
    assert print_of == {found.truth.panel.fingerprint}
    assert {scores.panel.fingerprint for scores in found.scores.values()} == print_of
    frozen = [scenario.initial_frame_sha256 for scenario in found.truth.panel.scenarios]
    assert all(frozen)
    given = first(found)
    for name, recording in found.recordings.items():
        assert recording.complete, name
        assert not recording.faults, name
        for s in range(2):
            rows = recording.row(s, 0)
            assert rows.branch.tolist() == list(range(SCRIPTS)), name
            assert rows.frames.shape == (SCRIPTS, HORIZON + 1, 3, SIZE, SIZE), name
            assert all(frame.equal(given[s]) for frame in rows.frames[:, 0]), name
            # The question stands beside the answer, as the panel asks it and not as it was told.
            assert rows.actions.equal(found.truth.row(s, 0).actions), name
        assert found.scores[name].complete, name
        psnr = found.scores[name].measures["psnr"].values
        assert bool((psnr.isfinite() | psnr.isposinf()).all()), name


def check_what_cannot_be_asked(found: Replayed) -> None:
    """No actions, no response: n/a and neither 0 nor a fault; and no horizon won by it."""
    deaf = {
        name
        for name, recording in found.recordings.items()
        if recording.about.facts["capabilities"]["actions"] == "none"
    }
    assert "recorded clips" in deaf
    assert "videos API client, server here" in deaf
    assert len(deaf) < len(found.recordings)
    for name, scores in found.scores.items():
        curve = scores.axes["action_response"]
        assert bool((curve.reason == int(Reason.NO_ACTIONS)).all()) == (name in deaf), name
        assert bool(scores.horizon.defined.any()) == (name not in deaf), name
        assert bool(scores.horizon.axis_defined[0].all()), name  # drift is judged of everybody
    text = (found.folder / "evidence" / "postmortem.md").read_text(encoding="utf-8")
    for name in deaf:
        model = found.recordings[name].model
        line = next(
            line for line in text.splitlines() if line.startswith(f"| {model} ") and " n/a" in line
        )
        assert line.count("n/a") >= 2, line
    assert "the model takes no actions" in text


def check_other_gates(found: Replayed) -> None:
    """The same rollouts, judged by drift alone: everybody has a horizon."""
    data = the_panel().model_dump()
    data["axes"] = data["axes"][:1]
    drift = Panel.from_dict(data)
    folder = found.recordings["recorded clips"].folder
    scores = score_recording(Recording(folder, drift), codec_floor=False)
    assert bool(scores.horizon.defined.all())
    mine = found.scores["recorded clips"]
    assert scores.horizon.steps.equal(mine.horizon.axis_steps[0])


def check_losses(found: Replayed) -> None:
    """What a model was not told stands beside its frames."""
    said = {
        name: recording.about.facts["conversion_losses"]
        for name, recording in found.recordings.items()
    }
    (loss,) = [text for text in said["open-oasis' shape"] if "rounded" in text]
    assert "to buckets of 0.5 degrees" in loss
    assert said["DIAMOND's shape"] == []
    assert any("not sent" in text for text in said["Oasis 3 client, server here"])
    assert any("none is sent" in text for text in said["videos API client, server here"])
    assert any("every script" in text for text in said["recorded clips"])
    if "SanaWMPipeline" in said:
        assert any("stretch to 64 x 96" in text for text in said["SanaWMPipeline"])
    text = (found.folder / "evidence" / "postmortem.md").read_text(encoding="utf-8")
    assert loss in text


def check_evidence(found: Replayed) -> None:
    """One folder with all of them, which reads back as it was written."""
    stored = read_scores(found.folder / "evidence")
    assert {scores.model for scores in stored.results} == {
        recording.model for recording in found.recordings.values()
    }
    data = json.loads((found.folder / "evidence" / "manifest.json").read_text(encoding="utf-8"))
    assert Panel.from_dict(data).fingerprint == found.truth.panel.fingerprint


def check_scores_are_their_own(found: Replayed) -> None:
    """The environment is the true world in other clothes; a random network is not."""
    perfect = found.scores["gymnasium environment"]
    assert perfect.horizon.steps.tolist() == [HORIZON] * 2
    assert bool((perfect.axes["perceptual_drift"].values == 1).all())
    known = perfect.axes["action_response"].values
    assert bool((known[~known.isnan()] == 1).all())
    diamond = found.scores["DIAMOND's shape"]
    assert bool((diamond.axes["perceptual_drift"].values < 0.6).any())
    # Clips stop after frame 3: they drift away from a world that goes on.
    clips = found.scores["recorded clips"].measures["psnr"].values.nan_to_num(posinf=99.0)
    assert bool((clips[:, 2] > clips[:, -1]).all())


def replayed(names: Sequence[str], folder: Path) -> Replayed:
    needs = {module for name in names for module in system(name).needs} | {"av"}
    lacking = sorted(name for name in needs if importlib.util.find_spec(name) is None)
    if lacking:
        pytest.skip(f"not installed: {', '.join(lacking)}")
    os.environ["HF_HUB_OFFLINE"] = "1"
    return replay_all(names, folder)


CHECKS: tuple[Any, ...] = (
    check_what_cannot_be_asked,
    check_other_gates,
    check_losses,
    check_evidence,
    check_scores_are_their_own,
)


def test_models_of_many_shapes_replay_one_panel(tmp_path: Path) -> None:
    found = replayed(FEW, tmp_path)
    check_same_question(found, len(FEW) + 1)
    for check in CHECKS:
        check(found)


@pytest.mark.slow
def test_every_model_of_the_chapter_replays_one_panel(tmp_path: Path) -> None:
    found = replayed(ALL, tmp_path)
    check_same_question(found, len(ALL) + 1)
    for check in CHECKS:
        check(found)


def test_the_panel_is_no_other_with_other_models(tmp_path: Path) -> None:
    """A recording of another panel does not come into the same tables."""
    record(tmp_path / "one", the_panel(), WORLD, WORLD)
    other = the_panel().model_copy(update={"seeds": (1,)})
    record(tmp_path / "two", other, WORLD, WORLD)
    one, two = (score_recording(Recording(tmp_path / name)) for name in ("one", "two"))
    assert one.panel.fingerprint != two.panel.fingerprint
    with pytest.raises(ValueError, match=r"panel|fingerprint"):
        write_evidence(tmp_path / "evidence", [one, two], lambda *row: torch.empty(0))  # type: ignore[arg-type,return-value]
