"""Block matching: where each block of a frame is in the frame after it, and at which costs."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.ops._check import check_dtypes, check_one_device
from wmscore.ops._library import op

__all__ = ["BLOCK_SIDES", "MOST_RADIUS", "BlockCosts", "block_flow"]

BLOCK_SIDES = range(4, 33, 4)
MOST_RADIUS = 16
_MOST_CHANNELS = 4096  # whose differences a 32-bit sum of uint8 holds
_LONGEST_SIDE = 1 << 28
_FAR = 1 << 29  # a start beyond which no frame reaches


class BlockCosts(NamedTuple):
    """The columns of the costs: `BlockCosts(*block_flow(...)[1].unbind(-1))`.

    `best` is the cost of the displacement itself, the other eight those of its neighbours: `up` of
    (dy - 1, dx), `left` of (dy, dx - 1). `second` is the least cost further away than those.
    The last six are those of the frame with itself, one pixel away.
    """

    up_left: Tensor
    up: Tensor
    up_right: Tensor
    left: Tensor
    best: Tensor
    right: Tensor
    down_left: Tensor
    down: Tensor
    down_right: Tensor
    second: Tensor
    own_up: Tensor
    own_left: Tensor
    own_right: Tensor
    own_down: Tensor
    own_down_left: Tensor
    own_down_right: Tensor


_OWN = ((-1, 0), (0, -1), (0, 1), (1, 0), (1, -1), (1, 1))


def check_block_flow(
    frames: Tensor, following: Tensor, block: int, radius: int, start: Tensor | None = None
) -> None:
    """Refuse frames, settings or starts that do not fit each other.

    Raises:
        TypeError: an argument is of the wrong type or dtype.
        ValueError: shapes or devices do not fit, or a setting is out of its range.
    """
    check_dtypes(frames=frames, following=following)
    if frames.dim() != 5 or following.shape != frames.shape:
        raise ValueError(
            "frames and following must have one shape [B, T, C, H, W], "
            f"got {tuple(frames.shape)} and {tuple(following.shape)}"
        )
    if not 1 <= frames.shape[2] <= _MOST_CHANNELS:
        raise ValueError(
            f"frames must have 1..{_MOST_CHANNELS} channels, got {frames.shape[2]} "
            f"in {tuple(frames.shape)}"
        )
    if max(frames.shape[3:]) >= _LONGEST_SIDE:
        raise ValueError(f"sides of frames must be below 2^28, got {tuple(frames.shape)}")
    check_one_device(frames=frames, following=following)
    for name, number in (("block", block), ("radius", radius)):
        if isinstance(number, bool) or not isinstance(number, int):
            raise TypeError(f"{name} must be an int, got {type(number).__name__}")
    if block not in BLOCK_SIDES:
        raise ValueError(f"block must be a multiple of 4 in 4..{BLOCK_SIDES[-1]}, got {block}")
    if not 1 <= radius <= MOST_RADIUS:
        raise ValueError(f"radius must be 1..{MOST_RADIUS}, got {radius}")
    if start is None:
        return
    if not isinstance(start, Tensor):
        raise TypeError(f"start must be a torch.Tensor or None, got {type(start).__name__}")
    if start.dtype != torch.int64:
        raise TypeError(f"start must be int64, got {start.dtype}")
    if start.shape != (*frames.shape[:2], 2):
        raise ValueError(
            f"start must have shape [B, T, 2] = {(*frames.shape[:2], 2)}, got {tuple(start.shape)}"
        )
    if start.device != frames.device:
        raise ValueError(f"start must be on {frames.device} like frames, got {start.device}")


@op(check_block_flow)
def block_flow(
    frames: Tensor, following: Tensor, block: int, radius: int, start: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Displacement of each block with the least mean absolute difference.

    The whole blocks of `block` x `block` pixels that fit into a frame, in the middle of it, are
    compared with `following` at all displacements of `start` + [-radius, radius]^2, over the pixels
    that still lie inside the frame. A displacement counts if these are half of the block or more
    and if the difference is finite. Of equal ones the nearest to `start` is chosen, then the upper,
    then the left.

    Args:
        frames: `[B, T, C, H, W]`, uint8 or floating, any strides.
        following: the frames after them, of the same shape, dtype and device. Consecutive frames of
            rollouts, `x[:, :-1]` and `x[:, 1:]`, are read in place.
        block: side of a block in pixels, a multiple of 4 in 4..32.
        radius: largest displacement from `start` along each axis, 1..16.
        start: int64 `[B, T, 2]`, (dy, dx) in pixels around which is searched; None stands for 0.

    Returns:
        The displacements (dy, dx), int32 `[B, T, gh, gw, 2]` with `gh = H // block` and
        `gw = W // block`: down and right are positive, `following[y + dy, x + dx]` is most like
        `frames[y, x]`; 0 where none counts. And the columns of `BlockCosts`, `[B, T, gh, gw, 16]`,
        in units of the frames, 0 or more; float32, or float64 for float64 frames. What does not
        count, or lies outside the range of the search, is NaN. Sums of uint8 are exact integers;
        those of floats add up channels, then rows, then columns, in float32, or float64 for float64
        frames, so that every kernel has the same bits. There is no gradient.

    Raises:
        TypeError: not tensors, not of one supported dtype, or a setting is not an int.
        ValueError: shapes or devices do not fit, or a setting is out of its range.
        RuntimeError: an argument requires a gradient.

    Example:
        >>> frames = torch.arange(64).mul(37).remainder(101).byte().reshape(1, 1, 1, 8, 8)
        >>> displacement, costs = block_flow(frames, frames.roll((1, -1), (3, 4)), 4, 2)
        >>> displacement[0, 0, 0, 1]
        tensor([ 1, -1], dtype=torch.int32)
        >>> BlockCosts(*costs[0, 0, 0, 1]).best
        tensor(0.)
    """
    rows, steps, channels, height, width = frames.shape
    grid = height // block, width // block
    corner = (height - grid[0] * block) // 2, (width - grid[1] * block) // 2
    is_bytes = frames.dtype == torch.uint8
    real = torch.float64 if frames.dtype == torch.float64 else torch.float32
    count = rows * steps
    if count * grid[0] * grid[1] == 0:
        shape = (rows, steps, *grid)
        return (
            frames.new_zeros((*shape, 2), dtype=torch.int32),
            frames.new_zeros((*shape, len(BlockCosts._fields)), dtype=real),
        )
    wide = torch.int32 if is_bytes else real
    now = frames.reshape(count, channels, height, width).to(wide)
    around = torch.zeros(count, 2, dtype=torch.int64, device=frames.device)
    if start is not None:
        around = start.reshape(count, 2).clamp(-_FAR, _FAR)
    then, seen = _moved(following.reshape(now.shape).to(wide), around, grid, corner, block, radius)
    sums, pixels = _sums(now, then, seen, grid, corner, block, radius)

    side = 2 * radius + 1
    # Quotients of such integers are equal in float64 only where they are equal.
    key = torch.float64 if is_bytes else real
    means = sums.to(key) / (pixels * channels).to(key)
    counts = (2 * pixels >= block**2) & means.isfinite()
    means = means.where(counts, torch.inf).flatten(-2)
    place = torch.arange(side**2, device=frames.device)
    y, x = place // side, place % side
    # A number for each displacement in the order in which equal ones are chosen.
    rank = ((y - radius) ** 2 + (x - radius) ** 2) * side**2 + place
    least = means.amin(-1, keepdim=True)
    best = rank.where(means == least, side**4).argmin(-1, keepdim=True)
    near = ((y - best // side).abs() <= 1) & ((x - best % side).abs() <= 1)
    second = means.where(~near, torch.inf).amin(-1, keepdim=True)
    framed = torch.nn.functional.pad(
        means.reshape(*means.shape[:-1], side, side), (1, 1, 1, 1), value=torch.inf
    )
    corners = best // side * (side + 2) + best % side
    neighbours = torch.cat([corners + a * (side + 2) + b for a in range(3) for b in range(3)], -1)
    found = torch.cat([framed.flatten(-2).gather(-1, neighbours), second], -1)
    own = _own_costs(now, grid, corner, block, key)
    costs = torch.cat([found.where(found.isfinite(), torch.nan), own], -1)

    move = torch.cat([best // side, best % side], -1) - radius + around[:, None, None]
    move = move.where(least.isfinite(), 0).to(torch.int32)
    return (
        move.reshape(rows, steps, *grid, 2),
        costs.to(real).reshape(rows, steps, *grid, costs.shape[-1]),
    )


def _moved(
    following: Tensor,
    around: Tensor,
    grid: tuple[int, int],
    corner: tuple[int, int],
    block: int,
    radius: int,
) -> tuple[Tensor, list[Tensor]]:
    """What the blocks are compared with, `[N, C, ...]`, and which rows and columns are there."""
    seen = []
    for axis in (0, 1):
        length = following.shape[2 + axis]
        along = torch.arange(grid[axis] * block + 2 * radius, device=following.device)
        place = along + corner[axis] - radius + around[:, axis, None]
        seen.append((place >= 0) & (place < length))
        place = place.clamp(0, length - 1)
        index = place[:, None, :, None] if axis == 0 else place[:, None, None, :]
        sizes = list(following.shape)
        sizes[2 + axis] = place.shape[1]
        following = following.gather(2 + axis, index.expand(sizes))
    return following, seen


def _sums(
    now: Tensor,
    then: Tensor,
    seen: list[Tensor],
    grid: tuple[int, int],
    corner: tuple[int, int],
    block: int,
    radius: int,
) -> tuple[Tensor, Tensor]:
    """Sums of absolute differences at each displacement, `[N, gh, gw, side, side]`, and pixels."""
    side = 2 * radius + 1
    # For each row and each column of a block, `[N, gh, side]` and `[N, gw, side]`.
    inside = [[of[:, i:].unfold(1, side, block) for i in range(block)] for of in seen]
    in_rows, in_columns = (torch.stack(of) for of in inside)
    sums = torch.zeros((), dtype=now.dtype, device=now.device)
    for c in range(now.shape[1]):
        for y in range(block):
            for x in range(block):
                there = then[:, c, y:, x:].unfold(1, side, block).unfold(2, side, block)
                here = _pixels(now, c, (corner[0] + y, corner[1] + x), grid, block)
                is_inside = in_rows[y][:, :, None, :, None] & in_columns[x][:, None, :, None]
                sums = sums + (here[..., None, None] - there).abs().where(is_inside, 0)
    pixels = in_rows.sum(0)[:, :, None, :, None] * in_columns.sum(0)[:, None, :, None]
    return sums, pixels


def _own_costs(
    now: Tensor, grid: tuple[int, int], corner: tuple[int, int], block: int, key: torch.dtype
) -> Tensor:
    """Mean difference of each block with the pixels beside it, `[N, gh, gw, 6]`."""
    padded = torch.nn.functional.pad(now, (1, 1, 1, 1))
    inside = torch.nn.functional.pad(torch.ones_like(now[:1, :1], dtype=torch.bool), (1, 1, 1, 1))
    sums = torch.zeros((), dtype=now.dtype, device=now.device)
    for c in range(now.shape[1]):
        for y in range(block):
            for x in range(block):
                first = corner[0] + y, corner[1] + x
                beside = [(first[0] + 1 + down, first[1] + 1 + right) for down, right in _OWN]
                here = _pixels(now, c, first, grid, block)
                there = torch.stack([_pixels(padded, c, at, grid, block) for at in beside], -1)
                seen = torch.stack([_pixels(inside, 0, at, grid, block) for at in beside], -1)
                sums = sums + (here[..., None] - there).abs().where(seen, 0)
    lengths = []
    for axis in (0, 1):
        move = torch.tensor([move[axis] for move in _OWN], device=now.device)
        first_of = torch.arange(grid[axis], device=now.device)[:, None] * block + corner[axis]
        place = first_of + move
        lengths.append((place + block).clamp(max=now.shape[2 + axis]) - place.clamp(min=0))
    pixels = lengths[0][:, None] * lengths[1] * now.shape[1]
    found = sums.to(key) / pixels.to(key)
    return found.where(found.isfinite(), torch.nan)


def _pixels(
    frames: Tensor, channel: int, first: tuple[int, int], grid: tuple[int, int], block: int
) -> Tensor:
    """One pixel of each block, `[N, gh, gw]`."""
    y, x = (slice(f, f + (n - 1) * block + 1, block) for f, n in zip(first, grid, strict=True))
    return frames[:, channel, y, x]
