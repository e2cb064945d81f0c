"""Everything that two label maps say about each other, in one read of the labels."""

from __future__ import annotations

import torch
from torch import Tensor

from wmscore.ops._library import op

__all__ = ["LARGEST_ID", "MOST_OBJECTS", "label_overlap", "label_slots"]

LARGEST_ID = 32767
MOST_OBJECTS = 255  # of a list, so that a slot is a byte
LABEL_DTYPES = (torch.uint8, torch.int16, torch.int32, torch.int64)


def check_overlap(
    preds: Tensor,
    target: Tensor,
    preds_ids: Tensor,
    target_ids: Tensor,
    target_index: Tensor | None = None,
) -> None:
    """Refuse label maps, lists of ids or an index that do not fit each other.

    Raises:
        TypeError: an argument is not a tensor, or of the wrong dtype.
        ValueError: shapes or devices do not fit, or a list is longer than `MOST_OBJECTS`.
    """
    for name, value in (("preds", preds), ("target", target)):
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
        if value.dtype not in LABEL_DTYPES:
            expected = ", ".join(str(dtype).removeprefix("torch.") for dtype in LABEL_DTYPES)
            raise TypeError(f"{name} must have one of the dtypes {expected}, got {value.dtype}")
        if value.dim() != 4:
            raise ValueError(f"{name} must have shape [B, T, H, W], got {tuple(value.shape)}")
    if preds.dtype != target.dtype:
        raise TypeError(
            f"preds and target must have one dtype, got {preds.dtype} and {target.dtype}"
        )
    if preds.device != target.device:
        raise ValueError(
            f"preds and target must be on one device, got {preds.device} and {target.device}"
        )
    if preds.shape[1:] != target.shape[1:]:
        raise ValueError(
            "preds and target must have the same [T, H, W], "
            f"got {tuple(preds.shape)} and {tuple(target.shape)}"
        )
    height, width = preds.shape[2:]
    if height * width >= 2**31 or max(height, width) > 2**24:
        raise ValueError(
            "a frame must have fewer than 2^31 pixels and sides of at most 2^24, "
            f"got {height} x {width}"
        )
    for name, ids in (("preds_ids", preds_ids), ("target_ids", target_ids)):
        if not isinstance(ids, Tensor):
            raise TypeError(f"{name} must be a torch.Tensor, got {type(ids).__name__}")
        if ids.dtype != torch.int64:
            raise TypeError(f"{name} must be int64, got {ids.dtype}")
        if ids.dim() != 2 or ids.shape[0] != preds.shape[0]:
            raise ValueError(
                f"{name} must have shape [B, objects] with B = {preds.shape[0]} as preds, "
                f"got {tuple(ids.shape)}"
            )
        if ids.shape[1] > MOST_OBJECTS:
            raise ValueError(f"{name} must list at most {MOST_OBJECTS} objects, got {ids.shape[1]}")
        if ids.device != preds.device:
            raise ValueError(f"{name} must be on {preds.device} like preds, got {ids.device}")
    if target_index is None:
        if preds.shape[0] != target.shape[0]:
            raise ValueError(
                "without target_index, target must have as many rows as preds, "
                f"{preds.shape[0]}, got {target.shape[0]}"
            )
    elif not isinstance(target_index, Tensor):
        raise TypeError(
            f"target_index must be a torch.Tensor or None, got {type(target_index).__name__}"
        )
    elif target_index.dtype != torch.int64:
        raise TypeError(f"target_index must be int64, got {target_index.dtype}")
    elif target_index.shape != preds.shape[:1]:
        raise ValueError(
            f"target_index must have shape [B] = {tuple(preds.shape[:1])}, "
            f"got {tuple(target_index.shape)}"
        )
    elif target_index.device != preds.device:
        raise ValueError(
            f"target_index must be on {preds.device} like preds, got {target_index.device}"
        )


