"""Frames for benchmarks: seeded noise with the spectrum of photographs, and a distorted copy."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["frame_pairs"]

_DISTINCT = 16  # frames; more of them are shifted copies


def frame_pairs(
    count: int, height: int, width: int, device: str | torch.device = "cpu"
) -> tuple[Tensor, Tensor]:
    """Generated and reference frames `[count, 3, height, width]` uint8, contiguous.

    The amplitude falls as 1/f^1.2 and the channels correlate. The copy drifts as rollouts do: blur,
    noise and brightness grow from frame to frame. The same bytes for the same arguments.
    """
    generator = torch.Generator().manual_seed(0)
    distinct = min(count, _DISTINCT)
    target = _natural(distinct, height, width, generator)
    amount = torch.linspace(0, 1, distinct).view(-1, 1, 1, 1)
    blurred = torch.nn.functional.avg_pool2d(
        target, 3, stride=1, padding=1, count_include_pad=False
    )
    noise = torch.randn(target.shape, generator=generator)
    preds = target + amount * (blurred - target) + (1 + 9 * amount) * noise + 6 * amount
    pair = (x.round().clamp(0, 255).to(torch.uint8).to(device) for x in (preds, target))
    return tuple(_repeated(x, count) for x in pair)  # type: ignore[return-value]


def _natural(count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    fy, fx = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None, :]
    amplitude = (fy**2 + fx**2).sqrt().clamp_min(1 / max(height, width)) ** -1.2
    white = torch.randn(count, 3, height, width, generator=generator)
    white = 0.8 * white[:, :1] + 0.6 * white
    field = torch.fft.irfft2(torch.fft.rfft2(white) * amplitude, s=(height, width))
    return 128 + 48 * field / field.std((2, 3), keepdim=True)


def _repeated(frames: Tensor, count: int) -> Tensor:
    rounds = range(-(-count // len(frames)))
    return torch.cat([frames.roll(7 * shift, -1) for shift in rounds])[:count].contiguous()
