"""Inner products of what scripts of actions led to, generated and reference, in one read."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from wmscore.ops._check import check_dtypes, check_one_device
from wmscore.ops._library import op

__all__ = ["MOST_SCRIPTS", "response_products"]

MOST_SCRIPTS = 16
_CHUNK = 1 << 21  # values of all frames that the torch function takes at once


def check_products(
    preds: Tensor,
    target: Tensor,
    preds_rows: Tensor,
    target_rows: Tensor,
    present: Tensor | None = None,
    shift: Tensor | None = None,
    still: float = 0.0,
) -> None:
    """Refuse frames, rows or settings that do not fit each other.

    Raises:
        TypeError: an argument is of the wrong type or dtype.
        ValueError: shapes or devices do not fit, or `still` is not finite or negative.
    """
    check_dtypes(preds=preds, target=target)
    for name, value in (("preds", preds), ("target", target)):
        if value.dim() != 5:
            raise ValueError(f"{name} must have shape [B, T, C, H, W], got {tuple(value.shape)}")
    if preds.shape[1:] != target.shape[1:]:
        raise ValueError(
            "preds and target must have the same [T, C, H, W], "
            f"got {tuple(preds.shape)} and {tuple(target.shape)}"
        )
    check_one_device(preds=preds, target=target)
    channels, height, width = preds.shape[2:]
    if channels == 0:
        raise ValueError(f"a frame must have a channel, got shape {tuple(preds.shape)}")
    if height * width >= 2**31:
        raise ValueError(f"a frame must have fewer than 2^31 pixels, got {height} x {width}")
    for name, rows in (("preds_rows", preds_rows), ("target_rows", target_rows)):
        if not isinstance(rows, Tensor):
            raise TypeError(f"{name} must be a torch.Tensor, got {type(rows).__name__}")
        if rows.dtype != torch.int64:
            raise TypeError(f"{name} must be int64, got {rows.dtype}")
        if rows.dim() != 2 or not 1 <= rows.shape[1] <= MOST_SCRIPTS:
            raise ValueError(
                f"{name} must have shape [G, K] with K of 1..{MOST_SCRIPTS} scripts, "
                f"got {tuple(rows.shape)}"
            )
    if preds_rows.shape != target_rows.shape:
        raise ValueError(
            "preds_rows and target_rows must have one shape [G, K], "
            f"got {tuple(preds_rows.shape)} and {tuple(target_rows.shape)}"
        )
    groups, scripts = preds_rows.shape
    steps = preds.shape[1]
    given: dict[str, Tensor] = {"preds_rows": preds_rows, "target_rows": target_rows}
    for name, optional, dtype, letters, shape in (
        ("present", present, torch.bool, "[G, K, T]", (groups, scripts, steps)),
        ("shift", shift, torch.int64, "[G, T, 2]", (groups, steps, 2)),
    ):
        if optional is None:
            continue
        if not isinstance(optional, Tensor):
            raise TypeError(f"{name} must be a torch.Tensor or None, got {type(optional).__name__}")
        if optional.dtype != dtype:
            kind = str(dtype).removeprefix("torch.")
            raise TypeError(f"{name} must be {kind}, got {optional.dtype}")
        if optional.shape != shape:
            raise ValueError(
                f"{name} must have shape {letters} = {shape}, got {tuple(optional.shape)}"
            )
        given[name] = optional
    for name, value in given.items():
        if value.device != preds.device:
            raise ValueError(f"{name} must be on {preds.device} like preds, got {value.device}")
    if isinstance(still, bool) or not isinstance(still, int | float):
        raise TypeError(f"still must be a number, got {type(still).__name__}")
    if not 0 <= still < math.inf:
        raise ValueError(f"still must be finite and at least 0, got {still}")


@op(check_products)
def response_products(
    preds: Tensor,
    target: Tensor,
    preds_rows: Tensor,
    target_rows: Tensor,
    present: Tensor | None = None,
    shift: Tensor | None = None,
    still: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """All inner products among the frames that K scripts lead to, of each group and step.

    A group is K scripts of actions from one initial state. It has 2K fields: 0..K-1 are the
    generated frames of its scripts, K..2K-1 the reference's. What depends on the scripts, their
    frames less the mean over the scripts, and every distance and cosine between such differences
    follow from the inner products of the fields.

    Args:
        preds: generated frames `[B, T, C, H, W]`, uint8 or floating, any strides; windows
            `frames[..., y0:y1, x0:x1]` are read in place.
        target: reference frames `[S, T, C, H, W]` of the same dtype and device.
        preds_rows: int64 `[G, K]`, the row of preds of each script, K of 1..`MOST_SCRIPTS`. A row
            that is out of range, as -1 is, means that the field is absent.
        target_rows: int64 `[G, K]`, the row of target of each script; rows may repeat.
        present: bool `[G, K, T]`, which scripts have frames at a step; the others' fields, of preds
            and of target, are absent. None: all.
        shift: int64 `[G, T, 2]`, (dy, dx) in pixels: pixel (y + dy, x + dx) of preds meets pixel
            (y, x) of target, and only pixels that meet one count, for all fields. None: (0, 0).
        still: 0 or more, in units of the frames: grey levels for uint8. The reference does not
            depend on the script in a pixel where, in each channel, the largest and the smallest
            value of the present fields of target differ by no more.

    Returns:
        - float64 `[G, T, 2K, 2K]`, symmetric: `Σ x y` over C, H and W of each two fields, zeros in
          the rows and columns of absent ones. For uint8 frames integers, exact and equal between
          kernels (below 2^53); for others float64 sums of float64 products, equal between kernels
          up to the order of summation.
        - float64 `[G, T, 3]`: pixels that count, H W without `shift`; pixels of them where the
          reference does not depend on the script (none if no field of target is present, or where
          one is NaN); and the sum over these pixels and C of `Σ (p - mean p)²` over the present
          fields p of preds, exact for uint8 frames up to the last division.

        A NaN reaches the sums that contain it. There is no gradient. The torch function takes a
        few groups and steps at a time, so that its temporaries stay bounded.

    Raises:
        TypeError: not tensors, or of the wrong dtype.
        ValueError: shapes or devices do not fit, or `still` is not finite or negative.
        RuntimeError: an argument requires a gradient.

    Example:
        >>> target = torch.tensor([[0, 0, 3], [0, 4, 0]], dtype=torch.uint8).view(2, 1, 1, 1, 3)
        >>> preds = torch.tensor([[1, 0, 3], [2, 4, 0]], dtype=torch.uint8).view(2, 1, 1, 1, 3)
        >>> rows = torch.tensor([[0, 1]])
        >>> products, statistics = response_products(preds, target, rows, rows)
        >>> products[0, 0]
        tensor([[10.,  2.,  9.,  0.],
                [ 2., 20.,  0., 16.],
                [ 9.,  0.,  9.,  0.],
                [ 0., 16.,  0., 16.]], dtype=torch.float64)
        >>> statistics  # the generated frames differ by 1 where the reference's do not
        tensor([[[3.0000, 1.0000, 0.5000]]], dtype=torch.float64)
    """
    groups, scripts = preds_rows.shape
    steps, channels, height, width = preds.shape[1:]
    items = groups * steps
    products = preds.new_zeros(items, 2 * scripts, 2 * scripts, dtype=torch.float64)
    statistics = preds.new_zeros(items, 3, dtype=torch.float64)
    # On meta tensors the steps below would say nothing more.
    if items > 0 and not preds.is_meta:
        every = torch.arange(items, device=preds.device)
        size = 2 * scripts * channels * height * width
        for item in torch.split(every, max(1, _CHUNK // max(1, size))):
            group, step = item // steps, item % steps
            wanted = None if present is None else present[group, :, step]
            p, has_p = _fields(preds, preds_rows[group], step, wanted)
            t, has_t = _fields(target, target_rows[group], step, wanted)
            inside = torch.ones_like(p[:, 0, 0], dtype=torch.bool)
            if shift is not None:
                p, inside = _displaced(p, shift[group, step])
                t = t.where(inside[:, None, None], 0)
            products[item] = _products(torch.cat([p, t], 1), torch.cat([has_p, has_t], 1))
            statistics[item] = torch.stack(_statistics(p, t, has_p, has_t, inside, still), 1)
    return (
        products.view(groups, steps, 2 * scripts, 2 * scripts),
        statistics.view(groups, steps, 3),
    )


def _fields(
    frames: Tensor, rows: Tensor, step: Tensor, wanted: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Frames `[N, K, C, H, W]` of rows `[N, K]`, zeros where absent; and which are there."""
    is_there = (rows >= 0) & (rows < frames.shape[0])
    if wanted is not None:
        is_there = is_there & wanted
    if frames.shape[0] == 0:
        frames = frames.new_zeros(1, *frames.shape[1:])
    chosen = frames[rows.where(is_there, 0), step[:, None]]
    return chosen.where(is_there[:, :, None, None, None], 0), is_there


