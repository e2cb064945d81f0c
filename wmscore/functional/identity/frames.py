"""The states of all objects in one pair of frames, from counts of their label maps."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from wmscore.functional.identity.places import in_ring, match_places
from wmscore.functional.identity_state import IdentityState
from wmscore.functional.overlap import LabelOverlap

__all__ = ["FrameIdentity", "at_border", "frame_identity"]

_HALF = 0.5  # of the reference area: what makes a twin, is at home, or covers an object
_PART = 0.25  # of the reference area, which a split leaves to each of the parts


class FrameIdentity(NamedTuple):
    """What one pair of frames tells, each `[B, T, N]`; see `ObjectIdentity`.

    `explained` says of a generated region where it may have come from: the border of the frame,
    which it reaches, or would if it grew by half its size on each side; or an object that it has
    replaced or is a part of.
    """

    state: Tensor
    other_id: Tensor
    iou: Tensor
    centroid_error: Tensor
    area: Tensor
    area_ratio: Tensor
    visible: Tensor
    present: Tensor
    matched_id: Tensor
    explained: Tensor

    @classmethod
    def empty(cls, rows: int, steps: int, objects: int, device: torch.device) -> FrameIdentity:
        """Room for the frames of all pieces."""
        kinds = {
            "state": torch.uint8,
            "iou": torch.float64,
            "centroid_error": torch.float64,
            "area_ratio": torch.float64,
            "visible": torch.bool,
            "present": torch.bool,
            "explained": torch.bool,
        }
        shape = (rows, steps, objects)
        return cls(
            *(
                torch.empty(shape, dtype=kinds.get(name, torch.int64), device=device)
                for name in cls._fields
            )
        )

    def only_where(self, kept: Tensor) -> FrameIdentity:
        """Blank what slots without an object and invalid steps hold; `kept` is `[B, T, N]`."""
        blank = {"iou": torch.nan, "centroid_error": torch.nan, "area_ratio": torch.nan}
        return FrameIdentity(
            *(getattr(self, name).masked_fill(~kept, blank.get(name, 0)) for name in self._fields)
        )


def frame_identity(
    overlap: LabelOverlap, known: Tensor, size: tuple[int, int], min_area: int, iou_gate: float
) -> FrameIdentity:
    """Apply the rules of `IdentityState` to frames, each alone.

    Args:
        overlap: counts; the slots of both videos are the same objects.
        known: `[B, N]` bool, objects that the reference shows at some step; the others are
            strangers.
        size: height and width of the frames.
        min_area: pixels from which an object counts as visible, or as present.
        iou_gate: IoU from which a region counts as being in the reference's place.
    """
    counts = overlap.intersection  # [B, T, N, N]: reference object, generated object
    area, preds_area = overlap.target_area, overlap.preds_area
    visible, present = area >= min_area, preds_area >= min_area
    own = counts.diagonal(dim1=-2, dim2=-1)  # [B, T, N]
    iou = overlap.iou.diagonal(dim1=-2, dim2=-1)
    in_place = iou >= iou_gate
    known = known[:, None]  # [B, 1, N]

    self_slot = torch.arange(1, area.shape[-1] + 1, device=area.device)
    matched = match_places(overlap, min_area, iou_gate)
    # The inverse: in whose place each generated object stands.
    place = torch.zeros_like(pad(matched, (1, 0)))
    place = place.scatter(-1, matched, self_slot.expand_as(matched))
    ring = in_ring(place[..., 1:])

    is_self = torch.eye(area.shape[-1], dtype=torch.bool, device=area.device)
    others = counts.masked_fill(is_self, 0)
    covering = _largest(others.masked_fill(others < _HALF * area[..., None], 0))
    is_matched = (matched > 0) & (matched != self_slot)
    occupant = torch.where(is_matched, matched, covering.where(~present, 0))
    taken = occupant > 0

    def of_occupant(flag: Tensor) -> Tensor:
        """A flag `[B, T, N]` of the object in the place, False where there is none."""
        return pad(flag.expand_as(visible), (1, 0)).gather(-1, occupant)

    at_home = visible & (own >= _HALF * area)
    gone = ~in_place & ~present
    touches = _boxes_touch(overlap.target_boxes, occupant)
    merged = gone & visible & (covering > 0) & of_occupant(at_home) & touches
    # What lies in the place of those that have grown into it makes no second one of an object.
    grown = pad(torch.zeros_like(own), (1, 0)).scatter_add(
        -1,
        covering.where(merged, 0),
        others.gather(-1, (covering - 1).clamp(min=0)[..., None])[..., 0],
    )
    doubled = torch.minimum(overlap.stray - grown[..., 1:], own) >= _HALF * area
    by_known = of_occupant(known)
    stranger = others.masked_fill(known[..., None, :], 0)
    stranger = stranger.masked_fill(2 * stranger < preds_area[..., None, :], 0)  # mostly within
    split = (own >= _PART * area) & (stranger.sum(-1) >= _PART * area)
    hidden = by_known & ~is_matched & ~of_occupant(at_home)

    state = torch.full_like(area, IdentityState.MISLOCATED, dtype=torch.uint8)
    # Last to first, so that the first rule of IdentityState has the last word.
    for holds, value in (
        (gone, IdentityState.VANISH),
        (gone & hidden, IdentityState.UNDETERMINED),
        (gone & taken & ~by_known, IdentityState.MORPH),
        (~in_place & by_known & ~hidden & (ring | ~present), IdentityState.SWAP),
        (merged, IdentityState.MERGE),
        (in_place, IdentityState.OK),
        (doubled, IdentityState.DUPLICATE),
        (split, IdentityState.SPLIT),
        (~visible, IdentityState.NOT_VISIBLE),
    ):
        state.masked_fill_(holds, value)

    names = pad(overlap.target_ids, (1, 0))[:, None].expand(-1, area.shape[1], -1)
    part = _largest(stranger)
    has_other = torch.zeros_like(visible)
    for value in (IdentityState.SWAP, IdentityState.MORPH, IdentityState.MERGE):
        has_other |= state == value
    other = occupant.where(has_other, part.where(state == IdentityState.SPLIT, 0))
    # Where a stranger came from: the place of an object, or a part of one.
    claimed = torch.zeros_like(pad(visible, (1, 0)))
    claimed = claimed.scatter(-1, occupant.where(state == IdentityState.MORPH, 0), True)[..., 1:]
    claimed |= ((stranger > 0) & (state == IdentityState.SPLIT)[..., None]).any(-2)
    return FrameIdentity(
        state=state,
        other_id=names.gather(-1, other),
        iou=iou,
        centroid_error=overlap.centroid_distance.diagonal(dim1=-2, dim2=-1),
        area=area,
        area_ratio=(preds_area.double() / area).masked_fill(area == 0, torch.nan),
        visible=visible,
        present=present,
        matched_id=names.gather(-1, matched),
        explained=at_border(overlap.preds_boxes, size) | claimed,
    )


def _boxes_touch(boxes: Tensor, other: Tensor) -> Tensor:
    """Whether boxes `[B, T, N, 4]` come within a pixel of those of 1-based slots `other`."""
    slot = (other - 1).clamp(min=0)[..., None].expand(*other.shape, 4)
    there = boxes.gather(-2, slot)
    start = torch.maximum(boxes[..., :2], there[..., :2])
    stop = torch.minimum(boxes[..., 2:], there[..., 2:])
    return (start - stop <= 1).all(-1) & (other > 0)


def at_border(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Whether boxes `[..., 4]` reach the border when they grow by half their size on each side."""
    (top, left, bottom, right), (height, width) = boxes.unbind(-1), size
    tall, wide = ((bottom - top) // 2).clamp(min=1), ((right - left) // 2).clamp(min=1)
    is_vertical = (top < tall) | (bottom + tall > height)
    return is_vertical | (left < wide) | (right + wide > width)


def _largest(counts: Tensor) -> Tensor:
    """1-based slot of the largest count in the last dim, the first of equals; 0 without any."""
    counts = pad(counts, (1, 0))  # slot 0 stands for nobody, and wins when nobody has a pixel
    slot = torch.arange(counts.shape[-1], device=counts.device)
    return slot.where(counts == counts.amax(-1, keepdim=True), counts.shape[-1]).amin(-1)
