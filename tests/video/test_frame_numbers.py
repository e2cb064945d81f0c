"""Which frame comes out: clips whose frames carry their number in their pixels."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from wmscore.episodes import ClipCut, cut_clip
from wmscore.video import VideoError, read_video, to_constant_rate

av = pytest.importorskip("av")
COUNT = 72


def numbered(count: int) -> Tensor:
    """`[T, 3, 32, 64]` uint8: frame t shows t in eight blocks, bright where a bit is 1."""
    bits = torch.arange(count)[:, None] >> torch.arange(8) & 1
    blocks = (20 + 215 * bits).to(torch.uint8).view(count, 1, 2, 4).expand(-1, 3, -1, -1)
    return blocks.repeat_interleave(16, 2).repeat_interleave(16, 3).contiguous()


def numbers(frames: Tensor) -> list[int]:
    bright = frames[:, 0, 8::16, 8::16].flatten(1) > 127
    return (bright.long() << torch.arange(8)).sum(1).tolist()


def write(path: Path, *, codec: str = "libx264", first: int = 0, ticks: int = 0,
          options: dict[str, str] | None = None, **container: str) -> Path:  # fmt: skip
    """`COUNT` numbered frames at 24 per second, the first at `first` frames."""
    with av.open(str(path), "w", options=container) as output:
        stream = output.add_stream(codec, rate=24)
        stream.height, stream.width, stream.pix_fmt = 32, 64, "yuv420p"
        stream.options = {"g": "12", **(options or {})}
        if ticks:
            stream.codec_context.time_base = Fraction(1, ticks)
        for t, picture in enumerate(numbered(COUNT).permute(0, 2, 3, 1).contiguous().numpy()):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.time_base = Fraction(1, ticks or 24)
            frame.pts = (t + first) * (ticks or 24) // 24
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path


CLIPS: dict[str, dict[str, Any]] = {
    "b-frames.mp4": {"options": {"bf": "3"}},
    "coarse.mp4": {"ticks": 24, "video_track_timescale": "24"},
    "coarse.avi": {"codec": "mpeg4"},
    "late.mkv": {"first": 240},
    "open.mp4": {"options": {"bf": "3", "g": "50", "x264-params": "open-gop=1"}},
    "no-index.ts": {"options": {"g": "50"}},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("numbered")
    for name, how in CLIPS.items():
        write(folder / name, **how)
    return folder


@pytest.mark.parametrize("name", CLIPS)
def test_the_frame_asked_for_comes_out(folder: Path, name: str) -> None:
    path = folder / name
    video = read_video(path)
    assert numbers(video.frames) == list(range(COUNT))
    assert numbers(to_constant_rate(video, 24.0).frames) == list(range(COUNT))
    assert numbers(to_constant_rate(video, 12.0).frames) == list(range(0, COUNT, 2))
    assert numbers(to_constant_rate(video, 48.0, frames=6).frames) == [0, 0, 1, 1, 2, 2]
    for t in (1, 25, 49, 50, 51, COUNT - 1):
        assert numbers(read_video(path, since=t / 24, frames=1).frames) == [t]
        assert numbers(read_video(path, until=t / 24).frames) == list(range(t))
    for resample in (False, True):
        for cut in (
            ClipCut(fps=24, offset=30 / 24, resample=resample),
            ClipCut(fps=24, start_frame=30, resample=resample),
        ):
            assert numbers(cut_clip(path, cut, start=2, frames=3).frames) == [32, 33, 34]


@pytest.mark.parametrize("name", ["open.mp4", "no-index.ts"])
def test_seeking_finds_frames_that_need_the_group_before(folder: Path, name: str) -> None:
    whole = read_video(folder / name)
    for t in range(36, 64):
        part = read_video(folder / name, since=t / 24, frames=1)
        assert torch.equal(part.frames, whole.frames[t : t + 1]), t


@pytest.mark.parametrize(("name", "index"), [("cut.mp4", "faststart"), ("cut.mkv", "")])
def test_what_is_readable_of_a_cut_file_has_no_holes(tmp_path: Path, name: str, index: str) -> None:
    # The decoder hands out later frames too whose neighbours are lost.
    path = write(tmp_path / name, options={"bf": "3"}, **({"movflags": index} if index else {}))
    data = path.read_bytes()
    for share in range(72, 94, 3):
        path.write_bytes(data[: len(data) * share // 100])
        with pytest.raises(VideoError) as caught:
            read_video(path)
        readable = caught.value.readable
        assert 0 < readable < COUNT
        assert numbers(read_video(path, frames=readable).frames) == list(range(readable))


def test_one_lost_frame_at_the_end_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "a.webm", codec="libvpx-vp9")
    with av.open(str(path)) as container:
        *_, last = (p for p in container.demux(video=0) if p.size)
        place = last.pos
    path.write_bytes(path.read_bytes()[:place])
    with pytest.raises(VideoError, match=f"{COUNT - 1} frames"):
        read_video(path)
    frames = numbered(4)
    with av.open(str(tmp_path / "a.gif"), "w") as output:
        stream = output.add_stream("gif", rate=10)
        stream.height, stream.width, stream.pix_fmt = 32, 64, "rgb8"
        for picture in frames.permute(0, 2, 3, 1).contiguous().numpy():
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode())
    path = tmp_path / "a.gif"
    assert numbers(read_video(path).frames) == [0, 1, 2, 3]
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(VideoError, match="end mark") as caught:
        read_video(path)
    readable = caught.value.readable
    assert numbers(read_video(path, frames=readable).frames) == list(range(readable))
