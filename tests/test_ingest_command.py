"""`wmscore ingest`: from a folder of clips to scores, with a codec floor, and one bad clip."""

import errno
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.clip_files import cut_off, psnr, write_clip
from tests.panels import sprite_panel
from wmscore.cli import main
from wmscore.episodes import ClipFolder
from wmscore.evidence import read_scores
from wmscore.functional import Reason
from wmscore.manifest import Panel
from wmscore.recordings import RecordedTruth, Recording, record
from wmscore.replay import panel_items, render_truth, replay
from wmscore.rollouts import Rollouts
from wmscore.scorer import Scorer
from wmscore.scorer.codec import codec_floor
from wmscore.video import read_video
from wmscore.worlds import Frozen, RecordedWorld, Reencoded
from wmscore.worlds.sprites import SpriteWorld

pytest.importorskip("av")
pytest.importorskip("rich")
WORLD = SpriteWorld(height=48, width=48)
CODEC = {"crf": "30", "preset": "ultrafast"}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Panel, Rollouts]:
    """A panel, a recording of its truth, and lossy clips of the truth as a model's."""
    folder = tmp_path_factory.mktemp("ingest")
    panel = sprite_panel(scenarios=2, seeds=2, horizon=10)
    panel.save(folder / "panel.json")
    truth = render_truth(panel, WORLD)
    record(folder / "truth", panel, WORLD, WORLD)
    (folder / "clips").mkdir()
    for frames, s, branch in zip(truth.frames, truth.scenario, truth.branch, strict=True):
        for seed in panel.seeds:
            name = f"{panel.scenarios[int(s)].id}_{seed}_{int(branch)}.mp4"
            write_clip(folder / "clips" / name, frames, options=CODEC, audio=seed == 1)
    return folder, panel, truth


def run(*args: object) -> int:
    return main([str(arg) for arg in args])


