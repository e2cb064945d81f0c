"""Clip folders: which row each clip answers, what is cut from it, and one bad clip among good."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.clip_files import cut_off, lossless, moving, write_clip
from wmscore.episodes import (
    ClipFolder,
    Episode,
    EpisodeError,
    EpisodeKey,
    EpisodeSource,
    EpisodeTooShortError,
    repeated_frames,
)
from wmscore.manifest import ActionSpace
from wmscore.video import Video, read_video, stored_facts

pytest.importorskip("av")
KEYS = ActionSpace(names=("stay", "forward", "left"), noop="stay")


def only(clips: ClipFolder) -> EpisodeKey:
    (key,) = clips.keys()
    return key


# ---- which row -------------------------------------------------------------------------------


def test_names_say_scenario_seed_and_branch(tmp_path: Path) -> None:
    for i, name in enumerate(["long_hall_7_0", "long_hall_7_1", "long_hall_-3_0"]):
        lossless(tmp_path / f"{name}.mkv", moving(4, seed=i))
    (tmp_path / "notes.txt").write_text("no clip")
    lossless(tmp_path / "teaser.mkv", moving(2))
    clips = ClipFolder(tmp_path)
    assert isinstance(clips, EpisodeSource)
    assert sorted((k.scenario, k.seed, k.branch) for k in clips.keys()) == [
        ("long_hall", -3, 0),
        ("long_hall", 7, 0),
        ("long_hall", 7, 1),
    ]
    assert clips.unused == ("teaser.mkv",)
    assert "1 files are named otherwise and not used: teaser.mkv" in clips.facts.notes
    key = next(k for k in clips.keys() if k.branch == 1)
    assert torch.equal(clips.read(key).frames, moving(4, seed=1))
    assert clips.facts.fps == 10
    assert clips.facts.frame_size == (32, 48)
    assert clips.facts.codec is None
    assert clips.facts.actions == "none"


def test_one_clip_of_another_size_does_not_spoil_the_others(tmp_path: Path) -> None:
    lossless(tmp_path / "a_0_0.mkv", moving(3, 16, 16))
    for name in ("b_0_0", "c_0_0"):
        lossless(tmp_path / f"{name}.mkv", moving(3))
    (tmp_path / "._b_0_0.mkv").write_bytes(b"Mac OS X")
    clips = ClipFolder(tmp_path)
    assert clips.facts.frame_size == (32, 48)
    first, *others = clips.keys()
    assert [len(clips.read(key).frames) for key in others] == [3, 3]
    with pytest.raises(EpisodeError, match="expected frames of 32x48 as most clips have, got 16x"):
        clips.read(first)


def test_the_codec_of_mixed_folders_is_the_lossy_one(tmp_path: Path) -> None:
    lossless(tmp_path / "a_0_0.mkv", moving(8))
    lossy = write_clip(tmp_path / "b_0_0.mp4", moving(8))
    facts = ClipFolder(tmp_path).facts
    assert facts.codec == stored_facts(lossy).as_dict()
    assert "clips are of several codecs: ffv1, h264" in facts.notes


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("file,offset\na.mkv,nan", "line 2: offset: expected float of at least 0, got 'nan'"),
        ("file,offset\na.mkv,-1", "line 2: offset: expected float of at least 0, got '-1'"),
        ("file,start_frame\na.mkv,-1", "line 2: start_frame: expected int of at least 0"),
        ("file,branch\na.mkv,-1", "line 2: branch: expected int of at least 0"),
        ("file,seed\na.mkv,inf", "line 2: seed: expected int, got 'inf'"),
        ("file,offset,start_frame\na.mkv,1,2", "expected offset or start_frame, got both"),
    ],
)
def test_numbers_of_an_index_that_mean_nothing_are_named(
    tmp_path: Path, text: str, says: str
) -> None:
    (tmp_path / "clips.csv").write_text(text)
    with pytest.raises(EpisodeError, match=says):
        ClipFolder(tmp_path)


def test_indexes_of_spreadsheets_begin_with_a_mark(tmp_path: Path) -> None:
    lossless(tmp_path / "a.mkv", moving(3))
    (tmp_path / "clips.csv").write_text("file,scenario\na.mkv,hall\n", encoding="utf-8-sig")
    assert only(ClipFolder(tmp_path)).scenario == "hall"


def test_cuts_read_no_more_than_they_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wmscore.episodes.cut as module

    frames = torch.cat([moving(40, seed=i // 40) for i in range(0, 240, 40)])
    twice = frames.repeat_interleave(2, 0)[:240]
    lossless(tmp_path / "a_0_0.mkv", twice)
    kept: list[int] = []

    def counted(*args: Any, **options: Any) -> Video:
        video = read_video(*args, **options)
        kept.append(len(video.frames))
        return video

    monkeypatch.setattr(module, "read_video", counted)
    for options, step, most in (
        ({"start_frame": 100}, 1, 5),
        ({"start_frame": 100, "resample": True}, 1, 60),
        ({"start_frame": 100, "drop_repeats": 1}, 2, 10),
        ({"offset": 10.0, "drop_repeats": 1}, 2, 10),
        ({"offset": 10.0, "resample": True}, 1, 60),
    ):
        clips = ClipFolder(tmp_path, fps=10, **options)  # type: ignore[arg-type]
        kept.clear()
        found = clips.read(only(clips), frames=5).frames
        assert torch.equal(found, twice[100 : 100 + 5 * step : step])
        assert sum(kept) <= most, options
        with pytest.raises(EpisodeTooShortError) as caught:
            clips.read(only(clips), frames=200)
        assert caught.value.frames == 140 // step


def test_other_patterns(tmp_path: Path) -> None:
    (tmp_path / "s3").mkdir()
    lossless(tmp_path / "s3" / "hall.mkv", moving(3))
    key = only(ClipFolder(tmp_path, pattern="s{seed}/{scenario}"))
    assert (key.scenario, key.seed, key.branch) == ("hall", 3, 0)
    for bad in ("{seed}", "{scenario}_{name}", "{scenario}{scenario}"):
        with pytest.raises(ValueError, match=r"pattern: expected \{scenario\}"):
            ClipFolder(tmp_path, pattern=bad)
    with pytest.raises(EpisodeError, match=r"expected clips named .* found s3/hall.mkv"):
        ClipFolder(tmp_path)
    with pytest.raises(EpisodeError, match="expected a folder of clips"):
        ClipFolder(tmp_path / "absent")


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_an_index_says_it_all(tmp_path: Path, kind: str) -> None:
    lossless(tmp_path / "a.mkv", moving(10))
    lossless(tmp_path / "b.mkv", moving(10, seed=1))
    if kind == "csv":
        text = "file,scenario,seed,offset,start_frame,prompt\na.mkv,hall,3,0.2,,\n"
        text += 'b.mkv,yard,,,3,"a yard, at night"\n'
    else:
        rows = [
            {"file": "a.mkv", "scenario": "hall", "seed": 3, "offset": 0.2},
            {"file": "b.mkv", "scenario": "yard", "start_frame": 3, "prompt": "a yard, at night"},
        ]
        text = "\n\n".join(json.dumps(row) for row in rows)
    (tmp_path / f"clips.{kind}").write_text(text)
    clips = ClipFolder(tmp_path)
    hall, yard = (clips.read(key, frames=4) for key in clips.keys())
    assert (hall.key.scenario, hall.key.seed) == ("hall", 3)
    assert torch.equal(hall.frames, moving(10)[2:6])
    assert (yard.key.scenario, yard.key.seed, yard.prompt) == ("yard", None, "a yard, at night")
    assert torch.equal(yard.frames, moving(10, seed=1)[3:7])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("file,speed\na.mkv,3\n", r"line 2: expected the columns .* got \['speed'\] too"),
        ("scenario\nhall\n", "line 2: expected a file"),
        ("file,seed\na.mkv,three\n", "line 2: seed: expected int, got 'three'"),
        ("file,seed\na.mkv,1,2\n", "line 2: expected 2 values"),
        ("file\n", "expected at least one clip"),
        ("file,scenario\na.mkv,x\nb.mkv,x\n", "one clip for each row, got two for"),
        ("file,scenario\na.mkv,x\na.mkv,y\n", "one clip for each id, got two for a"),
    ],
)
def test_bad_indexes_name_the_line(tmp_path: Path, text: str, says: str) -> None:
    lossless(tmp_path / "a.mkv", moving(3))
    (tmp_path / "clips.csv").write_text(text)
    with pytest.raises(EpisodeError, match=says):
        ClipFolder(tmp_path)


# ---- one bad clip among good ones ------------------------------------------------------------


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mixed")
    good = write_clip(folder / "good_0_0.mp4", moving(12), container={"movflags": "faststart"})
    cut_off(good, folder / "truncated_0_0.mp4")
    (folder / "empty_0_0.mp4").write_bytes(b"")
    write_clip(folder / "fast_0_0.mp4", moving(12), fps=25)
    write_clip(folder / "variable_0_0.mkv", moving(6), codec="ffv1", pixel_format="bgr0",
               times=[0, 0.1, 0.25, 0.3, 0.5, 0.52])  # fmt: skip
    write_clip(folder / "larger_0_0.mp4", moving(12, 48, 64))
    write_clip(folder / "odd_0_0.mp4", moving(12, 33, 47), pixel_format="yuv444p")
    write_clip(folder / "short_0_0.mp4", moving(5))
    write_clip(folder / "good_1_0.mp4", moving(12, seed=1), audio=True)
    return folder


@pytest.mark.parametrize(
    ("scenario", "says"),
    [
        ("truncated", "expected 12 frames by its header"),
        ("empty", "cannot be opened as a video"),
        ("fast", "expected 10 frames per second, got a constant rate of 25"),
        ("variable", "expected 10 frames per second, got a variable rate"),
        ("larger", "expected frames of 32x48 as most clips have, got 48x64"),
        ("odd", "expected frames of 32x48 as most clips have, got 33x47"),
    ],
)
def test_a_bad_clip_is_an_error_of_its_own(mixed: Path, scenario: str, says: str) -> None:
    clips = ClipFolder(mixed, fps=10.0, size=None)
    keys = {key.id.removesuffix("_0"): key for key in clips.keys()}
    assert clips.facts.frame_size == (32, 48)
    with pytest.raises(EpisodeError, match=says) as caught:
        clips.read(keys[f"{scenario}_0"])
    assert f"{scenario}_0_0" in str(caught.value)
    assert len(clips.read(keys["good_0"]).frames) == 12
    assert len(clips.read(keys["good_1"]).frames) == 12


def test_the_first_readable_clip_says_what_all_are(mixed: Path) -> None:
    # empty_0_0 comes first by name, and fast_0_0 first of the readable ones.
    assert ClipFolder(mixed).facts.fps == 25


def test_a_folder_of_broken_clips_is_refused(mixed: Path, tmp_path: Path) -> None:
    (tmp_path / "a_0_0.mp4").write_bytes((mixed / "truncated_0_0.mp4").read_bytes())
    with pytest.raises(EpisodeError, match=r"none of the clips can be read: .* 12 frames by"):
        ClipFolder(tmp_path)


def test_too_few_frames_say_how_many_there_are(mixed: Path) -> None:
    clips = ClipFolder(mixed, fps=10.0)
    key = next(k for k in clips.keys() if k.scenario == "short")
    with pytest.raises(EpisodeTooShortError, match="expected at least 8 frames") as caught:
        clips.read(key, frames=8)
    assert caught.value.frames == 5
    assert len(clips.read(key, frames=5).frames) == 5
    with pytest.raises(EpisodeTooShortError):
        clips.read(key, start=5)


def test_facts_tell_the_codec(mixed: Path) -> None:
    facts = ClipFolder(mixed, fps=10.0).facts
    assert facts.codec is not None
    assert facts.codec["codec"] == "h264"
    assert 0 < facts.codec["bits_per_pixel"] < 8
    assert any("bits per pixel" in note for note in facts.notes)


# ---- what is cut from a clip -----------------------------------------------------------------


def test_variable_rates_are_brought_to_one_only_when_asked(tmp_path: Path) -> None:
    frames, times = moving(6), [0.0, 0.1, 0.25, 0.3, 0.5, 0.61]
    write_clip(tmp_path / "a_0_0.mkv", frames, codec="ffv1", pixel_format="bgr0", times=times)
    clips = ClipFolder(tmp_path, fps=10.0, resample=True)
    episode = clips.read(only(clips), frames=6)
    assert torch.equal(episode.frames, frames[[0, 1, 1, 3, 3, 4]])
    assert "2 of 6 frames repeat" in episode.notes[0]
    clips = ClipFolder(tmp_path, fps=10.0, resample=True, offset=0.2)
    assert torch.equal(clips.read(only(clips), frames=3).frames, frames[[1, 3, 3]])
    clips = ClipFolder(tmp_path, fps=10.0, resample=True, start_frame=2)
    assert torch.equal(clips.read(only(clips), frames=3).frames, frames[[2, 3, 3]])
    with pytest.raises(EpisodeTooShortError) as caught:
        clips.read(only(clips), frames=30)
    assert len(clips.read(only(clips), frames=caught.value.frames).frames) == caught.value.frames
    with pytest.raises(ValueError, match="fps: expected the rate to come out"):
        ClipFolder(tmp_path, resample=True)


def test_repeats_of_a_screen_recorder_are_dropped(tmp_path: Path) -> None:
    # A game of 24 frames per second on a recorder of 60: each frame is there 2 or 3 times.
    frames = moving(10)
    index = [k for k in range(10) for _ in range(2 + k % 2)]
    write_clip(tmp_path / "a_0_0.mp4", frames[index], fps=60, options={"crf": "10"})
    clips = ClipFolder(tmp_path, fps=24.0, drop_repeats=2)
    episode = clips.read(only(clips))
    assert len(episode.frames) == 10
    assert (episode.frames.short() - frames.short()).abs().float().mean() < 4
    assert "15 of 25 frames repeat the one before and are dropped" in episode.notes


def test_a_picture_that_stands_still_stays_longer() -> None:
    still = moving(1).expand(12, -1, -1, -1)
    assert repeated_frames(still, 2).tolist() == [False, True, True] * 4
    assert not repeated_frames(moving(6), 2).any()


def test_crop_and_size(tmp_path: Path) -> None:
    frames = moving(4, 40, 64)
    lossless(tmp_path / "a_0_0.mkv", frames)
    clips = ClipFolder(tmp_path, crop=(4, 8, 36, 56))
    assert clips.facts.frame_size == (32, 48)
    episode = clips.read(only(clips))
    assert torch.equal(episode.frames, frames[:, :, 4:36, 8:56])
    assert "cropped to [4, 8, 36, 56] of 40x64" in episode.notes
    clips = ClipFolder(tmp_path, size=(20, 32))
    episode = clips.read(only(clips))
    expected = torch.nn.functional.interpolate(
        frames.float(), (20, 32), mode="bilinear", antialias=True
    )
    assert (episode.frames - expected).abs().max() <= 0.5
    assert any("resized from 40x64 to 20x32" in note for note in episode.notes)
    with pytest.raises(EpisodeError, match="at least 50x64 by the crop"):
        ClipFolder(tmp_path, crop=(0, 0, 50, 64))
    for bad in ({"crop": (5, 0, 5, 9)}, {"size": (0, 9)}, {"offset": -1.0},
                {"offset": 1.0, "start_frame": 2}):  # fmt: skip
        with pytest.raises(ValueError, match="expected"):
            ClipFolder(tmp_path, **bad)  # type: ignore[arg-type]


def test_a_720p_clip_with_a_hand_timed_script(tmp_path: Path) -> None:
    # As a recorded session of an interactive world: 1280x720, 24 fps, the action by the clock.
    frames = moving(30, 720, 1280)
    write_clip(tmp_path / "world_0_0.mp4", frames, fps=24, options={"preset": "ultrafast"})
    script = [{"time": 0.5, "action": "forward"}, {"time": 0.75, "until": 1.0, "action": "left"}]
    (tmp_path / "world_0_0.actions.json").write_text(json.dumps(script))
    clips = ClipFolder(tmp_path, offset=0.25, space=KEYS)
    assert clips.facts.fps == 24
    assert clips.facts.frame_size == (720, 1280)
    assert clips.facts.actions == "discrete"
    assert not clips.facts.actions_exact
    episode = clips.read(only(clips), frames=24)
    assert episode.actions is not None
    assert episode.actions.tolist() == [0] * 6 + [1] * 6 + [2] * 6 + [0] * 5
    assert any("only about right" in note for note in episode.notes)
    later = clips.read(only(clips), start=6, frames=8)
    assert later.actions is not None
    assert later.actions.tolist() == [1] * 6 + [2]
    assert torch.equal(later.frames, episode.frames[6:14])


def test_a_missing_script_is_an_error_of_its_clip(tmp_path: Path) -> None:
    for name in ("a_0_0", "b_0_0"):
        lossless(tmp_path / f"{name}.mkv", moving(4))
    (tmp_path / "a_0_0.actions.json").write_text('[{"time": 0, "action": "left"}]')
    clips = ClipFolder(tmp_path, space=KEYS)
    with_script, without = clips.keys()
    assert clips.read(with_script).actions is not None
    with pytest.raises(EpisodeError, match=r"an action script b_0_0\.actions\.json beside"):
        clips.read(without)


# ---- episodes --------------------------------------------------------------------------------


def test_episodes_refuse_what_does_not_fit_together() -> None:
    key, frames = EpisodeKey(id="a"), moving(4)
    episode = Episode(key=key, frames=frames, fps=10.0, actions=torch.arange(3), valid=3,
                      info={"reward": torch.arange(3.0), "time": torch.arange(4.0)})  # fmt: skip
    part = episode.window(1, 2)
    assert part.actions is not None
    assert part.actions.tolist() == [1]
    assert part.valid == 2
    assert part.info["reward"].tolist() == [1.0]
    assert part.info["time"].tolist() == [1.0, 2.0]
    with pytest.raises(EpisodeTooShortError) as caught:
        episode.window(2, 3)
    assert caught.value.frames == 4
    for bad in (
        {"frames": frames.float()},
        {"frames": frames[:0]},
        {"fps": 0.0},
        {"actions": torch.arange(4)},
        {"actions": torch.zeros(3, 2).double()},
        {"labels": torch.zeros(4, 32, 47, dtype=torch.int32)},
    ):
        with pytest.raises(EpisodeError, match="episode 'a': expected"):
            Episode(**{"key": key, "frames": frames, "fps": 10.0, **bad})  # type: ignore[arg-type]