@op(check_overlap)
def label_overlap(
    preds: Tensor,
    target: Tensor,
    preds_ids: Tensor,
    target_ids: Tensor,
    target_index: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Count the pixels that generated and reference objects share, and measure both.

    Object n of a list has slot n + 1. Slot 0 is everything else: background, ids that are not
    listed, negative labels and those above `LARGEST_ID`.

    Args:
        preds: generated labels `[B, T, H, W]`; uint8, int16, int32 or int64, any strides, read in
            place where the pixels of a frame follow each other.
        target: reference labels `[S, T, H, W]` of the same dtype and device.
        preds_ids: int64 `[B, M]`, the objects to look for in preds, M at most `MOST_OBJECTS`. What
            is not in 1..`LARGEST_ID` is padding. Of equal ids the last one has the pixels.
        target_ids: int64 `[B, N]`, the objects to look for in the target of each row of preds.
        target_index: int64 `[B]`, the row of target that belongs to each row of preds; None pairs
            them as they are, S = B.

    Returns:
        - int32 `[B, T, N + 1, M + 1]`, pixels with slot i in the reference and j in preds;
        - int64 `[B, T, N, 6]`, of each reference object the sum of y and of x over its pixels,
          then top, left, bottom and right of its box, bottom and right exclusive; zeros where it
          has no pixel;
        - int64 `[B, T, M, 6]`, the same of each object of preds;
        - int64 `[B, T, min(N, M)]`, pixels of object n of `preds_ids` outside the box of object n
          of `target_ids` grown by its own height above and below and by its own width left and
          right; all of them where that one has no pixel.

        Exact and equal between kernels. A row whose index is out of range is all zeros. There is
        no gradient.

    Raises:
        TypeError: not tensors, or of the wrong dtype.
        ValueError: shapes or devices do not fit, or a list is longer than `MOST_OBJECTS`.

    Example:
        >>> target = torch.tensor([[[[0, 7, 7], [0, 7, 7]]]])
        >>> joint, target_shapes, _, _ = label_overlap(
        ...     target.roll(-1, -1), target, torch.tensor([[7]]), torch.tensor([[7]])
        ... )
        >>> joint[0, 0]
        tensor([[0, 2],
                [2, 2]], dtype=torch.int32)
        >>> target_shapes[0, 0, 0]
        tensor([2, 6, 0, 1, 2, 3])
    """
    rows, steps, height, width = preds.shape
    if target_index is not None:
        is_there = (target_index >= 0) & (target_index < target.shape[0])
        if target.shape[0] == 0:
            target = target.new_zeros(1, steps, height, width)
        target = target.index_select(0, target_index.clamp(0, target.shape[0] - 1))
    reference, generated = target_ids.shape[1] + 1, preds_ids.shape[1] + 1
    frames = rows * steps
    target_slot, preds_slot = label_slots(target, target_ids), label_slots(preds, preds_ids)

    frame = torch.arange(frames, device=preds.device)[:, None, None]
    pair = (frame * reference + target_slot) * generated + preds_slot
    joint = _histogram(pair, frames * reference * generated).view(rows, steps, reference, generated)
    target_shapes = _shapes(target_slot + frame * reference, frames * reference)
    preds_shapes = _shapes(preds_slot + frame * generated, frames * generated)
    target_shapes = target_shapes.view(rows, steps, reference, 6)[:, :, 1:]
    preds_shapes = preds_shapes.view(rows, steps, generated, 6)[:, :, 1:]

    common = min(reference, generated) - 1
    top, left, bottom, right = target_shapes[:, :, :common, 2:].flatten(0, 1).unbind(-1)  # [F, K]
    tall, wide = bottom - top, right - left
    near_y = _between(top - tall, bottom + tall, height, generated)  # [F, M + 1, H]
    near_x = _between(left - wide, right + wide, width, generated)
    y = torch.arange(height, device=preds.device)[:, None]
    x = torch.arange(width, device=preds.device)
    near_y = near_y.flatten(1).gather(1, (preds_slot * height + y).flatten(1))
    near_x = near_x.flatten(1).gather(1, (preds_slot * width + x).flatten(1))
    far = ~(near_y & near_x)
    stray = _histogram(preds_slot + frame * generated, frames * generated, weight=far)
    stray = stray.view(rows, steps, generated)[:, :, 1 : common + 1]

    if target_index is not None:
        joint = joint * is_there[:, None, None, None]
        target_shapes = target_shapes * is_there[:, None, None, None]
        preds_shapes = preds_shapes * is_there[:, None, None, None]
        stray = stray * is_there[:, None, None]
    return (
        joint.to(torch.int32),
        target_shapes.contiguous(),
        preds_shapes.contiguous(),
        stray.contiguous(),
    )


def label_slots(labels: Tensor, ids: Tensor) -> Tensor:
    """Labels `[B, T, H, W]` as int64 slots `[B * T, H, W]`."""
    rows, objects = ids.shape
    ids = ids.where((ids > 0) & (ids <= LARGEST_ID), 0)
    slot = torch.arange(1, objects + 1, device=ids.device).expand(rows, -1).where(ids > 0, 0)
    # Whatever the label, the search ends at an id: the one before all others is 0, of slot 0.
    nobody = ids.new_zeros(rows, 1)
    ids, order = torch.cat([nobody, ids], 1).sort(stable=True, dim=1)
    slot = torch.cat([nobody, slot], 1).gather(1, order)
    wanted = labels.flatten(1).long()
    wanted = wanted.where((wanted > 0) & (wanted <= LARGEST_ID), 0)
    place = torch.searchsorted(ids, wanted, right=True) - 1  # of equal ids the last one
    found = slot.gather(1, place).where(ids.gather(1, place) == wanted, 0)
    return found.view(rows * labels.shape[1], *labels.shape[2:])


def _histogram(index: Tensor, size: int, weight: Tensor | None = None) -> Tensor:
    """Count of each index; a scatter, because `bincount` syncs on a device."""
    index = index.flatten()
    ones = torch.ones_like(index) if weight is None else weight.flatten().long()
    return index.new_zeros(size).scatter_add_(0, index, ones)


def _shapes(line: Tensor, lines: int) -> Tensor:
    """`[lines, 6]`: sums of y and x, and the box, over the pixels of each line of `[F, H, W]`."""
    height, width = line.shape[1:]
    y = torch.arange(height, device=line.device)
    x = torch.arange(width, device=line.device)
    of_rows = _histogram(line * height + y[:, None], lines * height).view(lines, height)
    of_columns = _histogram(line * width + x, lines * width).view(lines, width)
    sum_y, sum_x = (of_rows * y).sum(1), (of_columns * x).sum(1)
    (top, bottom), (left, right) = _extent(of_rows), _extent(of_columns)
    return torch.stack([sum_y, sum_x, top, left, bottom, right], 1)


def _extent(counts: Tensor) -> tuple[Tensor, Tensor]:
    """First and one past the last position with a pixel, of each line; zeros without one."""
    lines, length = counts.shape
    if length == 0:
        return counts.new_zeros(lines), counts.new_zeros(lines)
    position = torch.arange(length, device=counts.device)
    stop = (position + 1).where(counts > 0, 0).amax(1)
    start = position.where(counts > 0, length).amin(1)
    return torch.minimum(start, stop), stop


def _between(start: Tensor, stop: Tensor, length: int, slots: int) -> Tensor:
    """Which positions lie in start <= i < stop, `[F, slots, length]`; none of slot 0."""
    position = torch.arange(length, device=start.device)
    inside = (position >= start[..., None]) & (position < stop[..., None])  # [F, K, L]
    missing = slots - 1 - inside.shape[1]
    return torch.nn.functional.pad(inside, (0, 0, 1, missing))