def test_clips_become_a_recording_that_is_scored(
    scene: tuple[Path, Panel, Rollouts], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder, panel, truth = scene
    arguments = ("--panel", folder / "panel.json", "--truth", folder / "truth")
    assert run("ingest", folder / "clips", *arguments, "--out", tmp_path / "run") == 0
    said = capsys.readouterr().out
    assert "clips: clips are h264 at" in said
    assert "clips: the actions under which the frames were made are not known" in said
    recording = Recording(tmp_path / "run")
    assert recording.complete
    (made_by,) = recording.about.facts["made_by"]
    assert made_by.startswith(f"ingest {folder / 'clips'} pattern=")
    assert "offset=0.0" in made_by
    assert recording.panel == Recording(folder / "truth").panel
    rollouts = recording.row(0, 0)
    assert torch.equal(rollouts.frames[:, 0], truth.frames[:3, 0])
    clip = read_video(folder / "clips" / f"{panel.scenarios[0].id}_0_0.mp4")
    assert torch.equal(rollouts.frames[0, 1:], clip.frames[1:])

    # Against the panel without branches and without an axis that judges labels.
    looks = panel.model_dump()
    looks["axes"] = [a for a in looks["axes"] if a["axis"] != "identity_persistence"]
    Panel.from_dict(looks).save(tmp_path / "looks.json")
    assert run("score", tmp_path / "run", "--panel", tmp_path / "looks.json",
               "--out", tmp_path / "out") == 0  # fmt: skip
    said = capsys.readouterr().out
    assert "Codec of clips: h264 yuv420p" in said
    scores = read_scores(tmp_path / "out").results[0]
    own = float(scores.axes["perceptual_drift"].values.mean())
    floor = float(scores.provenance["codec floor perceptual_drift"])
    assert own < 0.99
    # The clips are the truth behind the codec: the floor explains all of what they lack.
    assert floor == pytest.approx(own, abs=0.05)
    assert "Codec of clips" in (tmp_path / "out" / "postmortem.md").read_text()


def test_without_actions_the_response_is_not_applicable(
    scene: tuple[Path, Panel, Rollouts], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder, _panel, _ = scene
    clips = tmp_path / "clips"
    clips.mkdir()
    for path in (folder / "clips").glob("*_0.mp4"):
        (clips / path.name).write_bytes(path.read_bytes())
    (clips / "mistyped_0_0.mp4").write_bytes(path.read_bytes())
    arguments = (clips, "--panel", folder / "panel.json", "--truth", folder / "truth")
    assert run("ingest", *arguments, "--no-actions", "--out", tmp_path / "run") == 0
    said = capsys.readouterr().out
    assert "clips: 1 clips answer no row of the panel: mistyped_0_0" in said
    recording = Recording(tmp_path / "run")
    assert [len(s.branches) for s in recording.panel.scenarios] == [0, 0]
    assert torch.equal(
        recording.truth_of([1]).frames[0], Recording(folder / "truth").truth_of([1]).frames[0]
    )
    assert run("score", tmp_path / "run", "--no-codec-floor", "--out", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "Action response: n/a" in said
    assert "Response to actions (agreement" not in said
    assert "Codec of clips" not in said
    scores = read_scores(tmp_path / "out").results[0]
    assert "action_response" not in scores.axes
    assert scores.actions is None
    assert "Action response: n/a" in (tmp_path / "out" / "postmortem.md").read_text()

    # Asked under all scripts, rows lack clips of the others, and say so.
    assert run("ingest", *arguments, "--out", tmp_path / "all") == 1
    faults = Recording(tmp_path / "all").faults
    assert len(faults) == 4
    assert "`Panel.without_actions` asks for commanded scripts only" in faults[0].message

    # Or one clip answers all scripts of its row: the same panel, and a response that is n/a.
    assert run("ingest", *arguments, "--every-script", "--out", tmp_path / "every") == 0
    every = Recording(tmp_path / "every")
    assert every.panel.fingerprint == Recording(folder / "truth").panel.fingerprint
    assert all(row.equal(every.row(0, 0).frames[0]) for row in every.row(0, 0).frames)
    capsys.readouterr()
    assert run("score", folder / "truth", tmp_path / "every", "--no-codec-floor",
               "--out", tmp_path / "both") == 0  # fmt: skip
    assert "n/a: takes no actions" in " ".join(capsys.readouterr().out.split())
    both = {scores.model: scores for scores in read_scores(tmp_path / "both").results}
    assert both["clips"].axes["action_response"].undefined().keys() == {"no_actions"}


def test_one_bad_clip_is_a_fault_of_its_row(
    scene: tuple[Path, Panel, Rollouts], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder, panel, truth = scene
    clips = tmp_path / "clips"
    clips.mkdir()
    for path in (folder / "clips").iterdir():
        (clips / path.name).write_bytes(path.read_bytes())
    ids = [scenario.id for scenario in panel.scenarios]
    cut_off(folder / "clips" / f"{ids[0]}_1_2.mp4", clips / f"{ids[0]}_1_2.mp4")
    write_clip(clips / f"{ids[1]}_0_0.mp4", truth.frames[3], fps=12, options=CODEC)
    write_clip(clips / f"{ids[1]}_1_0.mp4", truth.frames[3, :6], options=CODEC)
    arguments = ("--panel", folder / "panel.json", "--truth", folder / "truth")
    assert run("ingest", clips, *arguments, "--out", tmp_path / "run") == 1
    recording = Recording(tmp_path / "run")
    faults = {(f.scenario, f.seed): f.message for f in recording.faults}
    assert faults.keys() == {(0, 1), (1, 0)}
    assert "cannot be opened as a video" in faults[0, 1]
    assert "expected 10 frames per second" in faults[1, 0]
    said = capsys.readouterr().out
    assert "cannot be opened as a video" in said
    scorer = Scorer(recording.panel)
    for rollouts in recording:
        scorer.update(rollouts)
    scorer.add_faults(recording.faults, model=recording.model)
    found = dict(zip(panel.rows(), scorer.compute().fault.tolist(), strict=True))
    assert found[0, 1] == found[1, 0] == int(Reason.MODEL_ERROR)
    assert found[1, 1] == int(Reason.SHORT)
    assert found[0, 0] in (0, int(Reason.NO_LABELS))

    # Mended clips are taken up by the same command.
    for name in (f"{ids[0]}_1_2.mp4", f"{ids[1]}_0_0.mp4"):
        (clips / name).write_bytes((folder / "clips" / name).read_bytes())
    assert run("ingest", clips, *arguments, "--retry-faults", "--out", tmp_path / "run") == 0
    assert not Recording(tmp_path / "run").faults


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "Interrupted. "),
        (SystemExit(0), 1, "The model ended the run (SystemExit: 0). "),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "Disk full: "),
    ],
)
def test_an_ingest_that_ends_early_says_how_to_go_on(
    scene: tuple[Path, Panel, Rollouts],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    said: str,
) -> None:
    """As a replay does: one piece of code serves both commands."""
    folder, _, _ = scene
    arguments = ("--panel", folder / "panel.json", "--truth", folder / "truth")

    def fail(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr("wmscore.recordings.record_shard", fail)
        assert run("ingest", folder / "clips", *arguments, "--out", tmp_path / "run") == code
    assert said in capsys.readouterr().out


def test_films_of_the_true_world_are_a_truth(
    scene: tuple[Path, Panel, Rollouts], tmp_path: Path
) -> None:
    folder, panel, truth = scene
    films = tmp_path / "films"
    films.mkdir()
    for frames, s, branch in zip(truth.frames, truth.scenario, truth.branch, strict=True):
        name = f"{panel.scenarios[int(s)].id}_{int(branch)}.mkv"
        write_clip(films / name, frames, codec="ffv1", pixel_format="bgr0")
    assert run("ingest", folder / "clips", "--panel", folder / "panel.json", "--truth", films,
               "--out", tmp_path / "run") == 0  # fmt: skip
    assert torch.equal(Recording(tmp_path / "run").truth.frames, truth.frames)


def test_bad_options_are_usage_errors(
    scene: tuple[Path, Panel, Rollouts], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder, _, _ = scene
    arguments = ("--panel", folder / "panel.json", "--out", tmp_path / "run")
    clips = folder / "clips"
    for bad, says in (
        (("--crop", "1,2,3"), "--crop: expected T,L,B,R in whole pixels, got '1,2,3'"),
        (("--size", "12"), "--size: expected HxW"),
        (("--fps", "24", "--resample"), "--fps: expected 10, the panel's, got 24"),
        (("--offset", "-2"), "expected above 0, at least 0"),
        (("--pattern", "{name}"), "pattern: expected {scenario}"),
    ):
        assert run("ingest", clips, *arguments, *bad) == 2
        assert says in capsys.readouterr().err
    assert run("ingest", tmp_path / "nowhere", *arguments) == 2
    assert "expected a folder of clips" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


# ---- the codec floor -------------------------------------------------------------------------


def test_a_reencoded_world_is_the_world_behind_its_codec(
    scene: tuple[Path, Panel, Rollouts],
) -> None:
    folder, panel, truth = scene
    clips = RecordedWorld(ClipFolder(folder / "clips"))
    assert clips.codec is not None
    floor = Reencoded(WORLD, clips.codec)
    items = panel_items(panel, truth=truth)
    rollouts = floor.rollout(items, 10)
    assert rollouts.model == "sprites-reencoded"
    assert torch.equal(rollouts.frames[:, 0], truth.frames[[0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5], 0])
    recorded = clips.rollout(items, 10)
    off = psnr(recorded.frames[:, 1:], WORLD.rollout(items, 10).frames[:, 1:])
    assert psnr(rollouts.frames[:, 1:], WORLD.rollout(items, 10).frames[:, 1:]) == pytest.approx(
        off, abs=2
    )
    assert rollouts.labels is not None


def test_the_floor_scores_the_truth_once_for_each_scenario(
    scene: tuple[Path, Panel, Rollouts],
) -> None:
    folder, panel, truth = scene
    clips = ClipFolder(folder / "clips")
    assert clips.facts.codec is not None
    floor = codec_floor(panel, replay(panel, Frozen(WORLD), truth, batch_size=1), clips.facts.codec)
    there = [(s, seed) for s, seed in panel.rows()]
    known = [row for row, fault in zip(there, floor.fault.tolist(), strict=True) if fault == 0]
    assert known == [(0, panel.seeds[0]), (1, panel.seeds[0])]
    strong = replace_bits(clips.facts.codec, 0.02)
    worse = codec_floor(panel, replay(panel, Frozen(WORLD), truth), strong)
    for axis in ("perceptual_drift", "action_response"):
        a, b = (s.axes[axis].values[s.fault == 0].nanmean() for s in (floor, worse))
        assert 1 > a > b


def replace_bits(codec: dict[str, object], bits: float) -> dict[str, object]:
    return {**codec, "bits_per_pixel": bits}


def test_a_recorded_truth_serves_smaller_panels(
    scene: tuple[Path, Panel, Rollouts],
) -> None:
    folder, panel, truth = scene
    world = RecordedTruth(Recording(folder / "truth"))
    assert world.capabilities.frame_size == (48, 48)
    items = panel_items(panel.without_actions())
    assert torch.equal(
        world.rollout(items, 10).frames, truth.frames[truth.branch == 0][[0, 0, 1, 1]]
    )
    assert torch.equal(
        world.rollout(items, 4).frames, truth.frames[truth.branch == 0][[0, 0, 1, 1], :5]
    )
    with pytest.raises(ValueError, match="expected 11 recorded steps, got 10"):
        world.rollout([replace(items[0], actions=torch.zeros(11, dtype=torch.int64))], 11)
    with pytest.raises(ValueError, match="was not recorded under the actions of branch 0"):
        world.rollout([replace(items[0], actions=torch.full((10,), 4))], 10)
    with pytest.raises(ValueError, match="expected in the recorded panel"):
        world.rollout([replace(items[0], scenario_id="elsewhere")], 10)


def test_recordings_say_how_their_clips_were_stored(
    scene: tuple[Path, Panel, Rollouts], tmp_path: Path
) -> None:
    folder, panel, _ = scene
    record(tmp_path / "run", panel, WORLD, RecordedWorld(ClipFolder(folder / "clips")))
    about = json.loads((tmp_path / "run" / "recording.json").read_text())
    assert about["facts"]["codec"]["codec"] == "h264"
    assert any("bits per pixel" in loss for loss in about["facts"]["conversion_losses"])