def _displaced(frames: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Pixel (y + dy, x + dx) in place of (y, x), zeros where there is none; and where there is."""
    number, _, _, height, width = frames.shape
    inside = frames.new_ones(number, height, width, dtype=torch.bool)
    for axis, length in ((0, height), (1, width)):
        by = shift[:, axis].clamp(-length, length)[:, None]
        place = torch.arange(length, device=frames.device) + by  # [N, length]
        is_there = (place >= 0) & (place < length)
        inside = inside & (is_there[:, :, None] if axis == 0 else is_there[:, None])
        place = place.where(is_there, 0)[:, None, None]
        place = place[..., None] if axis == 0 else place[..., None, :]
        frames = frames.gather(3 + axis, place.expand_as(frames))
    return frames.where(inside[:, None, None], 0), inside


def _products(fields: Tensor, is_there: Tensor) -> Tensor:
    flat = fields.flatten(2).double()
    products = flat @ flat.mT
    products = (products + products.mT) / 2  # a matrix product need not be symmetric to the bit
    return products.where(is_there[:, :, None] & is_there[:, None], 0)  # 0 * NaN is NaN


def _statistics(
    preds: Tensor,
    target: Tensor,
    has_preds: Tensor,
    has_target: Tensor,
    inside: Tensor,
    still: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels, pixels whose target does not depend on the script, what preds do there; `[N]`."""
    has_t, has_p = (x[:, :, None, None, None] for x in (has_target, has_preds))
    t = target.double()
    largest, smallest = t.where(has_t, -math.inf).amax(1), t.where(has_t, math.inf).amin(1)
    is_still = (largest - smallest <= still).all(1) & inside
    is_still = is_still & has_target.any(1)[:, None, None]
    count = has_preds.sum(1)
    p = preds.double()
    if preds.dtype == torch.uint8:
        spread = count[:, None, None, None] * p.square().sum(1) - p.sum(1).square()
        divisor = count.clamp(min=1)
    else:
        # From one of them, so that equal frames differ by exactly 0.
        first = has_preds.long().argmax(1)[:, None, None, None, None].expand_as(p[:, :1])
        difference = (p - p.gather(1, first)).where(has_p, 0)
        mean = difference.sum(1, keepdim=True) / count.clamp(min=1)[:, None, None, None, None]
        spread = (difference - mean).square().where(has_p, 0).sum(1)
        divisor = torch.ones_like(count)
    spread = spread.where(is_still[:, None], 0).sum((1, 2, 3)) / divisor
    return inside.sum((1, 2)).double(), is_still.sum((1, 2)).double(), spread
