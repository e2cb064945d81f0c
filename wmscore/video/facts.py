"""What a video file is, and what its codec did to the pixels."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

__all__ = ["CodecFacts", "Video", "VideoError", "is_lossy"]

# Codecs that give back what they were given, as long as that was RGB.
_EXACT = ("ffv1", "png", "apng", "huffyuv", "ffvhuff", "utvideo", "magicyuv", "qtrle", "rawvideo")
_RGB = ("rgb", "bgr", "gbr", "argb", "abgr", "0rgb", "0bgr")


class VideoError(ValueError):
    """A video cannot be read, or not whole.

    Attributes:
        readable: how many frames from its start could be decoded.
    """

    def __init__(self, message: str, readable: int = 0) -> None:
        """Say what was expected and what came."""
        super().__init__(message)
        self.readable = readable


@dataclass(frozen=True, kw_only=True)
class CodecFacts:
    """How a video is stored.

    Attributes:
        container: format of the file, such as `mov,mp4,m4a,3gp,3g2,mj2`.
        codec: such as `h264`.
        pixel_format: such as `yuv420p`.
        width: of a stored frame, before it is turned by `rotation`.
        height: likewise.
        fps: frames per second on average, by the header.
        bits_per_pixel: size of the video's packets by pixels shown, of the frames that were read.
        lossy: pixels are not those that were encoded, as far as the file tells.
        rotation: degrees by which players turn the picture counterclockwise: 0, 90, 180 or 270.
        audio: there is sound, which is ignored.
    """

    container: str
    codec: str
    pixel_format: str
    width: int
    height: int
    fps: float
    bits_per_pixel: float
    lossy: bool
    rotation: int = 0
    audio: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> CodecFacts:
        """What `as_dict` gave."""
        return cls(**data)


@dataclass(frozen=True, kw_only=True, eq=False)
class Video:
    """Decoded frames.

    Attributes:
        frames: `[T, 3, H, W]` uint8, RGB, turned upright.
        times: `[T]` float64, seconds at which each is shown, from the start of the video stream.
        fps: frames per second on average, by the header; what to trust is `times`.
        tick: seconds, the grain to which the file rounds its times.
        codec: how it was stored.
        notes: what was done to it since, one sentence each.
    """

    frames: Tensor
    times: Tensor
    fps: float
    tick: float
    codec: CodecFacts
    notes: tuple[str, ...] = ()

    @property
    def constant_rate(self) -> bool:
        """All frames are shown equally long, up to the grain of the file's times."""
        if len(self.times) < 3:
            return True
        gaps = self.times.diff()
        slack = min(2.5 * self.tick, 0.5 * float(gaps.median()))
        return bool((gaps.max() - gaps.min()) <= slack)

    @property
    def measured_fps(self) -> float:
        """Frames per second by `times`; `fps` where there is but one."""
        if len(self.times) < 2:
            return self.fps
        return (len(self.times) - 1) / float(self.times[-1] - self.times[0])

    def span(self, start: int, stop: int, fps: float) -> Video:
        """Frames `start .. stop - 1`, without a copy, with times from the first of them on."""
        times = self.times[start:stop]
        return replace(self, frames=self.frames[start:stop], times=times - times[:1], fps=fps)

    def select(self, index: Tensor, times: Tensor, fps: float, *notes: str) -> Video:
        """The chosen frames at other times."""
        return replace(
            self,
            frames=self.frames[index.to(self.frames.device)],
            times=times.to(torch.float64),
            fps=fps,
            notes=self.notes + notes,
        )


def is_lossy(codec: str, pixel_format: str, first_packet: bytes = b"") -> bool:
    """Whether RGB pixels that were encoded so come back changed, as far as one can tell.

    A codec without loss still changes RGB where it stores another kind of colour. x264 writes its
    settings into the first packet; without loss it says `qp=0`.
    """
    if not pixel_format.startswith(_RGB):
        return True
    if codec == "h264":
        return not (b"x264 - core" in first_packet and re.search(rb" qp=0\b", first_packet))
    return codec not in _EXACT
