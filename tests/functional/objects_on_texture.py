"""Rollouts with textured discs on a smooth background, for tests of identity from pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

RED, GREEN, BLUE, YELLOW = (220, 50, 40), (40, 190, 70), (50, 80, 230), (235, 215, 40)


@dataclass(frozen=True)
class Disc:
    """A disc with stripes, standing or lying, of its colour and a darker one."""

    name: int
    colour: tuple[int, int, int]
    start: tuple[float, float]  # middle at step 0, (down, right)
    speed: tuple[float, float] = (0, 0)
    radius: float = 6
    stripe: int = 3
    lying: bool = False


def background(size: int = 64, seed: int = 0, contrast: float = 40) -> Tensor:
    """``[3, size, size]`` float in 0..255, smooth."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, size // 8, size // 8, generator=draw)
    wide = interpolate(coarse, size=(size, size), mode="bicubic", align_corners=False)[0]
    return 100 + contrast * (wide - 0.5)


def video(
    discs: Sequence[Disc], steps: int = 8, size: int = 64, ground: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Frames ``[1, steps, 3, size, size]`` uint8 and labels ``[1, steps, size, size]``."""
    ground = background(size) if ground is None else ground
    y, x = torch.arange(size)[:, None], torch.arange(size)
    frames = ground.expand(steps, -1, -1, -1).clone()
    labels = torch.zeros(steps, size, size, dtype=torch.int64)
    for t in range(steps):
        for disc in discs:
            top, left = (round(p + t * v) for p, v in zip(disc.start, disc.speed, strict=True))
            inside = (y - top) ** 2 + (x - left) ** 2 <= disc.radius**2
            dark = ((((y - top if disc.lying else x - left) + 60) // disc.stripe) % 2 == 1) & inside
            colour = torch.tensor(disc.colour).float()[:, None, None]
            frames[t] = torch.where(inside, torch.where(dark, 0.5 * colour, colour), frames[t])
            labels[t] = torch.where(inside, disc.name, labels[t])
    return frames.round().clamp(0, 255).to(torch.uint8)[None], labels[None]


def three(steps: int = 8) -> list[Disc]:
    return [
        Disc(3, RED, (16, 14), (1, 1)),
        Disc(7, GREEN, (44, 20), (-1, 2)),
        Disc(9, BLUE, (20, 46), (2, 0)),
    ]
