"""Dense motion by block matching: what a global shift cannot express, sprites beside a camera."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wmscore import ops
from wmscore.functional._check import check_frames, check_number, check_tensor, data_range_of
from wmscore.functional._chunks import piece_elements
from wmscore.functional.reasons import Reason
from wmscore.ops import BlockCosts, has_kernel
from wmscore.ops.block_flow import BLOCK_SIDES, MOST_RADIUS

__all__ = ["MIN_ISOTROPY", "MIN_MATCH", "MIN_TEXTURE", "BlockFlow", "block_flow"]

MIN_TEXTURE = 1 / 255
"""Mean absolute difference, in data ranges, by which the match must be better than any other."""

MIN_ISOTROPY = 0.15
"""The least contrast of a block over the largest, of all directions: near 0 for a straight edge."""

MIN_MATCH = 0.3
"""The confidence below which a match is none.

On photographs moved by fractions of a pixel, 3 of 1,000 blocks of 8 x 8 above it are off by more
than a pixel, of all blocks 55; with noise of 2 grey levels 2 of 1,000, of all 130.
"""


@dataclass(frozen=True)
class BlockFlow:
    """Motion of each block of a frame to the frame after it. See :func:`block_flow`.

    Attributes:
        flow: ``[..., gh, gw, 2]`` float64, (dy, dx) in pixels, positive = the content moves down
            and right; NaN where there is none.
        confidence: ``[..., gh, gw]`` float64 in [0, 1]: 1 - the mean absolute difference at the
            match over the least one more than a pixel away. 1 = the same pixels and no others like
            them, 0 = another displacement does as well. Higher is better. NaN where nothing could
            be compared.
        reason: ``[..., gh, gw]`` uint8, a :class:`Reason`: NON_FINITE where one of the frames holds
            NaN or infinite values, TOO_PLAIN where the block has too little texture to tell one
            displacement from others in every direction, NO_MATCH where no displacement within reach
            makes the frames alike: what was there is hidden, has changed or is out of reach.
    """

    flow: Tensor
    confidence: Tensor
    reason: Tensor

    @property
    def reliable(self) -> Tensor:
        """``[..., gh, gw]`` bool, where there is a flow."""
        return self.reason == int(Reason.DEFINED)


def block_flow(
    frames: Tensor,
    following: Tensor,
    *,
    block: int = 8,
    radius: int = 4,
    start: Tensor | None = None,
    min_texture: float = MIN_TEXTURE,
    min_isotropy: float = MIN_ISOTROPY,
    min_confidence: float = MIN_MATCH,
    data_range: float | None = None,
) -> BlockFlow:
    r"""Where each block of a frame is in the frame after it, to a fraction of a pixel.

    Blocks that fill the frame, in its middle, are compared with the other frame at all
    displacements d within ``radius`` of ``start``, by the mean absolute difference e(d) over the
    pixels that are still inside (:func:`wmscore.ops.block_flow`). The fraction in each axis is

    .. math:: \frac{(e_- - e_+) - (o_- - o_+)}{2 (\max(e_-, e_+) - e_0)}

    for costs one pixel before, at and one after the best d, the vertex of a cost that falls and
    rises linearly, and o the costs of the frame with itself one pixel away, so that it is exactly 0
    where content moves by whole pixels. A match must be better than all others more than a pixel
    away by ``min_texture`` and have the confidence ``min_confidence``, and all four displacements
    beside it must have been compared. A block whose contrast in one direction is below
    ``min_isotropy`` of that in another, as that of a straight edge, could be anywhere along it.

    Args:
        frames: ``[..., C, H, W]``, ``uint8`` or floating point, any strides.
        following: the frames after them, of the same shape, dtype and device. Consecutive frames of
            rollouts ``[B, T + 1, C, H, W]``, ``x[:, :-1]`` and ``x[:, 1:]``, are read in place.
        block: side of a block in pixels, a multiple of 4 in 4..32.
        radius: largest displacement from ``start`` along each axis, 2..16; one at that distance has
            no neighbour further out and is no match.
        start: where the search is centred, int64 ``[..., 2]``, (dy, dx) in whole pixels, say a
            global shift; None stands for 0.
        min_texture: in data ranges, 0 or more.
        min_isotropy: 0..1.
        min_confidence: 0..1.
        data_range: ``None`` means 255 for ``uint8`` and 1.0 for floats.

    Returns:
        A :class:`BlockFlow` with ``gh = H // block`` and ``gw = W // block``.

    Raises:
        ValueError: shapes or devices differ, a frame is empty, or an option is out of range.
        TypeError: not tensors, or dtypes differ or are not supported.

    Example:
        >>> frames = torch.arange(1024).mul(37).remainder(251).byte().reshape(1, 1, 32, 32)
        >>> block_flow(frames, frames.roll((1, -2), (2, 3))).flow[0, 1, 2]
        tensor([ 1., -2.], dtype=torch.float64)
    """
    check_frames(frames=frames, following=following)
    _check_options(frames, block, radius, start)
    check_number("min_texture", min_texture, low=0.0)
    check_number("min_isotropy", min_isotropy, low=0.0, high=1.0)
    check_number("min_confidence", min_confidence, low=0.0, high=1.0)
    unit = data_range_of(frames.dtype, data_range)
    displacement, costs = _matched(frames, following, block, radius, start)
    cost = BlockCosts(*costs.double().unbind(-1))

    fraction = torch.stack(
        [
            _fraction(cost.up, cost.best, cost.down, cost.own_up, cost.own_down),
            _fraction(cost.left, cost.best, cost.right, cost.own_left, cost.own_right),
        ],
        -1,
    )
    # Two costs of 0 are alike. So are, in the absence of a second one, all that there are.
    confidence = (1 - cost.best / cost.second).nan_to_num(0.0).clamp(0, 1)
    confidence = confidence.masked_fill(cost.best.isnan(), torch.nan)
    plain = ~(cost.second - cost.best >= min_texture * unit) | ~(_isotropy(cost) >= min_isotropy)
    plain = plain & ~cost.best.isnan()
    beside = torch.stack([cost.up, cost.left, cost.right, cost.down])
    matched = (confidence >= min_confidence) & beside.isfinite().all(0)
    reason = torch.zeros_like(confidence, dtype=torch.uint8)
    reason.masked_fill_(~matched, int(Reason.NO_MATCH)).masked_fill_(plain, int(Reason.TOO_PLAIN))
    if frames.dtype != torch.uint8:
        broken = ~(_all_finite(frames) & _all_finite(following))[..., None, None]
        reason.masked_fill_(broken, int(Reason.NON_FINITE))
        confidence = confidence.masked_fill(broken, torch.nan)
    flow = displacement.double() + fraction
    return BlockFlow(
        flow=flow.masked_fill((reason != int(Reason.DEFINED))[..., None], torch.nan),
        confidence=confidence,
        reason=reason,
    )


def _check_options(frames: Tensor, block: int, radius: int, start: Tensor | None) -> None:
    for name, number in (("block", block), ("radius", radius)):
        if isinstance(number, bool) or not isinstance(number, int):
            raise TypeError(f"{name} must be an int, got {type(number).__name__}")
    if block not in BLOCK_SIDES:
        raise ValueError(f"block must be a multiple of 4 in 4..{BLOCK_SIDES[-1]}, got {block}")
    if not 2 <= radius <= MOST_RADIUS:
        raise ValueError(f"radius must be 2..{MOST_RADIUS}, got {radius}")
    if start is None:
        return
    check_tensor("start", start)
    if start.dtype != torch.int64:
        raise TypeError(f"start must be int64, whole pixels, got {start.dtype}")
    expected = (*frames.shape[:-3], 2)
    if tuple(start.shape) != expected:
        raise ValueError(f"start must have shape [..., 2] = {expected}, got {tuple(start.shape)}")
    if start.device != frames.device:
        raise ValueError(f"start must be on {frames.device} like frames, got {start.device}")


def _matched(
    frames: Tensor, following: Tensor, block: int, radius: int, start: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The op's displacements and costs, `[..., gh, gw, 2]` and `[..., gh, gw, 14]`."""
    leading = frames.shape[:-3]
    frames, following = (_as_rows(x) for x in (frames, following))
    rows, steps = frames.shape[:2]
    around = None if start is None else start.reshape(rows, steps, 2)
    height, width = frames.shape[-2:]
    blocks = (height // block) * (width // block)
    size = rows
    if not has_kernel("block_flow", frames.device):  # it keeps all sums of a piece
        of_row = steps * (blocks * (2 * radius + 1) ** 2 + frames.shape[2:].numel())
        size = max(1, 8 * piece_elements(frames.device) // max(1, of_row))
    pieces = [
        ops.block_flow(
            frames[i : i + size],
            following[i : i + size],
            block,
            radius,
            None if around is None else around[i : i + size],
        )
        for i in range(0, max(1, rows), max(1, size))
    ]
    displacement, costs = (
        torch.cat(parts) if len(parts) > 1 else parts[0] for parts in zip(*pieces, strict=True)
    )
    grid = displacement.shape[2:4]
    return displacement.reshape(*leading, *grid, 2), costs.reshape(*leading, *grid, costs.shape[-1])


def _as_rows(frames: Tensor) -> Tensor:
    """`[..., C, H, W]` as `[B, T, C, H, W]`, without a copy for up to two leading dims."""
    while frames.ndim < 5:
        frames = frames[None]
    return frames if frames.ndim == 5 else frames.flatten(0, frames.ndim - 5)


def _fraction(
    before: Tensor, at: Tensor, after: Tensor, own_before: Tensor, own_after: Tensor
) -> Tensor:
    rise = torch.maximum(before, after) - at
    fraction = ((before - after) - (own_before - own_after)) / (2 * rise)
    return fraction.masked_fill(rise == 0, 0.0).clamp(-0.5, 0.5)


def _isotropy(cost: BlockCosts) -> Tensor:
    """Root of the ratio of the eigenvalues of the structure tensor, 0..1; NaN for a plain block.

    Squared mean differences stand for mean squared ones: for a straight edge, whose difference one
    pixel away along u is proportional to that of u and its normal, that makes no difference.
    """
    yy = ((cost.own_up + cost.own_down) / 2).square()
    xx = ((cost.own_left + cost.own_right) / 2).square()
    yx = (cost.own_down_right.square() - cost.own_down_left.square()) / 4
    mean = (yy + xx) / 2
    apart = torch.hypot((yy - xx) / 2, yx)
    return ((mean - apart).clamp(min=0) / (mean + apart)).sqrt()


def _all_finite(frames: Tensor) -> Tensor:
    return frames.isfinite().flatten(-3).all(-1)
