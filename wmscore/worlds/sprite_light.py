"""The shadow on the ground of `SpriteWorld`: it stays where it lies when the camera moves."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wmscore.worlds.lighting import SHADES, Light
from wmscore.worlds.protocol import Item
from wmscore.worlds.sprite_scene import TURN

__all__ = ["GroundShadow"]

# Waves over the torus, (across, down): slanting, about a view of shadow and a view of light, so
# that every view has an edge in it. Whole numbers, so that they close.
_WAVES = ((1, 2), (-1, 2), (2, 1), (-2, 1))
_EDGE = TURN // 32  # half of the soft edge


class GroundShadow:
    """Slanting bands of shadow over the torus of each row; all integers, as the world's pixels."""

    def __init__(
        self, light: Light, items: Sequence[Item], torus: tuple[int, int], device: torch.device
    ) -> None:
        """Draw by scenario where the bands lie on a torus of (height, width)."""
        self.torus = torus
        bands = []
        for item in items:
            draws = light.draws(item)
            bands.append((*_WAVES[draws.randrange(len(_WAVES))], draws.randrange(TURN)))
        across, down, offset = torch.tensor(bands, device=device).unbind(1)
        self._across, self._down = across[:, None], down[:, None]
        self._offset = offset[:, None, None]

    def level(self, y: Tensor, x: Tensor) -> Tensor:
        """Level of shadow 0..`SHADES`, `[B, H, W]`, at lines `y` `[B, H]` and columns `x`."""
        height, width = self.torus
        phase = (y * self._down * TURN // height)[:, :, None]
        phase = phase + (x * self._across * TURN // width)[:, None] + self._offset
        away = (phase % TURN - TURN // 2).abs()  # from the middle of the band of light
        return ((away - TURN // 4 + _EDGE) * SHADES // (2 * _EDGE)).clamp(0, SHADES)
