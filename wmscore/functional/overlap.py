"""What two label maps say about each other: shared pixels, places, and strays.

The counts are those of :func:`wmscore.ops.label_overlap`, exact integers; here they get names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from wmscore.functional._check import check_ids, check_label_pair
from wmscore.functional._chunks import label_pieces
from wmscore.functional.label_ids import label_ids, list_ids, present_ids
from wmscore.ops import has_kernel
from wmscore.ops import label_overlap as count_overlap
from wmscore.ops.label_overlap import LARGEST_ID, MOST_OBJECTS

__all__ = [
    "LARGEST_ID",
    "MOST_OBJECTS",
    "LabelOverlap",
    "label_overlap",
    "overlap_pieces",
]


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
    for row, step in label_pieces(preds_labels, maps.frame_cost):
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
    for row, step in label_pieces(preds_labels, maps.frame_cost):
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
