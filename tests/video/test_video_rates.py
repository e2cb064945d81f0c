"""Bringing videos to a constant rate, and writing them."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.clip_files import moving, psnr, write_clip
from wmscore.video import (
    ENCODINGS,
    CodecFacts,
    Video,
    VideoError,
    constant_rate_index,
    encode_video,
    read_video,
    reencode,
    to_constant_rate,
    write_video,
)
from wmscore.video.resize import resize_frames

pytest.importorskip("av")
FACTS = CodecFacts(container="mov", codec="h264", pixel_format="yuv420p", width=8, height=8,
                   fps=10.0, bits_per_pixel=0.3, lossy=True)  # fmt: skip


def a_video(times: list[float], tick: float = 0.001) -> Video:
    frames = torch.arange(len(times), dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 8, 8)
    return Video(frames=frames, times=torch.tensor(times).double(), fps=10.0, tick=tick,
                 codec=FACTS)  # fmt: skip


@given(
    st.lists(st.integers(1, 400), min_size=1, max_size=30),
    st.sampled_from([5.0, 10.0, 23.976, 30.0]),
    st.integers(1, 40),
)
def test_each_moment_shows_the_last_frame_that_appeared(
    gaps: list[int], fps: float, count: int
) -> None:
    times = torch.tensor([0, *gaps]).cumsum(0).double() / 1000
    index = constant_rate_index(times, fps, frames=count)
    for k, i in enumerate(index.tolist()):
        assert times[i] <= k / fps + 1e-6
        assert i + 1 == len(times) or times[i + 1] > k / fps - 1e-6


def test_rounded_times_are_no_variable_rate() -> None:
    # 24 frames per second in a container that counts milliseconds.
    times = [round(k / 24, 3) for k in range(48)]
    assert constant_rate_index(
        torch.tensor(times).double(), 24.0, frames=48, tick=0.001
    ).tolist() == list(range(48))
    video = to_constant_rate(a_video(times), 24.0)
    assert "0 of 48 frames repeat" in video.notes[-1]
    assert a_video(times).constant_rate


def test_holding_and_leaving_out_are_counted() -> None:
    video = to_constant_rate(a_video([0.0, 0.1, 0.4, 0.5, 0.52, 0.6]), 10.0)
    assert video.frames[:, 0, 0, 0].tolist() == [0, 1, 1, 1, 2, 3, 5]
    assert video.notes[-1].endswith("2 of 7 frames repeat the one before, 1 are left out")
    assert video.fps == 10.0
    assert video.constant_rate


def test_a_start_within_the_video() -> None:
    video = to_constant_rate(a_video([0.0, 0.1, 0.2, 0.3]), 10.0, start=0.15, frames=2)
    assert video.frames[:, 0, 0, 0].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("start", "frames", "says"),
    [(0.0, 6, "ends at 0.4 s"), (-0.5, 1, "before 0 s"), (1.0, 1, "ends at 0.4 s")],
)
def test_nothing_is_shown_before_or_after(start: float, frames: int, says: str) -> None:
    with pytest.raises(VideoError, match=says):
        to_constant_rate(a_video([0.0, 0.1, 0.2, 0.3]), 10.0, start=start, frames=frames)


def test_a_recorded_variable_rate_becomes_even(tmp_path: Path) -> None:
    # 33 to 100 ms between frames, as phones and screen recorders do.
    gaps = [0, 33, 100, 67, 33, 33, 100, 67, 33, 100]
    times = torch.tensor(gaps).cumsum(0).double() / 1000
    frames = moving(10)
    path = write_clip(tmp_path / "vfr.mkv", frames, codec="ffv1", pixel_format="bgr0",
                      times=times.tolist())  # fmt: skip
    video = to_constant_rate(read_video(path), 30.0)
    for k in range(len(video.times)):
        shown = int((times <= k / 30 + 0.0016).nonzero().max())
        assert torch.equal(video.frames[k], frames[shown])


@pytest.mark.parametrize(("name", "suffix"), [("ffv1", ".mkv"), ("h264rgb", ".mp4")])
def test_lossless_encodings_are(tmp_path: Path, name: str, suffix: str) -> None:
    frames = moving(5, 33, 47)
    write_video(tmp_path / f"a{suffix}", frames, fps=23.976, encoding=name)
    video = read_video(tmp_path / f"a{suffix}")
    assert torch.equal(video.frames, frames)
    assert video.fps == pytest.approx(23.976, rel=1e-4)
    assert not ENCODINGS[name].lossy
    assert not video.codec.lossy


@pytest.mark.parametrize(("name", "suffix"), [("h264", ".mp4"), ("vp9", ".webm")])
def test_lossy_encodings_say_so(tmp_path: Path, name: str, suffix: str) -> None:
    frames = moving(6)
    write_video(tmp_path / f"a{suffix}", frames, fps=10, encoding=name)
    video = read_video(tmp_path / f"a{suffix}")
    assert video.codec.lossy
    assert ENCODINGS[name].lossy
    assert 24 < psnr(video.frames, frames) < 60


def test_the_same_frames_give_the_same_bytes() -> None:
    first, second = io.BytesIO(), io.BytesIO()
    for file in (first, second):
        encode_video(file, moving(6), fps=10, container="mp4")
    assert first.getvalue() == second.getvalue()


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    frames = moving(3)
    with pytest.raises(ValueError, match="takes even sizes, got 31x48"):
        write_video(tmp_path / "a.mp4", frames[:, :, 1:], fps=10)
    write_video(tmp_path / "a.mp4", frames[:, :, 1:], fps=10, pad=True)
    assert read_video(tmp_path / "a.mp4").frames.shape[2:] == (32, 48)
    with pytest.raises(ValueError, match=r"expected a suffix of \['.mkv'\]"):
        write_video(tmp_path / "a.mp4", frames, fps=10, encoding="ffv1")
    with pytest.raises(ValueError, match="expected one of"):
        write_video(tmp_path / "a.mp4", frames, fps=10, encoding="divx")
    with pytest.raises(TypeError, match="uint8"):
        write_video(tmp_path / "b.mp4", frames.float(), fps=10)
    with pytest.raises(ValueError, match=r"\[T, 3, H, W\]"):
        write_video(tmp_path / "b.mp4", frames[:, :1], fps=10)
    with pytest.raises(ValueError, match="fps"):
        write_video(tmp_path / "b.mp4", frames, fps=0)
    with pytest.raises(ValueError, match="at least 64, got 32x48"):
        write_video(tmp_path / "b.mp4", frames, fps=10, encoding="hevc")
    assert not (tmp_path / "b.mp4").exists()


def test_reencoding_comes_close_to_the_bits_of_a_clip(tmp_path: Path) -> None:
    g = torch.Generator().manual_seed(0)
    noise = (torch.rand(8, 3, 40, 48, generator=g) * 60).to(torch.uint8)
    frames = moving(8, 40, 48) // 2 + noise
    for crf in ("24", "38"):
        path = write_clip(tmp_path / f"{crf}.mp4", frames, options={"crf": crf})
        clip = read_video(path)
        found = reencode(frames, clip.codec, fps=10)
        assert found.encoding == "h264"
        assert found.bits_per_pixel == pytest.approx(clip.codec.bits_per_pixel, rel=0.25)
        # and so does about as much to the pixels
        assert psnr(found.frames, frames) == pytest.approx(psnr(clip.frames, frames), abs=1.5)


def test_the_floor_of_larger_clips_is_that_of_their_own_size(tmp_path: Path) -> None:
    """Compression at twice the size costs less once it is brought back."""
    frames = moving(12, 64, 64)
    large = resize_frames(frames, (128, 128))
    path = write_clip(tmp_path / "large.mp4", large, options={"crf": "36"})
    clip = read_video(path)
    seen = psnr(resize_frames(clip.frames, (64, 64)), frames)
    floor = reencode(frames, clip.codec, fps=10)
    assert floor.frames.shape == frames.shape
    assert psnr(floor.frames, frames) == pytest.approx(seen, abs=1.5)
    small = reencode(frames, replace(clip.codec, width=64, height=64), fps=10)
    assert psnr(small.frames, frames) < seen - 3
    turned = replace(clip.codec, width=128, height=96, rotation=90)
    upright = replace(turned, width=96, height=128, rotation=0)
    pair = [reencode(frames, facts, fps=10).frames for facts in (turned, upright)]
    assert bool((pair[0] == pair[1]).all())


def test_reencoding_keeps_odd_sizes_and_still_pictures() -> None:
    still = moving(1, 33, 47).expand(6, -1, -1, -1)
    facts = replace(FACTS, height=33, width=47)
    found = reencode(still, facts, fps=10)
    assert found.frames.shape == still.shape
    small = reencode(still, replace(facts, codec="hevc"), fps=10)
    assert small.encoding == "h264"
    assert psnr(found.frames, still) > 22


def test_reencoding_finds_the_bits_where_sizes_halve_unevenly() -> None:
    g = torch.Generator().manual_seed(0)
    noise = (torch.rand(9, 3, 64, 64, generator=g) * 255).to(torch.uint8)
    facts = replace(FACTS, codec="hevc", bits_per_pixel=0.3, height=64, width=64)
    found = reencode(noise, facts, fps=10)
    assert found.encoding == "hevc"
    assert found.bits_per_pixel == pytest.approx(0.3, rel=0.25)


def test_too_small_for_a_codec_is_stood_for() -> None:
    strip = moving(3, 2, 48)
    found = reencode(strip, replace(FACTS, codec="av1", height=2, width=48), fps=10)
    assert (found.encoding, found.frames.shape) == ("h264", strip.shape)
