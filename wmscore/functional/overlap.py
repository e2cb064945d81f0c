"""What two label maps say about each other: shared pixels, places, and strays.

The counts are those of :func:`wmscore.ops.label_overlap`, exact integers; here they get names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from wmscore.functional._check import check_ids, check_label_pair, check_labels, check_mask
from wmscore.functional._chunks import piece_elements
from wmscore.ops import has_kernel
from wmscore.ops import label_overlap as count_overlap
from wmscore.ops.label_overlap import LARGEST_ID, MOST_OBJECTS

__all__ = [
    "LARGEST_ID",
    "MOST_OBJECTS",
    "LabelOverlap",
    "label_ids",
    "label_overlap",
    "list_ids",
    "overlap_pieces",
    "present_ids",
]

_TABLE_ROWS = 128  # rows whose table of LARGEST_ID + 1 entries is worked on at a time


@dataclass(frozen=True)
class LabelOverlap:
    """Pixel counts of generated against reference labels. See :func:`label_overlap`.

    N objects of the reference, M generated ones; object n of a list has slot n + 1. Pixel (y, x)
    has its centre at (y, x), from 0.

    Attributes:
        preds_ids: ``[B, M]`` int64, the id of each generated object; 0 = padding.
        target_ids: ``[B, N]`` int64, that of each reference object.
        joint: ``[B, T, N + 1, M + 1]`` int32, ``joint[..., i, j]`` = pixels with slot i in the
            reference and slot j in the generated map. Slot 0 is everything that is not listed,
            background first of all.
        preds_boxes: ``[B, T, M, 4]`` int64, bounding box (top, left, bottom, right) of the
            generated object, bottom and right exclusive; zeros where it has no pixel.
        target_boxes: ``[B, T, N, 4]`` int64, that of the reference object.
        preds_sums: ``[B, T, M, 2]`` int64, sums of y and of x over the generated object's pixels.
        target_sums: ``[B, T, N, 2]`` int64, those of the reference object.
        stray: ``[B, T, min(N, M)]`` int64, pixels of generated object n outside the box of
            reference object n grown by the box's own height above and below and by its own width
            left and right; all of them where that one has no pixel. Of use where both lists name
            the same objects.
    """

    preds_ids: Tensor
    target_ids: Tensor
    joint: Tensor
    preds_boxes: Tensor
    target_boxes: Tensor
    preds_sums: Tensor
    target_sums: Tensor
    stray: Tensor

    @property
    def target_area(self) -> Tensor:
        """``[B, T, N]`` int64 pixels of each object in the reference."""
        return self.joint.sum(-1)[..., 1:]

    @property
    def preds_area(self) -> Tensor:
        """``[B, T, M]`` int64 pixels of each object in the generated frame."""
        return self.joint.sum(-2)[..., 1:]

    @property
    def intersection(self) -> Tensor:
        """``[B, T, N, M]`` int32 pixels shared by reference object i and generated object j."""
        return self.joint[..., 1:, 1:]

    @property
    def union(self) -> Tensor:
        """``[B, T, N, M]`` int64 pixels of reference object i or generated object j."""
        areas = self.target_area[..., :, None] + self.preds_area[..., None, :]
        return areas - self.intersection

    @property
    def iou(self) -> Tensor:
        """``[B, T, N, M]`` float64 in [0, 1]; NaN where neither object has a pixel."""
        return self.intersection.double() / self.union

    @property
    def target_centroid(self) -> Tensor:
        """``[B, T, N, 2]`` float64, mean (y, x) of a reference object's pixels; NaN without one."""
        return self.target_sums.double() / self.target_area[..., None]

    @property
    def preds_centroid(self) -> Tensor:
        """``[B, T, M, 2]`` float64, mean (y, x) of a generated object's pixels; NaN without one."""
        return self.preds_sums.double() / self.preds_area[..., None]

    @property
    def centroid_distance(self) -> Tensor:
        """``[B, T, N, M]`` float64, pixels between the centroids; NaN where one has no pixel."""
        target, preds = self.target_centroid, self.preds_centroid
        offset = target[..., :, None, :] - preds[..., None, :, :]
        return torch.hypot(offset[..., 0], offset[..., 1])


