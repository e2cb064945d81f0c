"""Disturbances that change values and leave places: gain, bias, gamma, blur, noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from wmscore.testing.disturbances.base import Disturbance
from wmscore.worlds.sprite_art import draw

__all__ = ["Bias", "Blur", "Gain", "Gamma", "Noise"]

_UNITS = 4096  # blur weights are whole numbers that add up to this
_FINE = 16  # parts of a level that are kept between the two directions of a blur
_BYTES = 4  # a normal draw is the sum of so many uniform bytes


@dataclass(frozen=True)
class Gain(Disturbance):
    """Every value times `factor`."""

    factor: float

    def __post_init__(self) -> None:
        """Check the factor."""
        _check("factor", self.factor, above=0)

    @property
    def name(self) -> str:
        """With the factor."""
        return f"gain-{self.factor:g}"

    def change(self, pixels: Tensor, key: Tensor) -> Tensor:
        """Multiply."""
        return pixels * self.factor


@dataclass(frozen=True)
class Bias(Disturbance):
    """`levels` of 0..255 are added to every value."""

    levels: float

    def __post_init__(self) -> None:
        """Check the levels."""
        _check("levels", self.levels, above=-256)

    @property
    def name(self) -> str:
        """With the levels."""
        return f"bias-{self.levels:g}"

    def change(self, pixels: Tensor, key: Tensor) -> Tensor:
        """Add."""
        return pixels + self.levels


@dataclass(frozen=True)
class Gamma(Disturbance):
    """Every value v becomes `255 (v / 255) ** exponent`: above 1 is darker in the middle."""

    exponent: float

    def __post_init__(self) -> None:
        """Check the exponent."""
        _check("exponent", self.exponent, above=0)

    @property
    def name(self) -> str:
        """With the exponent."""
        return f"gamma-{self.exponent:g}"

    def change(self, pixels: Tensor, key: Tensor) -> Tensor:
        """Bend the curve."""
        # Double precision: no rounding to whole levels hangs on how a device computes powers.
        return (pixels.double() / 255).pow(self.exponent).mul(255).to(pixels.dtype)


@dataclass(frozen=True)
class Blur(Disturbance):
    """A Gaussian of standard deviation `sigma` pixels, cut at 3 sigma, the border repeated.

    Weights are multiples of 1/4096, and 1/16 of a level is kept between the two directions, so
    that every sum is exact.
    """

    sigma: float

    def __post_init__(self) -> None:
        """Check the width."""
        _check("sigma", self.sigma, above=0)

    @property
    def name(self) -> str:
        """With the width."""
        return f"blur-{self.sigma:g}"

    def change(self, pixels: Tensor, key: Tensor) -> Tensor:
        """Filter along both axes."""
        weights = self.weights()
        fine = (pixels * _FINE).round()
        for dim in (2, 3):
            fine = (_filter(fine, weights, dim) / _UNITS).round()
        return fine / _FINE

    def weights(self) -> list[int]:
        """Weight of the pixels at distance 0, 1, ...; all together 4096."""
        radius = math.ceil(3 * self.sigma)
        bell = [math.exp(-0.5 * (i / self.sigma) ** 2) for i in range(radius + 1)]
        total = bell[0] + 2 * sum(bell[1:])
        sides = [round(value / total * _UNITS) for value in bell[1:]]
        return [_UNITS - 2 * sum(sides), *sides]


@dataclass(frozen=True)
class Noise(Disturbance):
    """Independent noise of standard deviation `sigma` levels on every value of every frame.

    Nearly normal: the sum of four uniform bytes, so that none is farther than 3.45 sigma.
    """

    sigma: float

    def __post_init__(self) -> None:
        """Check the strength."""
        _check("sigma", self.sigma, above=0)

    @property
    def name(self) -> str:
        """With the strength."""
        return f"noise-{self.sigma:g}"

    def change(self, pixels: Tensor, key: Tensor) -> Tensor:
        """Add noise."""
        size = pixels[0].numel()
        bits = draw(key[:, None], torch.arange(size, device=pixels.device)).view(pixels.shape)
        total = sum((bits >> (8 * i)) & 255 for i in range(_BYTES))
        deviation = math.sqrt(_BYTES * (256**2 - 1) / 12)
        return pixels + (total - _BYTES * 255 / 2) * (self.sigma / deviation)


def _check(name: str, value: float, *, above: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name}: expected a finite number, got {value!r}")
    if value <= above:
        raise ValueError(f"{name}: expected more than {above}, got {value}")


def _filter(pixels: Tensor, weights: list[int], dim: int) -> Tensor:
    """Weighted sum along `dim` of `[F, C, H, W]`, the border repeated."""
    size, reach = pixels.shape[dim], len(weights) - 1
    place = torch.arange(-reach, size + reach, device=pixels.device).clamp(0, size - 1)
    wide = pixels.index_select(dim, place)
    total = wide.narrow(dim, reach, size) * weights[0]
    for far, weight in enumerate(weights[1:], start=1):
        total += weight * (
            wide.narrow(dim, reach - far, size) + wide.narrow(dim, reach + far, size)
        )
    return total
