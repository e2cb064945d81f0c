"""A disturbance that moves pixels: a camera that trembles."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wmscore.testing.disturbances.base import Disturbance
from wmscore.worlds.sprite_art import below, draw

__all__ = ["Jitter"]


@dataclass(frozen=True)
class Jitter(Disturbance):
    """Each frame is moved by up to `pixels` along each axis, its border repeated.

    The shift is drawn per step, from all (2 pixels + 1)^2 alike. Labels are what the disturbed
    model itself shows, so they move along.
    """

    pixels: int = 1

    def __post_init__(self) -> None:
        """Check the reach."""
        if isinstance(self.pixels, bool) or not isinstance(self.pixels, int) or self.pixels < 1:
            raise ValueError(f"pixels: expected an integer of at least 1, got {self.pixels!r}")

    @property
    def name(self) -> str:
        """With the reach."""
        return f"jitter-{self.pixels}"

    def change(self, pixels: Tensor, key: Tensor) -> Tensor:
        """Move the frames."""
        y, x = self._source(pixels, key)
        frame = torch.arange(len(pixels), device=pixels.device)[:, None, None, None]
        channel = torch.arange(pixels.shape[1], device=pixels.device)[:, None, None]
        return pixels[frame, channel, y[:, None, :, None], x[:, None, None]]

    def change_labels(self, labels: Tensor, key: Tensor) -> Tensor:
        """Move the labels by the same."""
        y, x = self._source(labels, key)
        frame = torch.arange(len(labels), device=labels.device)[:, None, None]
        return labels[frame, y[:, :, None], x[:, None]]

    def _source(self, images: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """Row `[F, H]` and column `[F, W]` that each pixel comes from."""
        places = []
        for axis, size in enumerate(images.shape[-2:]):
            shift = below(draw(key[:, None], axis), 2 * self.pixels + 1) - self.pixels
            place = torch.arange(size, device=images.device) - shift
            places.append(place.clamp(0, size - 1))
        return places[0], places[1]
