"""Identity persistence of a generated video by itself: what its own label maps give away."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from wmscore.functional._check import check_count, check_labels, check_mask, check_number
from wmscore.functional.identity.frames import FrameIdentity, at_border
from wmscore.functional.identity.labels import assemble
from wmscore.functional.identity.places import match_places
from wmscore.functional.identity.result import ObjectIdentity
from wmscore.functional.identity_state import IdentityState
from wmscore.functional.label_ids import label_ids
from wmscore.functional.overlap import LabelOverlap, overlap_pieces

__all__ = ["lone_identity"]

_WHOLE = 0.75  # of the largest area seen so far: below, an object was on its way out of sight
_COVER = 0.25  # of its last area that another object must cover to hide it


def lone_identity(
    labels: Tensor,
    *,
    valid: Tensor | None = None,
    ids: Tensor | None = None,
    min_area: int = 16,
    iou_gate: float = 0.5,
    patience: int = 2,
) -> ObjectIdentity:
    """Identity of objects without any reference: only what continuity can tell.

    Each object of the given frame 0 starts a track, and so does each that comes later, wherever.
    WHERE is the region of frame `t` that stands where the track's region stood in frame
    `t - 1` (optimal matching, IoU at or above the gate), WHO is its label:

    - SWAP, MORPH: the region goes on under the label of another track, or under a new one.
    - VANISH: the label is gone, although it was neither near the border (within half its size) nor
      on its way out of sight already (three quarters of its largest area so far or less), and no
      other object covers a quarter of its place. Until it is back.
    - NOT_VISIBLE: it is gone, and one of these explains it.
    - OK: all else; a leap is OK too.

    This is weaker than :func:`object_identity`: a thing that never leaves or never comes back as it
    should, a twin, or two that merge are not seen, and a crossing within one step reads as a swap.

    Args:
        labels: generated labels ``[B, T + 1, H, W]``, integers in 0..32767, 0 = background, ids
            stable over time. Frame 0 is given.
        valid: ``[B, T + 1]`` bool; a row ends at its first invalid frame. ``None`` means all.
        ids: ``[B, N]`` distinct object ids of each row, 0 = padding; ``None`` finds them with one
            device sync.
        min_area: pixels from which an object counts as visible.
        iou_gate: IoU in (0, 1] from which a region counts as being in the place of another.
        patience: broken steps in a row that make a break.

    Returns:
        An :class:`ObjectIdentity` of the steps 1..T. ``area`` is the track's last area in view;
        ``iou``, ``area_ratio`` and ``centroid_error`` compare with the label's own last frame.

    Raises:
        ValueError: shapes are empty, an id or an option is out of range.
        TypeError: tensors of the wrong dtype.
    """
    check_labels(labels=labels)
    check_count("min_area", min_area)
    check_count("patience", patience)
    check_number("iou_gate", iou_gate, low=0.0, low_is_allowed=False, high=1.0)
    rows, frames = labels.shape[:2]
    if frames < 2:
        raise ValueError(f"labels must hold frame 0 and at least one step, got {frames} frames")
    if valid is None:
        valid = torch.ones(rows, frames, dtype=torch.bool, device=labels.device)
    else:
        check_mask("valid", valid, (rows, frames), labels.device)
        valid = valid.expand(rows, frames)
    valid = valid.cummin(1).values
    if ids is None:
        ids = label_ids(labels, valid=valid)
    ids = ids.long()
    size = (labels.shape[2], labels.shape[3])
    steps = _Steps.empty(rows, frames - 1, ids.shape[1], ids.device)
    for row, step, overlap in overlap_pieces(labels[:, 1:], labels[:, :-1], ids):
        for whole, piece in zip(steps, _one_step(overlap, size, min_area, iou_gate), strict=True):
            whole[row, step] = piece
    states, other, area = _follow(steps, ids, min_area)
    found = FrameIdentity(
        state=states,
        other_id=other,
        iou=steps.iou,
        centroid_error=steps.distance,
        area=area,
        area_ratio=(steps.area.double() / steps.before).masked_fill(steps.before == 0, torch.nan),
        visible=states > IdentityState.NOT_VISIBLE,
        present=steps.area >= min_area,
        matched_id=pad(ids, (1, 0))[:, None].expand(-1, frames - 1, -1).gather(-1, steps.goes_on),
        explained=steps.at_border,
    )
    found = found.only_where(valid[:, 1:, None] & (ids > 0)[:, None])
    return assemble(ids, found, valid[:, 1:], patience)


class _Steps(NamedTuple):
    """What each frame and the one before it tell, `[B, T, N]` by label."""

    area: Tensor  # pixels now
    before: Tensor  # pixels in the frame before
    goes_on: Tensor  # 1-based slot of the region that stands where this one stood, 0 = none
    at_border: Tensor  # the region of the frame before may have left the frame
    covered: Tensor  # others cover enough of its place to hide it
    iou: Tensor
    distance: Tensor  # of centroids, pixels

    @classmethod
    def empty(cls, rows: int, steps: int, objects: int, device: torch.device) -> _Steps:
        whole, flag, real = torch.int64, torch.bool, torch.float64
        kinds = (whole, whole, whole, flag, flag, real, real)
        return cls(
            *(torch.empty(rows, steps, objects, dtype=kind, device=device) for kind in kinds)
        )


def _one_step(
    overlap: LabelOverlap, size: tuple[int, int], min_area: int, iou_gate: float
) -> _Steps:
    """`overlap` counts each frame ("generated") against the frame before it ("reference")."""
    before = overlap.target_area
    own = overlap.intersection.diagonal(dim1=-2, dim2=-1)
    hidden = overlap.intersection.sum(-1) - own
    return _Steps(
        area=overlap.preds_area,
        before=before,
        goes_on=match_places(overlap, min_area, iou_gate, by_distance=False),
        at_border=at_border(overlap.target_boxes, size),
        covered=hidden >= _COVER * before,
        iou=overlap.iou.diagonal(dim1=-2, dim2=-1),
        distance=overlap.centroid_distance.diagonal(dim1=-2, dim2=-1),
    )


def _follow(steps: _Steps, ids: Tensor, min_area: int) -> tuple[Tensor, Tensor, Tensor]:
    """States, ids of others in the place, and last areas in view: `[B, T, N]` by track.

    A track has the slot of the label that it began with. It is sequential in time by definition.
    """
    itself = torch.arange(1, ids.shape[1] + 1, device=ids.device)

    def at(values: Tensor, slot: Tensor) -> Tensor:
        """Values `[B, N]` of 1-based slots, zero (False) of slot 0."""
        return pad(values, (1, 0)).gather(-1, slot)

    who = itself.where(steps.before[:, 0] >= min_area, 0)  # [B, N]; 0 = not begun
    known = who > 0  # labels that a track began with
    largest = area = steps.before[:, 0]
    lost = torch.zeros_like(known)
    states, others, areas = [], [], []
    for t in range(steps.area.shape[1]):
        now, was_there = steps.area[:, t], at(steps.before[:, t], who) >= min_area
        goes_on = at(steps.goes_on[:, t], who)
        gone = was_there & (goes_on == 0) & (at(now, who) < min_area)
        excused = at(steps.at_border[:, t], who) | at(steps.covered[:, t], who)
        lost = torch.where(gone, ~excused & (area > _WHOLE * largest), lost)
        who = torch.where(goes_on > 0, goes_on, who)
        claimed = torch.zeros_like(pad(known, (1, 0))).scatter(-1, who, True)[:, 1:]
        begins = (who == 0) & (now >= min_area) & ~claimed
        who, known = itself.where(begins, who), known | begins
        there = at(now, who) >= min_area
        area = at(now, who).where(there, area)
        largest = torch.maximum(largest, area)
        changed = there & (who != itself)
        state = torch.full_like(who, IdentityState.NOT_VISIBLE, dtype=torch.uint8)
        state.masked_fill_(lost & (who > 0), IdentityState.VANISH)
        state.masked_fill_(there, IdentityState.OK)
        state.masked_fill_(changed & at(known, who), IdentityState.SWAP)
        state.masked_fill_(changed & ~at(known, who), IdentityState.MORPH)
        states.append(state)
        others.append(at(ids, who).where(changed, 0))
        areas.append(area)
    return torch.stack(states, 1), torch.stack(others, 1), torch.stack(areas, 1)
