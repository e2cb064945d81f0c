"""Identity persistence from label maps of the generated and of the reference video.

Identity is a disagreement of WHO (the label) and WHERE (the reference's region). An object that is
itself but elsewhere is mislocated, which is a fault of the dynamics and never an identity break.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wmscore.functional._check import (
    check_count,
    check_first_labels,
    check_label_pair,
    check_mask,
    check_number,
)
from wmscore.functional.identity.frames import FrameIdentity, frame_identity
from wmscore.functional.identity.objects import list_objects
from wmscore.functional.identity.over_time import (
    first_breaks,
    identity_score,
    judged,
    mark_returns,
)
from wmscore.functional.identity.result import ObjectIdentity
from wmscore.functional.identity_state import IdentityState
from wmscore.functional.overlap import label_overlap, overlap_pieces
from wmscore.functional.reasons import Reason

__all__ = ["assemble", "object_identity"]


def object_identity(
    preds_labels: Tensor,
    target_labels: Tensor,
    *,
    valid: Tensor | None = None,
    ids: Tensor | None = None,
    first_labels: Tensor | None = None,
    target_index: Tensor | None = None,
    target_valid: Tensor | None = None,
    min_area: int = 16,
    iou_gate: float = 0.5,
    patience: int = 2,
) -> ObjectIdentity:
    r"""Identity state of every object at every step, and where it first breaks.

    .. math:: \mathrm{score}_t = \frac{|\{n \text{ visible}: \text{state OK or MISLOCATED}\}|}
                                      {|\{n \text{ visible}\}|}

    A break is the earliest run of ``patience`` broken steps among the steps at which the object is
    visible in the reference: other steps neither count nor interrupt the run. Two objects that
    exchange places, one that is replaced, is gone, is there twice, has grown together with another
    or come apart, or returns as another, are broken (:class:`IdentityState` has the rules); one
    that leaves, is hidden, or moves elsewhere is not.

    Args:
        preds_labels: generated labels ``[B, T, H, W]``, integers in 0..32767, 0 = background;
            steps 1..T, without the given frame 0.
        target_labels: reference labels of the same shape, or ``[S, T, H, W]`` with an index. Ids
            are shared with the generated labels: an object has one id in both. For labels with ids
            of their own see :func:`share_ids`.
        valid: ``[B, T]`` bool, steps that exist; ``None`` means all.
        ids: ``[B, N]`` distinct object ids of each row, 0 = padding; ``None`` finds them with one
            device sync. Labels that are not listed count as background.
        first_labels: labels of the given frame 0, ``[B, H, W]``: an object that only this frame
            shows before it comes back has been seen, and what it shows is known.
        target_index: ``[B]`` int64, the row of ``target_labels`` for each row of ``preds_labels``.
        target_valid: ``[S, T]`` bool, steps that the references have: they tell which objects are
            known, whatever rows share a reference. ``None`` takes the valid steps of each row.
        min_area: pixels from which an object counts as visible.
        iou_gate: IoU in (0, 1] from which a region counts as being in the reference's place.
        patience: broken steps in a row that make a break.

    Returns:
        An :class:`ObjectIdentity`.

    Raises:
        ValueError: shapes differ or are empty, an id or an option is out of range, or a row has
            more than 255 objects.
        TypeError: tensors of the wrong dtype.
    """
    check_label_pair(preds_labels, target_labels, target_index)
    check_count("min_area", min_area)
    check_count("patience", patience)
    check_number("iou_gate", iou_gate, low=0.0, low_is_allowed=False, high=1.0)
    rows, steps = preds_labels.shape[:2]
    size = (preds_labels.shape[2], preds_labels.shape[3])
    if target_valid is not None:
        shape = (target_labels.shape[0], steps)
        check_mask("target_valid", target_valid, shape, preds_labels.device)
        target_valid = target_valid.expand(shape)
    if first_labels is not None:
        check_first_labels(first_labels, rows, size, "preds_labels")
    if valid is None:
        valid = torch.ones(rows, steps, dtype=torch.bool, device=preds_labels.device)
    else:
        check_mask("valid", valid, (rows, steps), preds_labels.device)
        valid = valid.expand(rows, steps)
    ids, known = list_objects(
        preds_labels,
        target_labels,
        ids=ids,
        first_labels=first_labels,
        target_index=target_index,
        target_valid=target_valid,
        valid=valid,
    )
    frames = FrameIdentity.empty(rows, steps, ids.shape[1], ids.device)
    pieces = overlap_pieces(preds_labels, target_labels, ids, target_index=target_index)
    for row, step, overlap in pieces:
        found = frame_identity(overlap, known[row], size, min_area, iou_gate)
        for whole, piece in zip(frames, found, strict=True):
            whole[row, step] = piece
    frames = frames.only_where(valid[..., None] & (ids > 0)[:, None])
    state = _with_spawned(frames, known)
    seen = None if first_labels is None else _areas(first_labels, ids) >= min_area
    state = mark_returns(state, seen)
    return assemble(ids, frames._replace(state=state), valid, patience)


def assemble(
    ids: Tensor,
    frames: FrameIdentity,
    valid: Tensor,
    patience: int,
    *,
    confidence: Tensor | None = None,
    object_reason: Tensor | None = None,
) -> ObjectIdentity:
    """Scores, breaks and all that belongs to states `[B, T, N]`."""
    state = frames.state
    if confidence is None:
        certain = judged(state) | (state == IdentityState.SPAWN)
        confidence = torch.ones_like(frames.iou).masked_fill(~certain, torch.nan)
    if object_reason is None:
        object_reason = torch.zeros_like(state)
        object_reason.masked_fill_(state == IdentityState.UNDETERMINED, Reason.HIDDEN)
    return ObjectIdentity(
        ids=ids,
        confidence=confidence,
        object_reason=object_reason,
        **{f: v for f, v in frames._asdict().items() if f != "explained"},
        **identity_score(state, frames.area, valid)._asdict(),
        **first_breaks(state, frames.area, ids, patience)._asdict(),
    )


def _areas(labels: Tensor, ids: Tensor) -> Tensor:
    """`[B, N]` pixels of each object in one frame `[B, H, W]` a row."""
    frame = labels[:, None]
    return label_overlap(frame, frame, ids=ids).target_area[:, 0]


def _with_spawned(frames: FrameIdentity, known: Tensor) -> Tensor:
    """States in which strangers that appear out of nothing are SPAWN while they are there."""
    there = frames.present & ~known[:, None]
    first = there.int().argmax(1, keepdim=True)  # [B, 1, N]
    spawned = there & ~frames.explained.gather(1, first)
    return frames.state.masked_fill(spawned, IdentityState.SPAWN)
