"""Counts of two label maps on one frame: joint histogram, boxes, and pixels far from their object.

Plain torch, exact integers, bounded temporaries.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from wmscore.functional._check import check_ids, check_labels, check_mask
from wmscore.functional._chunks import piece_elements

__all__ = [
    "LARGEST_ID",
    "LabelOverlap",
    "label_ids",
    "label_overlap",
    "overlap_pieces",
    "slot_maps",
]

LARGEST_ID = 32767

_TABLE_ROWS = 128  # rows whose table of LARGEST_ID + 1 entries is worked on at a time


@dataclass(frozen=True)
class LabelOverlap:
    """Pixel counts of generated against reference labels. See :func:`label_overlap`.

    Attributes:
        ids: ``[B, N]`` int64, the object id of each slot; 0 = padding.
        joint: ``[B, T, N + 1, N + 1]`` int64, ``joint[..., i, j]`` = pixels with slot i in the
            reference and slot j in the generated map. Slot 0 is everything that is not in ``ids``,
            background first of all; object n of ``ids`` is slot n + 1.
        boxes: ``[B, T, N, 4]`` int64, bounding box (top, left, bottom, right) of the reference
            object, bottom and right exclusive; zeros where it has no pixel.
        stray: ``[B, T, N]`` int64, generated pixels of the object outside its reference box grown
            by the box's own height above and below and by its own width left and right.
    """

    ids: Tensor
    joint: Tensor
    boxes: Tensor
    stray: Tensor

    @property
    def target_area(self) -> Tensor:
        """``[B, T, N]`` int64 pixels of each object in the reference."""
        return self.joint.sum(-1)[..., 1:]

    @property
    def preds_area(self) -> Tensor:
        """``[B, T, N]`` int64 pixels of each object in the generated frame."""
        return self.joint.sum(-2)[..., 1:]

    @property
    def intersection(self) -> Tensor:
        """``[B, T, N, N]`` int64 pixels shared by reference object i and generated object j."""
        return self.joint[..., 1:, 1:]

    @property
    def union(self) -> Tensor:
        """``[B, T, N, N]`` int64 pixels of reference object i or generated object j."""
        areas = self.target_area[..., :, None] + self.preds_area[..., None, :]
        return areas - self.intersection

    @property
    def iou(self) -> Tensor:
        """``[B, T, N, N]`` float64 in [0, 1]; NaN where neither object has a pixel."""
        return self.intersection.double() / self.union


def label_ids(
    preds_labels: Tensor, target_labels: Tensor, *, valid: Tensor | None = None
) -> Tensor:
    """Distinct object ids of each row, in ascending order, padded with 0.

    N, the largest number of objects of any row, has to be known on the host: this is one device
    sync. A caller who knows the ids saves it.

    Args:
        preds_labels: ``[B, T, H, W]`` integers in 0..32767, 0 = background.
        target_labels: of the same shape.
        valid: ``[B, T]`` bool, steps that exist; what the others hold is not looked at.

    Returns:
        ``[B, N]`` int64.

    Raises:
        ValueError: shapes differ or are empty, or an id is out of range.
        TypeError: not integer tensors.
    """
    check_labels(preds_labels=preds_labels, target_labels=target_labels)
    rows, device = preds_labels.shape[0], preds_labels.device
    if valid is not None:
        check_mask("valid", valid, tuple(preds_labels.shape[:2]), device)
        valid = valid.expand(preds_labels.shape[:2])
    present = torch.zeros(rows, LARGEST_ID + 1, dtype=torch.bool, device=device)
    range_seen = [torch.zeros(2, dtype=torch.int64, device=device)]
    for labels in (preds_labels, target_labels):
        for row, step in _pieces(labels):
            piece = labels[row, step].long()
            if valid is not None:
                piece = piece.where(valid[row, step, None, None], 0)
            piece = piece.flatten(1)
            range_seen.append(torch.stack(piece.aminmax()))
            present[row].scatter_(1, piece.clamp(0, LARGEST_ID), True)
    present[:, 0] = False
    count = present.sum(1)  # [B]
    largest = count.amax() if rows else count.sum()
    seen = torch.stack(range_seen)
    lowest, highest, objects = torch.stack([seen[:, 0].min(), seen[:, 1].max(), largest]).tolist()
    if lowest < 0 or highest > LARGEST_ID:
        raise ValueError(f"labels must lie in 0..{LARGEST_ID}, got {lowest}..{highest}")
    ids = torch.zeros(rows, objects + 1, dtype=torch.int64, device=device)
    every_id = torch.arange(LARGEST_ID + 1, device=device)
    for start in range(0, rows, _TABLE_ROWS):
        table = present[start : start + _TABLE_ROWS]
        # All absent ids write 0 to slot 0, which is dropped.
        slot = table.cumsum(1).where(table, 0)
        ids[start : start + _TABLE_ROWS].scatter_(1, slot, every_id.where(table, 0))
    return ids[:, 1:]


def label_overlap(
    preds_labels: Tensor, target_labels: Tensor, *, ids: Tensor | None = None
) -> LabelOverlap:
    """Joint histogram, reference boxes and stray pixels of every frame.

    Args:
        preds_labels: generated labels ``[B, T, H, W]``, integers, 0 = background.
        target_labels: reference labels of the same shape, in the same id space.
        ids: ``[B, N]`` the objects of each row, distinct, in 1..32767, 0 = padding; ``None`` finds
            them with one device sync. Labels that are not listed count as background.

    Returns:
        A :class:`LabelOverlap`.

    Raises:
        ValueError: shapes differ or are empty, or an id is out of range.
        TypeError: not integer tensors.
    """
    check_labels(preds_labels=preds_labels, target_labels=target_labels)
    ids = _checked_ids(preds_labels, target_labels, ids)
    rows, steps, objects = *preds_labels.shape[:2], ids.shape[1]
    joint = ids.new_empty(rows, steps, objects + 1, objects + 1)
    boxes = ids.new_empty(rows, steps, objects, 4)
    stray = ids.new_empty(rows, steps, objects)
    for row, step, piece in overlap_pieces(preds_labels, target_labels, ids):
        joint[row, step], boxes[row, step], stray[row, step] = piece.joint, piece.boxes, piece.stray
    return LabelOverlap(ids, joint, boxes, stray)


def overlap_pieces(
    preds_labels: Tensor, target_labels: Tensor, ids: Tensor | None
) -> Iterator[tuple[slice, slice, LabelOverlap]]:
    """Yield :func:`label_overlap` piece by piece: rows, steps, and the counts of that block."""
    ids = _checked_ids(preds_labels, target_labels, ids)
    for row, step in _pieces(preds_labels, frame_extra=8 * (ids.shape[1] + 1) ** 2):
        counts = _count(preds_labels[row, step], target_labels[row, step], ids[row])
        yield row, step, counts


def _checked_ids(preds_labels: Tensor, target_labels: Tensor, ids: Tensor | None) -> Tensor:
    if ids is None:
        return label_ids(preds_labels, target_labels)
    check_ids(ids, preds_labels, LARGEST_ID)
    return ids.long()


def _pieces(labels: Tensor, frame_extra: int = 0) -> Iterator[tuple[slice, slice]]:
    """Blocks of whole rows, or of steps of one row where a row is large."""
    rows, steps, height, width = labels.shape
    frames = max(1, piece_elements(labels.device) // (height * width + frame_extra))
    row_size, step_size = max(1, min(frames // steps, _TABLE_ROWS)), min(frames, steps)
    for row in range(0, rows, row_size):
        for step in range(0, steps, step_size):
            yield slice(row, row + row_size), slice(step, step + step_size)


def slot_maps(labels: Tensor, ids: Tensor) -> Tensor:
    """Labels ``[B, T, H, W]`` as slots ``[B * T, H, W]`` int64: 1..N of ``ids [B, N]``, else 0."""
    return _slots(_slot_table(ids), labels)


def _count(preds_labels: Tensor, target_labels: Tensor, ids: Tensor) -> LabelOverlap:
    rows, steps, height, width = preds_labels.shape
    slots = ids.shape[1] + 1
    frames = rows * steps
    slot_of = _slot_table(ids)
    preds_slot = _slots(slot_of, preds_labels)  # [F, H, W]
    target_slot = _slots(slot_of, target_labels)
    first_slot = slots * torch.arange(frames, device=ids.device)[:, None, None]

    joint = _histogram((first_slot + target_slot) * slots + preds_slot, frames * slots * slots)
    preds_slot, target_slot = preds_slot + first_slot, target_slot + first_slot

    y = torch.arange(height, device=ids.device)[:, None]
    x = torch.arange(width, device=ids.device)
    # Which image rows and columns the reference objects touch, [F * (N + 1), H] and [.., W].
    top, bottom = _extent(target_slot * height + y, frames * slots, height)
    left, right = _extent(target_slot * width + x, frames * slots, width)
    tall, wide = (bottom - top)[:, None], (right - left)[:, None]
    near_y = (y[:, 0] >= top[:, None] - tall) & (y[:, 0] < bottom[:, None] + tall)
    near_x = (x >= left[:, None] - wide) & (x < right[:, None] + wide)
    is_near = near_y.view(-1)[preds_slot * height + y] & near_x.view(-1)[preds_slot * width + x]
    near = _histogram(preds_slot, frames * slots, weight=is_near)

    joint = joint.view(rows, steps, slots, slots)
    boxes = torch.stack([top, left, bottom, right], -1).view(rows, steps, slots, 4)
    stray = joint.sum(-2) - near.view(rows, steps, slots)
    return LabelOverlap(ids, joint, boxes[..., 1:, :], stray[..., 1:])


def _slot_table(ids: Tensor) -> Tensor:
    """``[B, 32768]`` int64: the slot 1..N of each id, 0 for ids that are not listed."""
    table = ids.new_zeros(ids.shape[0], LARGEST_ID + 1)
    slot = torch.arange(1, ids.shape[1] + 1, device=ids.device).expand_as(ids)
    table.scatter_(1, ids, slot)
    table[:, 0] = 0  # where padding wrote its slot
    return table


def _slots(slot_of: Tensor, labels: Tensor) -> Tensor:
    """Labels ``[B, T, H, W]`` as slots ``[B * T, H, W]``."""
    index = labels.flatten(1).long()
    if labels.dtype != torch.uint8:  # what is out of range is not listed
        index = index.where((index >= 0) & (index <= LARGEST_ID), 0)
    return slot_of.gather(1, index).view(-1, *labels.shape[2:])


def _histogram(index: Tensor, size: int, weight: Tensor | None = None) -> Tensor:
    """Count of each index; a scatter, because ``bincount`` syncs on a device."""
    index = index.reshape(-1)
    ones = torch.ones_like(index) if weight is None else weight.reshape(-1).long()
    return index.new_zeros(size).scatter_add_(0, index, ones)


def _extent(index: Tensor, lines: int, length: int) -> tuple[Tensor, Tensor]:
    """First and one past the last marked position of each line; zeros for an empty line."""
    marked = torch.zeros(lines * length, dtype=torch.bool, device=index.device)
    marked = marked.scatter_(0, index.reshape(-1), True).view(lines, length)
    position = torch.arange(length, device=index.device)
    stop = (position + 1).where(marked, 0).amax(-1)
    start = position.where(marked, length).amin(-1)
    return torch.minimum(start, stop), stop
