"""`Light`: another light on a world, of a simulator's own or put on the frames that it renders."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from wmscore.worlds.protocol import Item, WorldModel

__all__ = ["SHADES", "Light", "Relightable", "look_up"]

SHADES = 64
"""Levels of a soft shadow, from none (0) to full (`SHADES`)."""


@dataclass(frozen=True, kw_only=True)
class Light:
    """What is changed of a world's light.

    Attributes:
        exposure: stops; +1 is twice the light.
        warmth: stops of red over blue.
        shadow: share of the light that a soft shadow takes where it lies, 0..1.
        key: what is drawn (where the shadow lies) depends on this text and the scenario's id.
    """

    exposure: float = 0.0
    warmth: float = 0.0
    shadow: float = 0.0
    key: str = ""

    @property
    def gains(self) -> tuple[float, float, float]:
        """Factors of red, green and blue light."""
        exposure, warmth = self.exposure, self.warmth
        return 2.0 ** (exposure + warmth / 2), 2.0**exposure, 2.0 ** (exposure - warmth / 2)

    def draws(self, item: Item) -> random.Random:
        """What draws a scenario's choices: the same for all of its seeds, scripts and rungs."""
        return random.Random(f"{self.key}/{item.scenario_id}")

    def table(self) -> Tensor:
        """What a uint8 value becomes: `[SHADES + 1, 3, 256]` uint8, by level of shadow and channel.

        Light is scaled in linear light: the sRGB curve of IEC 61966-2-1 is undone before and done
        after. What goes beyond white is cut there, as a camera does. On the host, so that every
        device looks up the same numbers.
        """
        levels = torch.arange(256, dtype=torch.float64) / 255
        shade = torch.arange(SHADES + 1, dtype=torch.float64) / SHADES
        lit = self.lit(levels.expand(SHADES + 1, 3, 256), shade[:, None, None], channel=1)
        return (lit * 255).round().to(torch.uint8)

    def lit(self, value: Tensor, shade: Tensor | float = 0.0, *, channel: int) -> Tensor:
        """Values in [0, 1] under the light, where the shadow lies as far as `shade` says."""
        shape = [1] * value.dim()
        shape[channel] = 3
        gains = torch.tensor(self.gains, dtype=value.dtype, device=value.device).view(shape)
        return _to_srgb(_to_linear(value) * gains * (1 - self.shadow * shade))


@runtime_checkable
class Relightable(WorldModel, Protocol):
    """A world that can be rendered under another light, such as `SpriteWorld`.

    Its `own_light`, where it has one, names the fields of `Light` that it draws otherwise than as a
    function of the frames: stressors then leave them to it.
    """

    def relit(self, light: Light) -> WorldModel:
        """The same world under `light`: what happens in it stays.

        Raises:
            ValueError: this simulator cannot render such a light.
        """
        ...


def look_up(table: Tensor, values: Tensor, shade: Tensor | None) -> Tensor:
    """`Light.table` at uint8 `[B, 3, H, W]`; `shade` `[B, H, W]` int64 is the level of shadow."""
    rows = 0 if shade is None else 256 * shade
    out = torch.empty_like(values)
    for channel in range(3):  # one at a time: indices are eight times the pixels
        out[:, channel] = table[:, channel].flatten()[values[:, channel].long() + rows]
    return out


def half_plane(light: Light, item: Item, height: int, width: int) -> Tensor:
    """A soft shadow over half of the picture, `[height, width]` float64 in [0, 1], on the host."""
    draws = light.draws(item)
    angle, offset = draws.uniform(0, 2 * math.pi), draws.uniform(-0.3, 0.3)
    y = torch.linspace(-1, 1, height, dtype=torch.float64)[:, None]
    x = torch.linspace(-1, 1, width, dtype=torch.float64)
    across = x * math.cos(angle) + y * math.sin(angle) - offset
    return ((across + 0.1) / 0.2).clamp(0, 1)


def _to_linear(value: Tensor) -> Tensor:
    low = value <= 0.04045
    return torch.where(low, value / 12.92, ((value.clamp_min(0) + 0.055) / 1.055) ** 2.4)


def _to_srgb(light: Tensor) -> Tensor:
    low = light <= 0.0031308
    curve = 1.055 * light.clamp_min(0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(low, 12.92 * light, curve).clamp(0, 1)
