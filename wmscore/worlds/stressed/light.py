"""Light of the world as a function of each rendered pixel, in linear light."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wmscore.manifest import Stress
from wmscore.worlds.lighting import SHADES, Light, half_plane, look_up
from wmscore.worlds.protocol import Item
from wmscore.worlds.stressed.drawing import drawing_key, parameter

__all__ = ["light_frames", "stress_light"]


def stress_light(stress: Stress) -> Light:
    """The light that the parameters of a stress name."""
    return Light(
        exposure=parameter(stress, "exposure", -16, 16),
        warmth=parameter(stress, "warmth", -16, 16),
        shadow=parameter(stress, "shadow", 0, 1),
        key=drawing_key(stress),
    )


def light_frames(frames: Tensor, items: Sequence[Item], light: Light) -> Tensor:
    """`frames` `[B, T+1, 3, H, W]` under another light; uint8 stays uint8, by a table.

    A shadow lies over half of the picture and stays there when the camera moves.
    """
    shade = None
    if light.shadow:
        height, width = frames.shape[-2:]
        lies: dict[str, Tensor] = {}
        for item in items:
            if item.scenario_id not in lies:
                lies[item.scenario_id] = half_plane(light, item, height, width)
        shade = torch.stack([lies[item.scenario_id] for item in items])
    out = torch.empty_like(frames)
    steps = range(frames.shape[1])  # a frame at a time bounds what is held beside them
    if frames.dtype == torch.uint8:
        table = light.table().to(frames.device)
        level = None if shade is None else (shade * SHADES).round().long().to(frames.device)
        for t in steps:
            out[:, t] = look_up(table, frames[:, t], level)
        return out
    soft = 0.0 if shade is None else shade.float().to(frames.device)[:, None]
    for t in steps:
        out[:, t] = light.lit(frames[:, t].float(), soft, channel=1)
    return out
