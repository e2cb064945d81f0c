"""Decoding: every pixel and time that a file has, and an error where it has fewer than it says."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.clip_files import cut_off, lossless, moving, psnr, write_clip
from wmscore.video import (
    VideoError,
    ahead,
    in_background,
    read_video,
    stored_facts,
    torchcodec_lack,
)

pytest.importorskip("av")
FRAMES = moving(24)
FAST_START = {"movflags": "faststart"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    lossless(folder / "exact.mkv", FRAMES)
    write_clip(folder / "rgb.mp4", FRAMES, codec="libx264rgb", pixel_format="rgb24",
               options={"crf": "0"})  # fmt: skip
    write_clip(folder / "lossy.mp4", FRAMES, container=FAST_START, options={"g": "6"})
    write_clip(folder / "late-index.mp4", FRAMES)
    write_clip(folder / "no-count.webm", FRAMES, codec="libvpx-vp9")
    write_clip(folder / "sound.mp4", FRAMES, audio=True)
    write_clip(folder / "deep.mp4", FRAMES, pixel_format="yuv420p10le")
    odd = moving(5, 33, 47)
    write_clip(folder / "odd.mp4", odd, pixel_format="yuv444p")
    return folder


@pytest.mark.parametrize("name", ["exact.mkv", "rgb.mp4"])
def test_lossless_files_give_every_pixel_back(folder: Path, name: str) -> None:
    video = read_video(folder / name)
    assert torch.equal(video.frames, FRAMES)
    assert not video.codec.lossy
    torch.testing.assert_close(video.times, torch.arange(24).double() / 10, atol=1e-3, rtol=0)
    assert video.constant_rate
    assert video.measured_fps == pytest.approx(10, rel=1e-2)


@pytest.mark.parametrize("name", ["lossy.mp4", "no-count.webm", "sound.mp4", "deep.mp4"])
def test_lossy_files_give_all_frames_nearly(folder: Path, name: str) -> None:
    video = read_video(folder / name)
    assert video.frames.shape == FRAMES.shape
    assert video.codec.lossy
    assert psnr(video.frames, FRAMES) > 24
    assert video.codec.audio == (name == "sound.mp4")
    assert video.codec.fps == 10


def test_odd_sizes_are_read_as_they_are(folder: Path) -> None:
    assert read_video(folder / "odd.mp4").frames.shape == (5, 3, 33, 47)


def test_bits_per_pixel_are_those_of_the_packets(folder: Path) -> None:
    size = (folder / "exact.mkv").stat().st_size
    bits = read_video(folder / "exact.mkv").codec.bits_per_pixel
    assert 0.8 * size < bits * FRAMES[:, 0].numel() / 8 < size
    assert stored_facts(folder / "exact.mkv") == read_video(folder / "exact.mkv").codec


@pytest.mark.parametrize("name", ["exact.mkv", "lossy.mp4", "no-count.webm"])
def test_parts_are_the_same_frames(folder: Path, name: str) -> None:
    whole = read_video(folder / name)
    part = read_video(folder / name, start=3, frames=7)
    assert torch.equal(part.frames, whole.frames[3:10])
    assert torch.equal(part.times, whole.times[3:10])
    part = read_video(folder / name, since=1.3, until=1.8)
    assert torch.equal(part.frames, whole.frames[13:18])
    part = read_video(folder / name, since=1.3, start=2, frames=4)
    assert torch.equal(part.frames, whole.frames[15:19])


def test_variable_rates_come_with_their_own_times(tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.35, 0.4, 0.9]
    path = write_clip(tmp_path / "vfr.mkv", FRAMES[:5], codec="ffv1", pixel_format="bgr0",
                      times=times)  # fmt: skip
    video = read_video(path)
    torch.testing.assert_close(video.times, torch.tensor(times).double(), atol=1.5e-3, rtol=0)
    assert not video.constant_rate
    assert torch.equal(video.frames, FRAMES[:5])


@pytest.mark.parametrize("matrix", [1, 5])  # BT.709 and BT.601
def test_the_colour_matrix_that_the_file_names_is_used(tmp_path: Path, matrix: int) -> None:
    # FFmpeg converts to the matrix that the encoder is told about only if asked to, so that the
    # pixels written here are BT.601 whatever the tag says: read as BT.709 they must differ.
    flat = torch.tensor([200, 60, 30], dtype=torch.uint8).view(1, 3, 1, 1).expand(3, 3, 32, 32)
    path = write_clip(tmp_path / "a.mp4", flat.contiguous(), matrix=matrix,
                      options={"crf": "1"})  # fmt: skip
    off = (read_video(path).frames.short() - flat.short()).abs().max()
    assert off <= 4 if matrix == 5 else off > 8


def test_rotation_is_applied(folder: Path, tmp_path: Path) -> None:
    data = bytearray((folder / "late-index.mp4").read_bytes())
    identity = bytes.fromhex("00010000" + "00" * 12 + "00010000" + "00" * 12 + "40000000")
    turned = bytes.fromhex(
        "00000000" + "00010000" + "00000000" + "ffff0000" + "00" * 16 + "40000000"
    )
    place = data.index(identity, data.index(b"tkhd"))
    data[place : place + 36] = turned
    path = tmp_path / "turned.mp4"
    path.write_bytes(data)
    plain, video = read_video(folder / "late-index.mp4"), read_video(path)
    assert video.codec.rotation == 270
    # Players turn this one clockwise: what was on the left is on top.
    assert torch.equal(video.frames, plain.frames.rot90(-1, (2, 3)))


# ---- bad files -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("lossy.mp4", "expected 24 frames by its header"),
        ("no-count.webm", "expected 2.4 s by its header"),
        ("exact.mkv", "expected 2.4 s by its header"),
        ("late-index.mp4", "cannot be opened as a video"),
    ],
)
def test_truncated_files_say_what_is_there(
    folder: Path, tmp_path: Path, name: str, says: str
) -> None:
    whole = read_video(folder / name)
    path = cut_off(folder / name, tmp_path / name)
    with pytest.raises(VideoError, match=says) as caught:
        read_video(path)
    readable = caught.value.readable
    assert str(path) in str(caught.value)
    if name == "late-index.mp4":
        assert readable == 0
        return
    assert 0 < readable < 24
    part = read_video(path, frames=readable)
    assert torch.equal(part.frames, whole.frames[:readable])
    with pytest.raises(VideoError):
        read_video(path, frames=24)


def test_damaged_frames_are_not_patched_up(tmp_path: Path) -> None:
    # FFmpeg goes on after most damage, with what it makes of the picture, and marks it.
    import av

    whole = moving(24, 64, 96)
    data = write_clip(tmp_path / "whole.mp4", whole, options={"g": "8"}).read_bytes()
    path, patched = tmp_path / "bad.mp4", 0
    for start in range(len(data) // 5, len(data) * 3 // 5, len(data) // 12):
        bad = bytes(b ^ 0x5A for b in data[start : start + 30])
        path.write_bytes(data[:start] + bad + data[start + 30 :])
        marked = []
        try:
            with av.open(str(path)) as container:
                marked = [frame.is_corrupt for frame in container.decode(video=0)]
        except av.FFmpegError:
            continue
        if any(marked):
            patched += 1
            with pytest.raises(VideoError, match="a frame is damaged") as caught:
                read_video(path, threads=1)
            assert caught.value.readable <= marked.index(True)
            if caught.value.readable:
                assert len(read_video(path, frames=caught.value.readable).times)
    assert patched


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="there is none"):
        read_video(tmp_path / "absent.mp4")
    (tmp_path / "empty.mp4").write_bytes(b"")
    with pytest.raises(VideoError, match=r"cannot be opened as a video .* 0 bytes"):
        read_video(tmp_path / "empty.mp4")
    (tmp_path / "text.mp4").write_text("no video at all, only words\n" * 40)
    with pytest.raises(VideoError, match=r"cannot be opened|expected a video stream"):
        read_video(tmp_path / "text.mp4")


def test_bad_ranges_are_refused(folder: Path) -> None:
    path = folder / "exact.mkv"
    for bad in ({"start": -1}, {"frames": 0}, {"since": 2.0, "until": 1.0}):
        with pytest.raises(ValueError, match="expected"):
            read_video(path, **bad)  # type: ignore[arg-type]
    with pytest.raises(VideoError, match="expected at least 30 frames, got 24") as caught:
        read_video(path, frames=30)
    assert caught.value.readable == 24
    with pytest.raises(VideoError, match="from 9 s to the end"):
        read_video(path, since=9.0)
    with pytest.raises(ValueError, match="backend"):
        read_video(path, backend="cv2")  # type: ignore[arg-type]


# ---- torchcodec ------------------------------------------------------------------------------


@pytest.mark.skipif(bool(torchcodec_lack()), reason=torchcodec_lack() or "-")
@pytest.mark.parametrize("name", ["exact.mkv", "lossy.mp4", "no-count.webm", "sound.mp4"])
def test_torchcodec_gives_the_same(folder: Path, name: str) -> None:
    for part in ({}, {"start": 3, "frames": 7}, {"since": 1.3, "until": 1.8}):
        a = read_video(folder / name, backend="torchcodec", **part)  # type: ignore[arg-type]
        b = read_video(folder / name, backend="pyav", **part)  # type: ignore[arg-type]
        assert torch.equal(a.frames, b.frames)
        torch.testing.assert_close(a.times, b.times)


@pytest.mark.skipif(bool(torchcodec_lack()), reason=torchcodec_lack() or "-")
def test_torchcodec_refuses_what_it_would_round_otherwise(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="more than 8 bits"):
        read_video(folder / "deep.mp4", backend="torchcodec")
    with pytest.raises(VideoError, match="24 frames by its header"):
        read_video(cut_off(folder / "lossy.mp4", tmp_path / "a.mp4"), backend="torchcodec")


@pytest.mark.skipif(not torchcodec_lack(), reason="torchcodec is here")
def test_without_torchcodec_asking_for_it_says_what_is_missing(folder: Path) -> None:
    with pytest.raises(ImportError, match="torchcodec"):
        read_video(folder / "exact.mkv", backend="torchcodec")


# ---- several at once -------------------------------------------------------------------------


def test_ahead_keeps_order_and_bounds_what_waits() -> None:
    begun: list[int] = []

    def work(n: int) -> int:
        begun.append(n)
        time.sleep(0.002 * (n % 3))
        return n * n

    results = ahead(work, range(40), workers=3, depth=2)
    for n, result in enumerate(results):
        assert result == n * n
        assert len(begun) <= n + 1 + 3 + 2


def test_ahead_passes_errors_on_in_their_turn_and_stops() -> None:
    begun: list[int] = []

    def work(n: int) -> int:
        begun.append(n)
        if n == 5:
            raise ValueError("five")
        return n

    results = ahead(work, range(1000), workers=2, depth=1)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="five"):
        next(results)
    assert len(begun) < 12


def test_background_batches_keep_order_and_errors() -> None:
    made: list[int] = []

    def batches() -> Iterator[int]:
        for n in range(6):
            made.append(n)
            yield n
        raise RuntimeError("no more")

    found = in_background(batches(), depth=2)
    for n in range(6):
        assert next(found) == n
        time.sleep(0.01)
        assert len(made) <= n + 4
    with pytest.raises(RuntimeError, match="no more"):
        next(found)
    early = in_background(iter(range(1000)), depth=1)
    assert next(early) == 0
    early.close()  # type: ignore[attr-defined]
