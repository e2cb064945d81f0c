"""Integer art for `SpriteWorld`: a counter-based hash, a tiling texture and sprite stamps.

Everything is integer arithmetic that never leaves int64, so each value is the same on every
device and in every batch.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["MAX_OBJECTS", "below", "draw", "rank", "sine_table", "stamps", "tiling_texture"]

MAX_OBJECTS = 8

_MASK = 0xFFFFFFFF
_GOLDEN = 0x9E3779B9

# One clearly distinct colour per object.
_PALETTE = (
    (226, 40, 40),
    (40, 196, 60),
    (48, 84, 236),
    (240, 214, 32),
    (222, 56, 214),
    (30, 206, 216),
    (244, 132, 20),
    (244, 244, 244),
)


def draw(key: Tensor, *counters: Tensor | int) -> Tensor:
    """Uniform 32-bit integers that depend on `key` and `counters` only.

    Each counter is folded in by the bijective mixer lowbias32 (C. Wellons, "Prospecting for hash
    functions", 2018). Products stay below 2^63, so no overflow is relied upon.

    Args:
        key: int64, any shape.
        counters: integers or int64 tensors that broadcast with `key`.

    Returns:
        int64 in 0 .. 2^32 - 1, of the broadcast shape.
    """
    state = _mix(key & _MASK)
    for counter in counters:
        state = _mix(((state + _GOLDEN) & _MASK) ^ (counter & _MASK))
    return state


def below(bits: Tensor, size: Tensor | int) -> Tensor:
    """Map 32-bit draws to 0 .. size - 1; `size` is below 2^31."""
    return (bits * size) >> 32


def rank(key: Tensor, stream: int, size: int) -> Tensor:
    """A random permutation of 0 .. size - 1 per key: `[B]` to `[B, size]`."""
    index = torch.arange(size, device=key.device)
    # The index in the low bits makes all values differ, so that every sort gives one order.
    return ((draw(key[:, None], stream, index) << 8) | index).argsort(dim=1)


def sine_table(size: int, device: torch.device) -> Tensor:
    """One turn of the sine, `[size]` int64, scaled by 2^14."""
    turn = [round(math.sin(2 * math.pi * i / size) * (1 << 14)) for i in range(size)]
    return torch.tensor(turn, device=device)


def tiling_texture(key: Tensor, height: int, width: int, spacing: int) -> Tensor:
    """A muted multi-scale texture that tiles: value noise with lattices of spacing, spacing/2, ...

    Args:
        key: `[S]` int64, one per texture.
        height: pixels, a multiple of `spacing`.
        width: pixels, a multiple of `spacing`.
        spacing: coarsest lattice in pixels, a power of two.

    Returns:
        `[S, 3, height, width]` uint8.
    """
    luma = torch.zeros((len(key), 1, height, width), dtype=torch.int32, device=key.device)
    octave, total, cell = 0, 0, spacing
    while cell >= 2:
        weight = max(2, 6 - octave)
        luma += weight * _value_noise(draw(key, 11, octave), 1, height, width, cell)
        total += weight
        octave, cell = octave + 1, cell // 2
    luma = torch.div(luma * 2, total, rounding_mode="floor") - 255
    tint = _value_noise(draw(key, 12), 3, height, width, spacing) - 128
    channel = torch.arange(3, device=key.device)
    base = (84 + below(draw(key[:, None], 13, channel), 56)).to(torch.int32)[:, :, None, None]
    texture = base + torch.div(luma * 3, 8, rounding_mode="floor")
    texture += torch.div(tint, 4, rounding_mode="floor")
    return texture.clamp(0, 255).to(torch.uint8)


def stamps(key: Tensor, radius: Tensor, largest: int) -> tuple[Tensor, Tensor]:
    """Draw every sprite once, in object coordinates.

    The eight objects of one key have eight different colours, shapes and inner patterns.

    Args:
        key: `[B]` int64.
        radius: `[B, N]` int64, half the side in pixels, at most `largest`.
        largest: half the side of a stamp.

    Returns:
        Colours `[B, N, 3, D, D]` uint8 and masks `[B, N, D, D]` bool with `D = 2 largest + 1`.
    """
    count = radius.shape[1]
    axis = torch.arange(-largest, largest + 1, device=key.device)
    v, u = axis[:, None].expand(len(axis), len(axis)), axis.expand(len(axis), len(axis))
    r = radius[:, :, None, None]
    box = torch.maximum(u.abs(), v.abs())
    shapes = (
        u * u + v * v <= r * (r + 1),  # disc
        box * 8 <= r * 7,  # square
        u.abs() + v.abs() <= r,  # diamond
        (u.abs() * 2 <= v + r) & (v <= r),  # triangle
        (torch.minimum(u.abs(), v.abs()) * 5 <= r * 2) & (box <= r),  # plus
        (u.abs() + 2 * v.abs() <= 2 * r) & (u.abs() <= r),  # wide hexagon
        (u.abs() <= v.abs() + r // 3) & (box <= r),  # hourglass
        (u.abs() + v.abs()) * 10 <= 14 * torch.where(box <= r, r, -1),  # octagon
    )
    w = torch.clamp(r // 2, min=2)
    patterns = (
        (u * u + v * v) * 3 <= r * r,  # dot
        ((v + 4 * w) // w) % 2 == 0,  # lying stripes
        ((u + 4 * w) // w) % 2 == 0,  # standing stripes
        ((u + 4 * w) // w + (v + 4 * w) // w) % 2 == 0,  # checker
        ((u + v + 8 * w) // w) % 2 == 0,  # diagonal stripes
        (u < 0).expand_as(r * u),  # half
        (u < 0) ^ (v < 0).expand_as(r * u),  # quadrants
        box * 2 >= r,  # frame
    )
    inside = _choose(shapes, rank(key, 21, MAX_OBJECTS)[:, :count])
    second = _choose(patterns, rank(key, 22, MAX_OBJECTS)[:, :count])
    palette = torch.tensor(_PALETTE, device=key.device)
    bright = palette[rank(key, 23, MAX_OBJECTS)[:, :count]][:, :, :, None, None]
    colours = torch.where(second[:, :, None], bright * 2 // 5, bright)
    return colours.to(torch.uint8), inside


def _mix(x: Tensor) -> Tensor:
    x = x ^ (x >> 16)
    x = (x * 0x7FEB352D) & _MASK
    x = x ^ (x >> 15)
    # The second constant is taken minus 2^32: the same product modulo 2^32, within int64.
    x = (x * (0x846CA68B - (1 << 32))) & _MASK
    return x ^ (x >> 16)


def _value_noise(key: Tensor, channels: int, height: int, width: int, cell: int) -> Tensor:
    """Periodic bilinear value noise `[S, channels, height, width]` int32 in 0..255."""
    device = key.device
    rows, columns = height // cell, width // cell
    channel = torch.arange(channels, device=device)[:, None, None]
    row = torch.arange(rows, device=device)[:, None]
    column = torch.arange(columns, device=device)
    lattice = (draw(key[:, None, None, None], channel, row, column) >> 24).to(torch.int32)
    for dim, size, points in ((3, width, columns), (2, height, rows)):
        place = torch.arange(size, device=device)
        part = (place % cell).to(torch.int32)
        part = part if dim == 3 else part[:, None]
        left = lattice.index_select(dim, place // cell)
        right = lattice.index_select(dim, (place // cell + 1) % points)
        lattice = left * (cell - part) + right * part
    return torch.div(lattice, cell * cell, rounding_mode="floor")


def _choose(options: tuple[Tensor, ...], index: Tensor) -> Tensor:
    """Per object the option of its index: `[B, N, D, D]` bool."""
    shape = (*index.shape, *options[0].shape[-2:])
    stack = torch.stack([option.expand(shape) for option in options], dim=2)
    where = index[:, :, None, None, None].expand(*index.shape, 1, *shape[-2:])
    return stack.gather(2, where).squeeze(2)
