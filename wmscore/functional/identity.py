"""Identity persistence: whether each object of the reference stays the same object when generated.

Identity is a disagreement of WHO (the label) and WHERE (the reference's region). An object that is
itself but elsewhere is mislocated, which is a fault of the dynamics and never an identity break.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from wmscore.functional._check import check_count, check_labels, check_mask, check_number
from wmscore.functional.horizon import FirstCrossing, first_run
from wmscore.functional.overlap import LabelOverlap, label_ids, overlap_pieces
from wmscore.functional.reasons import Reason

__all__ = ["IdentityState", "ObjectIdentity", "object_identity"]

_DUPLICATE_SHARE = 0.5  # of the reference area, far away and in place, that makes two of one


class IdentityState(IntEnum):
    """State of one reference object at one step; from SWAP on, its identity is broken.

    The first rule that holds decides, in this order:

    1. UNDEFINED: the step is not valid (or the slot is padding).
    2. NOT_VISIBLE: fewer than ``min_area`` reference pixels: a legitimate exit or occlusion.
    3. SWAP: own IoU below the gate, and another id's region reaches it in this place.
    4. VANISH: own IoU below the gate, and fewer than ``min_area`` generated pixels of this id
       anywhere: by the measure applied to the reference, it is not visible.
    5. DUPLICATE: half of the reference's pixels are covered by this id, and as many of its
       generated pixels again lie farther away than one object size.
    6. OK: own IoU at or above the gate.
    7. MISLOCATED: none of these: the object is there, but elsewhere or of another shape.
    """

    UNDEFINED = 0
    NOT_VISIBLE = 1
    OK = 2
    MISLOCATED = 3
    SWAP = 4
    VANISH = 5
    DUPLICATE = 6

    @property
    def is_break(self) -> bool:
        """Whether the object has lost its identity."""
        return self >= IdentityState.SWAP


@dataclass(frozen=True)
class ObjectIdentity:
    """Identity of each reference object over time. See :func:`object_identity`.

    Slots without an object (``ids`` 0) are UNDEFINED at all steps.

    Attributes:
        ids: ``[B, N]`` int64 object ids; 0 = padding.
        state: ``[B, T, N]`` uint8, an :class:`IdentityState`.
        iou: ``[B, T, N]`` float64 in [0, 1], reference object with the generated region of the same
            id; NaN where neither has a pixel and at invalid steps.
        area: ``[B, T, N]`` int64, pixels of the object in the reference.
        area_ratio: ``[B, T, N]`` float64, generated over reference area; NaN where the reference
            has no pixel and at invalid steps.
        visible: ``[B, T, N]`` bool, the reference shows ``min_area`` pixels or more.
        present: ``[B, T, N]`` bool, the generated frame does.
        matched_id: ``[B, T, N]`` int64, the generated id with the largest IoU with the reference
            object, where that reaches the gate; else 0.
        score: ``[B, T]`` float64 in [0, 1], share of the visible objects whose identity is not
            broken, higher is better; NaN where there is none.
        reason: ``[B, T]`` uint8, a :class:`Reason`.
        object_first_break: ``[B, N]`` int64, 1-based step of each object's first break; 0 = none.
        object_first_event: ``[B, N]`` uint8, its state at that step; 0 = none.
        first_break: ``[B]`` int64, step of the row's first break; 0 = none.
        first_break_id: ``[B]`` int64, the object that broke; of several, the one with the largest
            reference area at that step, then the smallest id. 0 = none.
        first_break_event: ``[B]`` uint8, its state at that step; 0 = none.
    """

    ids: Tensor
    state: Tensor
    iou: Tensor
    area: Tensor
    area_ratio: Tensor
    visible: Tensor
    present: Tensor
    matched_id: Tensor
    score: Tensor
    reason: Tensor
    object_first_break: Tensor
    object_first_event: Tensor
    first_break: Tensor
    first_break_id: Tensor
    first_break_event: Tensor


def object_identity(
    preds_labels: Tensor,
    target_labels: Tensor,
    *,
    valid: Tensor | None = None,
    ids: Tensor | None = None,
    min_area: int = 16,
    iou_gate: float = 0.5,
    patience: int = 2,
) -> ObjectIdentity:
    r"""Identity state of every object at every step, and where it first breaks.

    .. math:: \mathrm{score}_t = \frac{|\{n \text{ visible}: \text{state OK or MISLOCATED}\}|}
                                      {|\{n \text{ visible}\}|}

    A break is the earliest run of ``patience`` broken steps among the steps at which the object is
    visible in the reference: other steps neither count nor interrupt the run.

    Args:
        preds_labels: generated labels ``[B, T, H, W]``, integers in 0..32767, 0 = background;
            steps 1..T, without the given frame 0.
        target_labels: reference labels of the same shape. Ids are shared with the generated labels:
            an object has one id in both at frame 0.
        valid: ``[B, T]`` bool, steps that exist; ``None`` means all.
        ids: ``[B, N]`` distinct object ids of each row, 0 = padding; ``None`` finds them with one
            device sync. Labels that are not listed count as background.
        min_area: pixels from which an object counts as visible.
        iou_gate: IoU in (0, 1] from which a region counts as being in the reference's place.
        patience: broken steps in a row that make a break.

    Returns:
        An :class:`ObjectIdentity`.

    Raises:
        ValueError: shapes differ or are empty, an id or an option is out of range.
        TypeError: tensors of the wrong dtype.
    """
    check_labels(preds_labels=preds_labels, target_labels=target_labels)
    check_count("min_area", min_area)
    check_count("patience", patience)
    check_number("iou_gate", iou_gate, low=0.0, low_is_allowed=False, high=1.0)
    rows, steps = preds_labels.shape[:2]
    if valid is None:
        valid = torch.ones(rows, steps, dtype=torch.bool, device=preds_labels.device)
    else:
        check_mask("valid", valid, (rows, steps), preds_labels.device)
        valid = valid.expand(rows, steps)
    if ids is None:
        ids = label_ids(preds_labels, target_labels, valid=valid)
    frames = _empty_frames(rows, steps, ids.shape[1], ids.device)
    for row, step, overlap in overlap_pieces(preds_labels, target_labels, ids):
        for whole, piece in zip(frames, _frame_identity(overlap, min_area, iou_gate), strict=True):
            whole[row, step] = piece
    return _over_time(ids.long(), _only_where(frames, valid, ids), valid, patience)


class _Frames(NamedTuple):
    """What one pair of frames tells, each ``[B, T, N]``."""

    state: Tensor
    iou: Tensor
    area: Tensor
    area_ratio: Tensor
    visible: Tensor
    present: Tensor
    matched_id: Tensor


def _empty_frames(rows: int, steps: int, objects: int, device: torch.device) -> _Frames:
    def empty(dtype: torch.dtype) -> Tensor:
        return torch.empty(rows, steps, objects, dtype=dtype, device=device)

    return _Frames(
        state=empty(torch.uint8),
        iou=empty(torch.float64),
        area=empty(torch.int64),
        area_ratio=empty(torch.float64),
        visible=empty(torch.bool),
        present=empty(torch.bool),
        matched_id=empty(torch.int64),
    )


def _frame_identity(overlap: LabelOverlap, min_area: int, iou_gate: float) -> _Frames:
    iou = overlap.iou  # [B, T, N, N]: reference object, generated object
    own = iou.diagonal(dim1=-2, dim2=-1)  # [B, T, N]
    in_place = own >= iou_gate
    itself = torch.eye(iou.shape[-1], dtype=torch.bool, device=iou.device)
    taken = ((iou >= iou_gate) & ~itself).any(-1)
    area, preds_area = overlap.target_area, overlap.preds_area
    visible, present = area >= min_area, preds_area >= min_area
    covered = overlap.intersection.diagonal(dim1=-2, dim2=-1)
    doubled = torch.minimum(overlap.stray, covered) >= _DUPLICATE_SHARE * area

    state = torch.full_like(area, IdentityState.MISLOCATED, dtype=torch.uint8)
    # Last to first, so that the first rule of IdentityState has the last word.
    for holds, value in (
        (in_place, IdentityState.OK),
        (doubled, IdentityState.DUPLICATE),
        (~in_place & ~present, IdentityState.VANISH),
        (~in_place & taken, IdentityState.SWAP),
        (~visible, IdentityState.NOT_VISIBLE),
    ):
        state.masked_fill_(holds, value)
    return _Frames(
        state=state,
        iou=own,
        area=area,
        area_ratio=(preds_area.double() / area).masked_fill(area == 0, torch.nan),
        visible=visible,
        present=present,
        matched_id=_matched_id(iou, overlap.preds_ids, iou_gate),
    )


def _matched_id(iou: Tensor, ids: Tensor, iou_gate: float) -> Tensor:
    """Generated id in the place of each reference object; ties go to the smallest slot."""
    iou = pad(iou.nan_to_num(0.0), (1, 0))  # slot 0 = nobody
    best = iou.amax(-1, keepdim=True)
    slot = torch.arange(iou.shape[-1], device=iou.device)
    chosen = slot.where((iou == best) & (best >= iou_gate), iou.shape[-1]).amin(-1)
    chosen = chosen.where(best[..., 0] >= iou_gate, 0)  # [B, T, N]
    names = pad(ids, (1, 0))[:, None].expand(-1, iou.shape[1], -1)
    return names.gather(-1, chosen)


def _only_where(frames: _Frames, valid: Tensor, ids: Tensor) -> _Frames:
    """Blank what slots without an object and invalid steps hold."""
    missing = ~(valid[..., None] & (ids > 0)[:, None])
    return _Frames(
        state=frames.state.masked_fill(missing, IdentityState.UNDEFINED),
        iou=frames.iou.masked_fill(missing, torch.nan),
        area=frames.area.masked_fill(missing, 0),
        area_ratio=frames.area_ratio.masked_fill(missing, torch.nan),
        visible=frames.visible & ~missing,
        present=frames.present & ~missing,
        matched_id=frames.matched_id.masked_fill(missing, 0),
    )


def _over_time(ids: Tensor, frames: _Frames, valid: Tensor, patience: int) -> ObjectIdentity:
    broken = frames.visible & (frames.state >= IdentityState.SWAP)
    objects = frames.visible.sum(-1)  # [B, T]
    kept = objects - broken.sum(-1)
    score = kept.double() / objects  # 0 / 0 where nothing is visible
    reason = torch.full_like(objects, Reason.DEFINED, dtype=torch.uint8)
    reason.masked_fill_(objects == 0, Reason.NO_OBJECT).masked_fill_(~valid, Reason.NO_FRAME)

    crossing = first_run(broken.mT, frames.visible.mT, patience)  # curves [B, N, T]
    step = crossing.step
    at_break = (step - 1).clamp(min=0)[:, None]  # [B, 1, N] index into T
    event = frames.state.gather(1, at_break)[:, 0].where(crossing.crossed, 0)
    area = frames.area.gather(1, at_break)[:, 0].where(crossing.crossed, -1)
    first_slot = _first_slot(crossing, area, never=broken.shape[1] + 1)[:, None]
    first_break, first_break_id, first_break_event = (
        pad(value, (1, 0)).gather(1, first_slot)[:, 0] for value in (step, ids, event)
    )
    return ObjectIdentity(
        ids=ids,
        state=frames.state,
        iou=frames.iou,
        area=frames.area,
        area_ratio=frames.area_ratio,
        visible=frames.visible,
        present=frames.present,
        matched_id=frames.matched_id,
        score=score,
        reason=reason,
        object_first_break=step,
        object_first_event=event,
        first_break=first_break,
        first_break_id=first_break_id,
        first_break_event=first_break_event,
    )


def _first_slot(crossing: FirstCrossing, area: Tensor, never: int) -> Tensor:
    """``[B]`` slot 1..N of the object that breaks first, 0 = none."""
    objects = area.shape[1]
    step = pad(crossing.step.where(crossing.crossed, never), (1, 0), value=never)
    area = pad(area, (1, 0), value=0)
    is_first = step == step.amin(1, keepdim=True)
    area = area.where(is_first, -1)
    is_first &= area == area.amax(1, keepdim=True)
    return torch.arange(objects + 1, device=area.device).where(is_first, objects).amin(1)