def label_ids(*labels: Tensor, valid: Tensor | None = None) -> Tensor:
    """Distinct object ids of each row of one or more label maps, ascending, padded with 0.

    N, the largest number of objects of any row, has to be known on the host: this is one device
    sync. A caller who knows the ids saves it.

    Args:
        *labels: maps ``[B, T, H, W]`` of one shape, integers in 0..32767, 0 = background.
        valid: ``[B, T]`` bool, steps that exist; what the others hold is not looked at.

    Returns:
        ``[B, N]`` int64, N at most 255.

    Raises:
        ValueError: shapes differ or are empty, an id is out of range, or a row has more than 255
            objects.
        TypeError: not integer tensors, or none at all.

    Example:
        >>> label_ids(torch.tensor([[[[0, 4, 2]]], [[[7, 0, 7]]]]))
        tensor([[2, 4],
                [7, 0]])
    """
    if not labels:
        raise TypeError("label_ids needs a label map, got none")
    check_labels(**dict(zip(_map_names(len(labels)), labels, strict=True)))
    if valid is not None:
        check_mask("valid", valid, tuple(labels[0].shape[:2]), labels[0].device)
        valid = valid.expand(labels[0].shape[:2])
    present, extremes = present_ids(labels[0], valid)
    for others in labels[1:]:
        more, more_extremes = present_ids(others, valid)
        present |= more
        extremes = torch.cat([extremes, more_extremes], 1)
    return list_ids(present, extremes)


def label_overlap(
    preds_labels: Tensor,
    target_labels: Tensor,
    *,
    ids: Tensor | None = None,
    preds_ids: Tensor | None = None,
    target_ids: Tensor | None = None,
    target_index: Tensor | None = None,
) -> LabelOverlap:
    """Shared pixels, boxes, centroids and stray pixels of every frame, in one read of the labels.

    Ids that are not given are found with one device sync: without any, the objects of both maps
    make one list for both, as ``ids`` does; of two lists, the one that is left out has the objects
    of its own map. Labels that are not listed count as background.

    Args:
        preds_labels: generated labels ``[B, T, H, W]``, integers, 0 = background.
        target_labels: reference labels of the same shape, or ``[S, T, H, W]`` with an index.
        ids: ``[B, N]`` the objects of each row in both maps, which then share an id space;
            distinct, in 1..32767, at most 255, 0 = padding.
        preds_ids: ``[B, M]`` those of the generated map alone, where ids are its own, say a
            segmenter's.
        target_ids: ``[B, N]`` those of the reference of each row of ``preds_labels``.
        target_index: ``[B]`` int64, the row of ``target_labels`` for each row of ``preds_labels``.

    Returns:
        A :class:`LabelOverlap`.

    Raises:
        ValueError: shapes differ or are empty, an id or an index is out of range or listed twice
            (values are looked at on the CPU only), or both kinds of ids are given.
        TypeError: not integer tensors.

    Example:
        >>> target = torch.tensor([[[[5, 5, 0, 0]]]])
        >>> overlap = label_overlap(target.roll(1, -1), target)
        >>> overlap.iou
        tensor([[[[0.3333]]]], dtype=torch.float64)
        >>> overlap.centroid_distance
        tensor([[[[1.]]]], dtype=torch.float64)
    """
    maps = _Maps.of(preds_labels, target_labels, ids, preds_ids, target_ids, target_index)
    if has_kernel("label_overlap", preds_labels.device):
        return maps.count(slice(None), slice(None))
    rows, steps = preds_labels.shape[:2]
    whole: LabelOverlap | None = None
    for row, step in _pieces(preds_labels, maps.frame_cost):
        piece = maps.count(row, step)
        if whole is None:
            whole = _empty_like(piece, maps, rows, steps)
        for field in fields(piece)[2:]:
            getattr(whole, field.name)[row, step] = getattr(piece, field.name)
    return whole if whole is not None else maps.count(slice(None), slice(None))


