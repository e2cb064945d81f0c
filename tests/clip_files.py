"""Small videos for tests, written by PyAV directly rather than by what is tested."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor


def moving(frames: int = 12, height: int = 32, width: int = 48, seed: int = 0) -> Tensor:
    """`[T, 3, H, W]` uint8: coloured blocks that move over a coloured background."""
    g = torch.Generator().manual_seed(seed)
    back = (torch.rand(3, height // 8 + 1, width // 8 + 1, generator=g) * 200).to(torch.uint8)
    back = back.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, :height, :width]
    video = back.repeat(frames, 1, 1, 1)
    for t in range(frames):
        left = 2 * t % (width - 8)
        video[t, :, 8:16, left : left + 8] = torch.tensor([250, 40, 90]).view(3, 1, 1)
    return video.to(torch.uint8)


def write_clip(
    path: Path,
    frames: Tensor,
    *,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    fps: float = 10,
    times: Sequence[float] | None = None,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    audio: bool = False,
    matrix: int | None = None,
) -> Path:
    """Write a clip; `times` in seconds make its rate variable."""
    import av
    import numpy as np

    with av.open(str(path), "w", options=container or {}) as output:
        stream = output.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
        stream.height, stream.width = frames.shape[2:]
        stream.pix_fmt, stream.options = pixel_format, options or {}
        if matrix is not None:
            stream.codec_context.colorspace = matrix
        sound = output.add_stream("aac", rate=16000, layout="mono") if audio else None
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for i, picture in enumerate(frames.permute(0, 2, 3, 1).contiguous().numpy()):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = round(times[i] * 1000), Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
        if sound is not None:
            samples = np.zeros((1, 16000), dtype=np.float32)
            wave = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            wave.sample_rate = 16000
            output.mux(sound.encode(wave))
            output.mux(sound.encode())
    return path


def lossless(path: Path, frames: Tensor, *, fps: float = 10) -> Path:
    """A clip that keeps every pixel."""
    return write_clip(path, frames, codec="ffv1", pixel_format="bgr0", fps=fps)


def cut_off(source: Path, path: Path, share: float = 0.8) -> Path:
    """The first bytes of a file."""
    data = source.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def psnr(a: Tensor, b: Tensor) -> float:
    """Over all values, dB."""
    return float(10 * torch.log10(255.0**2 / (a.float() - b.float()).square().mean()))
