"""Light of the world as a function of each rendered pixel, in linear light."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from wmscore.manifest import Stress
from wmscore.worlds.protocol import Item
from wmscore.worlds.stressed.drawing import parameter, scenario_random

__all__ = ["light_frames"]

_LEVELS = 64  # of a soft shadow's edge


def light_frames(frames: Tensor, items: Sequence[Item], stress: Stress) -> Tensor:
    """`frames` `[B, T+1, 3, H, W]` under another light; uint8 stays uint8, by a table.

    Parameters of the stress: `exposure` in stops (2 = four times the light), `warmth` in stops of
    red over blue, `shadow` the share of light that a soft shadow takes from half of the picture.
    The sRGB curve is IEC 61966-2-1's; values beyond white are cut there, as a camera does.
    """
    exposure, warmth = parameter(stress, "exposure"), parameter(stress, "warmth")
    gain = torch.tensor([exposure + warmth / 2, exposure, exposure - warmth / 2]).exp2()
    gain = gain.to(frames.device)
    strength = parameter(stress, "shadow")
    if frames.dtype != torch.uint8:
        light = _to_linear(frames.float()) * gain[:, None, None]
        if strength:
            light = light * (1 - strength * _shadow(frames, items, stress)[:, None, None])
        return _to_srgb(light).to(frames.dtype)
    levels = torch.arange(256, device=frames.device) / 255
    shade = torch.zeros(1, device=frames.device)
    if strength:
        shade = strength * torch.arange(_LEVELS + 1, device=frames.device) / _LEVELS
    light = _to_linear(levels) * gain[:, None] * (1 - shade)[:, None, None]
    table = (_to_srgb(light) * 255).round().to(torch.uint8)  # [levels of shadow, 3, 256]
    row = torch.zeros((), dtype=torch.int64, device=frames.device)
    if strength:
        row = (_shadow(frames, items, stress) * _LEVELS).round().long()
    out = torch.empty_like(frames)
    for channel in range(3):
        flat = table[:, channel].flatten()
        for t in range(frames.shape[1]):  # a frame at a time: indices are eight times the pixels
            out[:, t, channel] = flat[frames[:, t, channel].long() + 256 * row]
    return out


def _shadow(frames: Tensor, items: Sequence[Item], stress: Stress) -> Tensor:
    """How much of the shadow lies on each pixel, `[B, H, W]` in [0, 1]: half a plane, soft edge."""
    height, width = frames.shape[-2:]
    y = torch.linspace(-1, 1, height, device=frames.device)[:, None]
    x = torch.linspace(-1, 1, width, device=frames.device)
    masks = []
    for item in items:
        rng = scenario_random(item, stress)
        angle, offset = rng.uniform(0, 2 * math.pi), rng.uniform(-0.3, 0.3)
        across = x * math.cos(angle) + y * math.sin(angle) - offset
        masks.append(((across + 0.1) / 0.2).clamp(0, 1))
    return torch.stack(masks)


def _to_linear(value: Tensor) -> Tensor:
    low = value <= 0.04045
    return torch.where(low, value / 12.92, ((value.clamp_min(0) + 0.055) / 1.055) ** 2.4)


def _to_srgb(light: Tensor) -> Tensor:
    low = light <= 0.0031308
    curve = 1.055 * light.clamp_min(0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(low, 12.92 * light, curve).clamp(0, 1)
