"""JPEG as a disturbance."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from wmscore.testing.disturbances.base import Disturbance
from wmscore.video import jpeg_loss

__all__ = ["Jpeg"]


@dataclass(frozen=True)
class Jpeg(Disturbance):
    """Each frame is coded as a baseline JPEG of `quality` 1..100 and decoded again (`jpeg_loss`).

    Frames are taken to be in whole levels, and come out so.
    """

    quality: int

    def __post_init__(self) -> None:
        """Check the quality."""
        q = self.quality
        if isinstance(q, bool) or not isinstance(q, int) or not 1 <= q <= 100:
            raise ValueError(f"quality: expected an integer in 1..100, got {q!r}")

    @property
    def name(self) -> str:
        """With the quality."""
        return f"jpeg-{self.quality}"

    def change(self, pixels: Tensor, key: Tensor) -> Tensor:
        """Code and decode.

        Raises:
            ValueError: the frames do not have three channels.
        """
        return jpeg_loss(pixels, self.quality)
