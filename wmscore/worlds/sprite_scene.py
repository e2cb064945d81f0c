"""The scenes of `SpriteWorld`: what stands where and moves how, drawn from reset parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wmscore.worlds.protocol import Item
from wmscore.worlds.sprite_art import MAX_OBJECTS, below, draw, rank, stamps, tiling_texture

__all__ = ["MOVES", "ONE", "TURN", "Scene", "build_scene", "default_pan"]

MOVES = {"noop": (0, 0), "left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
"""Camera motion of each action, in pans: (right, down)."""

ONE = 256
"""Fixed point: one pixel."""

TURN = 1 << 16
"""Fixed point: one turn."""

_VIEWS = 4  # the torus is this many views wide and high
_PILLARS = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """What does not change during a rollout. Lengths are in 1/256 pixel unless said otherwise."""

    torus: tuple[int, int]  # height and width in pixels
    texture: Tensor  # [S, torus] int32, pillars included: red + 256 green + 65536 blue
    pillar: Tensor  # [S, torus width] bool
    index: Tensor  # [B] int64, row of `texture` and `pillar`
    moves: Tensor  # [B, A, 2] int64, camera (x, y) per action
    before: Tensor  # [B, 1, 1] int64, warm-up steps before the initial state
    camera: Tensor  # [B, 2] int64, where the warm-up has moved the camera
    own_key: Tensor  # [B, 1, 1] int64, the scenario's own noise
    noise_key: Tensor  # [B, 1, 1] int64, the noise from the initial state on
    noise: Tensor  # [B, 1, 1] int64, amplitude of the velocity noise
    colours: Tensor  # [B, N, 3, D, D] uint8
    masks: Tensor  # [B, N, D, D] bool, false for objects that a row does not have
    depth: Tensor  # [B, N] int64, objects from far to near
    orbits: Tensor  # [B, N, 1] bool: on a circle; otherwise straight, turning back at the range
    start: Tensor  # [B, N, 2] int64, from the middle of the first view
    velocity: Tensor  # [B, N, 2] int64, of straight paths
    reach: Tensor  # [B, N, 2] int64, range of straight paths
    radius: Tensor  # [B, N, 1] int64, of circles
    angle: Tensor  # [B, N, 1] int64, where a circle is entered
    turning: Tensor  # [B, N, 1] int64, angle per step


def default_pan(side: int) -> int:
    """Pixels that the camera moves per action where nobody chose, by the view's shorter side."""
    return max(1, side * 3 // 64)


def build_scene(
    items: Sequence[Item], size: tuple[int, int], pan: float, device: torch.device
) -> Scene:
    """Draw the scene of every item from its reset parameters.

    Args:
        items: one per row.
        size: height and width of the view.
        pan: pixels that the camera moves per action.
        device: where the scene is kept.

    Raises:
        ValueError: a reset parameter, action name or script is not known here.
    """
    (height, width), side = size, min(size)
    rows = [_check_reset(item.reset, side) for item in items]
    seeds = [row[0] for row in rows]
    key = _keys(seeds, device)
    anew = [item.noise_seed for item in items]
    own = draw(key, 31, 0)
    again = draw(draw(key, 31, 1), _keys([seed or 0 for seed in anew], device))
    redrawn = torch.tensor([seed is not None for seed in anew], device=device)
    count = torch.tensor([row[1] for row in rows], device=device)
    most = max(row[1] for row in rows)

    # One texture per distinct scenario: many rows of a panel share it.
    distinct = {seed: i for i, seed in enumerate(dict.fromkeys(seeds))}
    spacing = 1 << ((side // 2).bit_length() - 1)
    torus = tuple(-(-_VIEWS * n // spacing) * spacing for n in (height, width))
    scene_key = _keys(list(distinct), device)
    texture, pillar = _stand_pillars(
        size, scene_key, tiling_texture(scene_key, torus[0], torus[1], spacing)
    )
    red, green, blue = texture.to(torch.int32).unbind(1)

    base = max(2, side // 10)
    obj = torch.arange(most, device=device)[None]

    def fresh(stream: int, low: int, high: int, axes: int = 1) -> Tensor:
        """Per object (and axis) an integer in low..high."""
        axis = torch.arange(axes, device=device)
        bits = draw(key[:, None, None], stream, obj[:, :, None], axis)
        return low + below(bits, high - low + 1)

    colours, masks = stamps(key, base + fresh(1, 0, base // 4)[:, :, 0], largest=base + base // 4)
    masks = masks & (obj < count[:, None])[:, :, None, None]
    unit = side * ONE // 64  # one pixel of a 64-pixel view
    view = torch.tensor([width, height], device=device) * ONE
    # All objects begin in the view, each in its own cell of a 3 x 3 grid.
    cell = rank(key, 2, 9)[:, :most]
    # Circles are entered on the side away from the middle, so that they cross the view.
    eighths = torch.tensor([5, 6, 7, 4, 0, 0, 3, 2, 1], device=device)
    outward = eighths[cell][:, :, None] * (TURN // 8)
    cell = torch.stack([cell % 3 - 1, cell // 3 - 1], dim=2)
    start = cell * view // 3 + fresh(3, -4, 4, axes=2) * unit
    sign = fresh(4, 0, 1, axes=2) * 2 - 1
    return Scene(
        torus=(torus[0], torus[1]),
        texture=red + (green << 8) + (blue << 16),  # one read per pixel
        pillar=pillar,
        index=torch.tensor([distinct[seed] for seed in seeds], device=device),
        moves=_moves(items, device) * round(pan * ONE),
        before=torch.tensor([len(row[3]) for row in rows], device=device)[:, None, None],
        camera=torch.tensor([_way(row[3]) for row in rows], device=device)
        * default_pan(side)
        * ONE,
        own_key=own[:, None, None],
        noise_key=torch.where(redrawn, again, own)[:, None, None],
        noise=torch.tensor([row[2] for row in rows], device=device)[:, None, None],
        colours=colours,
        masks=masks,
        depth=_order(key, most),
        orbits=((obj + below(draw(key, 6), 2)[:, None]) % 2 == 1)[:, :, None],
        start=start,
        velocity=sign * fresh(5, 60, 260, axes=2) * unit // ONE,
        reach=view * fresh(7, 40, 62, axes=2) // 100,
        radius=fresh(8, 10, 24) * unit,
        angle=outward + fresh(9, -TURN // 8, TURN // 8),
        turning=sign[:, :, :1] * TURN // fresh(10, 36, 80),
    )


def _check_reset(reset: dict[str, Any], side: int) -> tuple[int, int, int, tuple[str, ...]]:
    """Seed, number of objects, noise amplitude (1/256 px) and warm-up of a row."""
    unknown = sorted(reset.keys() - {"seed", "objects", "noise", "warmup"})
    if unknown:
        raise ValueError(f"reset: expected the keys seed, objects, noise and warmup, got {unknown}")
    seed, objects = reset.get("seed"), reset.get("objects", 5)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise ValueError(f"reset.seed: expected an integer in 0..2^63-1, got {seed!r}")
    if isinstance(objects, bool) or not isinstance(objects, int):
        raise ValueError(f"reset.objects: expected an integer, got {objects!r}")
    if not 1 <= objects <= MAX_OBJECTS:
        raise ValueError(f"reset.objects: expected 1..{MAX_OBJECTS}, got {objects}")
    noise = reset.get("noise", side / 128)
    if isinstance(noise, bool) or not isinstance(noise, int | float):
        raise ValueError(f"reset.noise: expected pixels per step, got {noise!r}")
    if not math.isfinite(noise) or not 0 <= noise <= side:
        raise ValueError(f"reset.noise: expected 0..{side} pixels per step, got {noise!r}")
    warmup = reset.get("warmup", [])
    if not isinstance(warmup, list | tuple) or any(name not in MOVES for name in warmup):
        raise ValueError(f"reset.warmup: expected names out of {list(MOVES)}, got {warmup!r}")
    return seed, objects, round(noise * ONE), tuple(warmup)


def _way(warmup: Sequence[str]) -> tuple[int, int]:
    """Where actions move the camera, in pans."""
    return sum(MOVES[name][0] for name in warmup), sum(MOVES[name][1] for name in warmup)


def _moves(items: Sequence[Item], device: torch.device) -> Tensor:
    """Camera motion (right, down) of every row's actions in pans, `[B, A, 2]`."""
    longest = max(len(item.action_names) for item in items)
    table = []
    for item in items:
        unknown = [name for name in item.action_names if name not in MOVES]
        if unknown or not item.action_names:
            known, got = list(MOVES), unknown or "none"
            raise ValueError(f"action_names: expected names out of {known}, got {got}")
        if item.actions.dim() != 1 or item.actions.dtype != torch.int64:
            got = f"{item.actions.dtype} {list(item.actions.shape)}"
            raise ValueError(f"actions: expected int64 [T], got {got}")
        low, high = item.actions.aminmax() if len(item.actions) else (0, 0)
        if low < 0 or high >= len(item.action_names):
            size = len(item.action_names)
            raise ValueError(f"actions: expected 0..{size - 1}, got {int(low)}..{int(high)}")
        moves = [MOVES[name] for name in item.action_names]
        table.append(moves + [(0, 0)] * (longest - len(moves)))
    return torch.tensor(table, device=device)


def _stand_pillars(size: tuple[int, int], key: Tensor, texture: Tensor) -> tuple[Tensor, Tensor]:
    """Stand pillars on the texture: both with `[S, torus width]` bool, where they are."""
    width, thick = texture.shape[3], max(3, min(size) * 5 // 32)
    pillar = torch.arange(_PILLARS, device=key.device)
    # The first stands in the first view, the second beside it.
    left = below(draw(key[:, None], 41, pillar), size[1] * 2 // 3)
    left = left + size[1] * (pillar * 5 + 1) // 6
    x = torch.arange(width, device=key.device)
    into = (x - left[:, :, None]) % width
    depth = torch.where(into < thick, torch.minimum(into, thick - 1 - into) + 1, 0).amax(1)
    shade = (depth * 130 // thick)[:, None, None, :].to(torch.int16)
    tint = torch.tensor([62, 54, 46], dtype=torch.int16, device=key.device)
    stone = tint[:, None, None] + shade + texture.to(torch.int16) // 4
    here = depth > 0
    return torch.where(here[:, None, None], stone.to(torch.uint8), texture), here


def _keys(seeds: Sequence[int], device: torch.device) -> Tensor:
    """Fold whole integers of up to 64 bits into hash keys `[B]`."""
    low = torch.tensor([seed & 0xFFFFFFFF for seed in seeds], device=device)
    high = torch.tensor([(seed >> 32) & 0xFFFFFFFF for seed in seeds], device=device)
    return draw(low, high)


def _order(key: Tensor, count: int) -> Tensor:
    """Objects from far to near, `[B, count]`, the same however many the batch's rows have."""
    depth = rank(key, 51, MAX_OBJECTS).argsort(dim=1)[:, :count]
    return depth.argsort(dim=1)