def overlap_pieces(
    preds_labels: Tensor,
    target_labels: Tensor,
    ids: Tensor | None = None,
    *,
    preds_ids: Tensor | None = None,
    target_ids: Tensor | None = None,
    target_index: Tensor | None = None,
) -> Iterator[tuple[slice, slice, LabelOverlap]]:
    """Yield :func:`label_overlap` piece by piece: rows, steps, and the counts of that block.

    What a caller makes of a piece, a few values for each pair of objects, stays bounded.
    """
    maps = _Maps.of(preds_labels, target_labels, ids, preds_ids, target_ids, target_index)
    for row, step in _pieces(preds_labels, maps.frame_cost):
        yield row, step, maps.count(row, step)


@dataclass(frozen=True)
class _Maps:
    """Checked arguments: labels of one dtype, and the ids of both."""

    preds: Tensor
    target: Tensor
    preds_ids: Tensor
    target_ids: Tensor
    index: Tensor | None

    @classmethod
    def of(
        cls,
        preds: Tensor,
        target: Tensor,
        ids: Tensor | None,
        preds_ids: Tensor | None,
        target_ids: Tensor | None,
        index: Tensor | None,
    ) -> _Maps:
        check_label_pair(preds, target, index)
        if ids is not None:
            if preds_ids is not None or target_ids is not None:
                raise ValueError("ids are for both maps: got preds_ids or target_ids as well")
            check_ids(ids, preds, LARGEST_ID, MOST_OBJECTS)
            preds_ids = target_ids = ids
        else:
            if preds_ids is not None:
                check_ids(preds_ids, preds, LARGEST_ID, MOST_OBJECTS, name="preds_ids")
            if target_ids is not None:
                check_ids(target_ids, preds, LARGEST_ID, MOST_OBJECTS, name="target_ids")
            preds_ids, target_ids = _found_ids(preds, target, preds_ids, target_ids, index)
        dtype = torch.promote_types(preds.dtype, target.dtype)
        if dtype == torch.int8:
            dtype = torch.int16
        return cls(preds.to(dtype), target.to(dtype), preds_ids.long(), target_ids.long(), index)

    @property
    def frame_cost(self) -> int:
        """Elements of temporaries that a frame needs."""
        reference, generated = self.target_ids.shape[1] + 1, self.preds_ids.shape[1] + 1
        if has_kernel("label_overlap", self.preds.device):  # reads the labels where they are
            return reference * generated
        height, width = self.preds.shape[2:]
        return (
            height * width + 8 * reference * generated + (reference + generated) * (height + width)
        )

    def count(self, row: slice, step: slice) -> LabelOverlap:
        preds_ids, target_ids = self.preds_ids[row], self.target_ids[row]
        if self.index is None:
            target, index = self.target[row, step], None
        else:
            target, index = self.target[:, step], self.index[row]
        joint, target_shapes, preds_shapes, stray = count_overlap(
            self.preds[row, step], target, preds_ids, target_ids, index
        )
        return LabelOverlap(
            preds_ids=preds_ids,
            target_ids=target_ids,
            joint=joint,
            preds_boxes=preds_shapes[..., 2:],
            target_boxes=target_shapes[..., 2:],
            preds_sums=preds_shapes[..., :2],
            target_sums=target_shapes[..., :2],
            stray=stray,
        )


def _empty_like(piece: LabelOverlap, maps: _Maps, rows: int, steps: int) -> LabelOverlap:
    values = {
        field.name: getattr(piece, field.name).new_empty(
            rows, steps, *getattr(piece, field.name).shape[2:]
        )
        for field in fields(piece)[2:]
    }
    return LabelOverlap(preds_ids=maps.preds_ids, target_ids=maps.target_ids, **values)


