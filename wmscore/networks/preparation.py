"""From stored frames to what a network takes: number type, size, range and normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

__all__ = ["NORMALIZATIONS", "Preparation"]

NORMALIZATIONS = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "kinetics": ((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)),
    "half": ((0.5,), (0.5,)),
}
"""Mean and standard deviation per channel, of frames in 0..1, as networks were trained with."""

_RESIZE = ("bilinear", "bicubic")
_FRAME_DTYPES = (torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64)

Normalization = str | tuple[float | Sequence[float], float | Sequence[float]] | None


@dataclass(frozen=True)
class Preparation:
    """What happens to frames before a network sees them: all of it stated, nothing else.

    In this order: float, resize, range, normalise. Resizing averages over the pixels that it drops
    (antialiasing), works on floats, and neither keeps the aspect ratio nor cuts off what a bicubic
    filter overshoots.

    Attributes:
        size: height and width in pixels, or None for frames as they come.
        resize: "bilinear" or "bicubic".
        value_range: what black and white become, before the normalisation.
        mean: subtracted from each channel; one value stands for all channels.
        std: divided by after that.
        min_size: smallest side in pixels that is let through, after resizing.
    """

    size: tuple[int, int] | None
    resize: str
    value_range: tuple[float, float]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    min_size: int

    @classmethod
    def of(
        cls,
        size: int | tuple[int, int] | None,
        resize: str,
        value_range: tuple[float, float],
        normalize: Normalization,
        min_size: int,
    ) -> Preparation:
        """Check and complete what a user says."""
        sides = None if size is None else (size, size) if isinstance(size, int) else tuple(size)
        if sides is not None and (
            len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides)
        ):
            raise ValueError(f"size must be None, pixels or (height, width), got {size!r}")
        if resize not in _RESIZE:
            raise ValueError(f"resize must be one of {', '.join(_RESIZE)}, got {resize!r}")
        low, high = value_range
        if not low < high:
            raise ValueError(f"value_range must be (black, white), ascending, got {value_range!r}")
        mean, std = _mean_and_std(normalize)
        return cls(sides, resize, (float(low), float(high)), mean, std, min_size)

    def describe(self) -> dict[str, Any]:
        """The same as plain values, for a record."""
        return {
            "size": None if self.size is None else list(self.size),
            "resize": None if self.size is None else f"{self.resize}, antialiased",
            "value_range": list(self.value_range),
            "mean": list(self.mean),
            "std": list(self.std),
            "min_size": self.min_size,
        }

    def check(self, frames: Tensor, name: str) -> None:
        """Refuse frames `[..., C, H, W]` that this does not fit."""
        if not isinstance(frames, Tensor):
            raise TypeError(f"frames must be a torch.Tensor, got {type(frames).__name__}")
        if frames.dtype not in _FRAME_DTYPES:
            raise TypeError(
                f"frames must be uint8 (0..255) or floating point (0..1), got {frames.dtype}"
            )
        channels, height, width = frames.shape[-3:]
        known = max(len(self.mean), len(self.std))
        if known > 1 and channels != known:
            raise ValueError(
                f"encoder {name}: normalize has {known} channels, got frames of {channels}: "
                f"{tuple(frames.shape)}"
            )
        if self.size is None and min(height, width) < self.min_size:
            raise ValueError(
                f"encoder {name}: frames must be at least {self.min_size} x {self.min_size} "
                f"pixels, got {height} x {width}; size=(height, width) resizes them"
            )

    def side(self, frames: Tensor) -> tuple[int, int]:
        """Height and width that the network gets."""
        return self.size or (frames.shape[-2], frames.shape[-1])

    def __call__(self, frames: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Frames `[n, C, H, W]`, moved to a device as they are stored and prepared there."""
        working = torch.float64 if dtype == torch.float64 else torch.float32
        white = 255 if frames.dtype == torch.uint8 else 1
        prepared = frames.to(device, non_blocking=True).to(working)
        if self.size is not None and self.size != tuple(frames.shape[-2:]):
            prepared = interpolate(prepared, self.size, mode=self.resize, antialias=True)
        low, high = self.value_range
        scale = tuple((high - low) / white / std for std in self.std)
        shift = tuple((low - mean) / std for mean, std in zip(self.mean, self.std, strict=True))
        if set(scale) != {1.0} or set(shift) != {0.0}:
            prepared = torch.addcmul(
                _per_channel(shift, device, working), prepared, _per_channel(scale, device, working)
            )
        return prepared.to(dtype)


@lru_cache(maxsize=64)
def _per_channel(values: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Constants `[C, 1, 1]`, copied to a device once: a copy for each chunk would wait for it."""
    with torch.inference_mode(False):  # else autograd could not use them later
        return torch.tensor(values, dtype=dtype, device=device).reshape(-1, 1, 1)


def _mean_and_std(normalize: Normalization) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if normalize is None:
        return (0.0,), (1.0,)
    if isinstance(normalize, str):
        if normalize not in NORMALIZATIONS:
            raise ValueError(
                f"normalize must be one of {', '.join(NORMALIZATIONS)}, (mean, std) or None, "
                f"got {normalize!r}"
            )
        return NORMALIZATIONS[normalize]
    if not isinstance(normalize, tuple) or len(normalize) != 2:
        raise ValueError(f"normalize must be a name, (mean, std) or None, got {normalize!r}")
    mean, std = (_values(part) for part in normalize)
    if len(mean) != len(std) or min(std) <= 0:
        raise ValueError(
            f"normalize must have a mean and a positive std for each channel, got {mean} and {std}"
        )
    return mean, std


def _values(part: float | Sequence[float]) -> tuple[float, ...]:
    return (float(part),) if isinstance(part, int | float) else tuple(map(float, part))