def _pieces(labels: Tensor, frame_cost: int) -> Iterator[tuple[slice, slice]]:
    """Blocks of whole rows, or of steps of one row where a row is large."""
    rows, steps = labels.shape[:2]
    frames = max(1, piece_elements(labels.device) // frame_cost)
    row_size, step_size = max(1, min(frames // steps, _TABLE_ROWS)), min(frames, steps)
    for row in range(0, rows, row_size):
        for step in range(0, steps, step_size):
            yield slice(row, row + row_size), slice(step, step + step_size)


def _map_names(count: int) -> list[str]:
    return ["labels"] if count == 1 else [f"labels[{i}]" for i in range(count)]


def _found_ids(
    preds: Tensor,
    target: Tensor,
    preds_ids: Tensor | None,
    target_ids: Tensor | None,
    index: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """The ids of both maps, those that are not given found in the labels."""
    if preds_ids is not None and target_ids is not None:
        return preds_ids, target_ids
    if target_ids is not None:
        return label_ids(preds), target_ids
    present, extremes = present_ids(target, None)
    if index is not None:
        present, extremes = (x.index_select(0, index) for x in (present, extremes))
    if preds_ids is not None:
        return preds_ids, list_ids(present, extremes)
    of_preds, preds_extremes = present_ids(preds, None)
    ids = list_ids(present | of_preds, torch.cat([extremes, preds_extremes], 1))
    return ids, ids


def present_ids(labels: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
    """Which ids each row has, bool ``[B, LARGEST_ID + 1]``, and its extremes ``[B, 2]``."""
    rows, device = labels.shape[0], labels.device
    present = torch.zeros(rows, LARGEST_ID + 1, dtype=torch.bool, device=device)
    extremes = torch.zeros(rows, 2, dtype=torch.int64, device=device)
    for row, step in _pieces(labels, labels.shape[2:].numel()):
        piece = labels[row, step]
        if valid is not None:
            piece = piece.where(valid[row, step, None, None], 0)
        piece = piece.flatten(1)
        low, high = piece.amin(1).long(), piece.amax(1).long()  # aminmax of rows is slower
        extremes[row, 0] = torch.minimum(extremes[row, 0], low)
        extremes[row, 1] = torch.maximum(extremes[row, 1], high)
        if device.type == "cpu":
            _mark_by_count(present[row], piece, int(low.min()), int(high.max()))
        else:  # a count would sync
            present[row].scatter_(1, piece.long().clamp(0, LARGEST_ID), True)
    present[:, 0] = False
    return present, extremes


def _mark_by_count(present: Tensor, labels: Tensor, low: int, high: int) -> None:
    """Set ``present[b, i]`` for the labels i of row b; several times as fast as a scatter."""
    if low < 0 or high > LARGEST_ID:  # an error to come, if this row is used
        labels, high = labels.long().clamp(0, LARGEST_ID), min(high, LARGEST_ID)
    rows, size = labels.shape[0], max(high, 0) + 1
    if rows > 1:  # at most 128 rows: no overflow
        first = size * torch.arange(rows, dtype=torch.int32)[:, None]
        labels = labels.to(torch.int32) + first
    counts = labels.flatten().bincount(minlength=rows * size)
    present[:, :size] |= counts.view(rows, size) > 0


def list_ids(present: Tensor, extremes: Tensor) -> Tensor:
    """``[B, N]`` the ids that are present; the sync of :func:`label_ids`."""
    rows, device = present.shape[0], present.device
    if rows == 0:
        return torch.zeros(0, 0, dtype=torch.int64, device=device)
    numbers = torch.stack([extremes.amin(1), extremes.amax(1), present.sum(1)])  # [3, B]
    worst = torch.stack([numbers[0].argmin(), numbers[1].argmax(), numbers[2].argmax()])
    (lowest, highest, objects), at = torch.stack(
        [numbers.gather(1, worst[:, None])[:, 0], worst]
    ).tolist()
    if lowest < 0 or highest > LARGEST_ID:
        row = at[0] if lowest < 0 else at[1]
        raise ValueError(
            f"labels must lie in 0..{LARGEST_ID}, got {lowest}..{highest} (row {row} is outside)"
        )
    if objects > MOST_OBJECTS:
        raise ValueError(
            f"a row may have at most {MOST_OBJECTS} objects, got {objects} in row {at[2]}"
        )
    ids = torch.zeros(rows, objects + 1, dtype=torch.int64, device=device)
    every_id = torch.arange(LARGEST_ID + 1, device=device)
    for start in range(0, rows, _TABLE_ROWS):
        table = present[start : start + _TABLE_ROWS]
        # All absent ids write 0 to slot 0, which is dropped.
        slot = table.cumsum(1).where(table, 0)
        ids[start : start + _TABLE_ROWS].scatter_(1, slot, every_id.where(table, 0))
    return ids[:, 1:]
