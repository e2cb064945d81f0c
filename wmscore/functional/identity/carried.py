"""Identity persistence without label maps of the generated frames."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from wmscore.functional._check import (
    check_count,
    check_first_labels,
    check_mask,
    check_rollouts,
)
from wmscore.functional.appearance import identity_from_appearance
from wmscore.functional.carry import carry_labels
from wmscore.functional.identity.frames import FrameIdentity
from wmscore.functional.identity.labels import assemble
from wmscore.functional.identity.over_time import is_break, mark_returns
from wmscore.functional.identity.result import ObjectIdentity
from wmscore.functional.identity_state import IdentityState
from wmscore.functional.label_ids import label_ids
from wmscore.functional.overlap import overlap_pieces
from wmscore.functional.reasons import Reason
from wmscore.functional.references import Encoder

__all__ = ["APPEARANCE_MIN_SIDE", "SENSITIVITY", "carried_identity"]

APPEARANCE_MIN_SIDE = 16
"""Pixels of the shorter side of a frame from which appearance can be told."""

SENSITIVITY = 0.5
"""The setting for which precision and recall are published (docs/identity.md)."""


def carried_identity(
    preds: Tensor,
    target: Tensor,
    first_labels: Tensor | None = None,
    *,
    target_labels: Tensor | None = None,
    target_index: Tensor | None = None,
    target_valid: Tensor | None = None,
    valid: Tensor | None = None,
    ids: Tensor | None = None,
    encoder: Encoder | None = None,
    sensitivity: float = SENSITIVITY,
    min_area: int = 16,
    patience: int = 2,
) -> ObjectIdentity:
    """Identity state of every object at every step, told from the generated pixels.

    WHERE is the reference's region of the object, from its label maps or, without them, from the
    labels of the given frame carried along the reference video (:func:`carry_labels`). WHO is told
    by appearance (:func:`identity_from_appearance`). Labels carried along the generated video say
    where an object went that is not in its place.

    Args:
        preds: generated frames ``[B, T + 1, C, H, W]`` with the given frame 0; ``uint8`` or
            floating point in [0, 1], C of 1 or 3.
        target: reference frames ``[S, T + 1, C, H, W]``.
        first_labels: labels of the given frame 0, ``[S, H, W]``, integers, 0 = background; by
            default those of ``target_labels``. See ``labels_from_boxes`` and
            ``labels_from_points`` for those who have no masks.
        target_labels: ``[S, T + 1, H, W]`` labels of the reference, from its simulator.
        target_index: ``[B]`` int64, which reference each row has; ``None`` means its own.
        target_valid: ``[S, T]`` bool, steps that the references have; ``None`` means all.
        valid: ``[B, T]`` bool, steps that exist; ``None`` means all.
        ids: ``[S, N]`` distinct object ids of each reference, 0 = padding; ``None`` finds them with
            one device sync.
        encoder: features beside colours and gradients, for carrying and for appearance.
        sensitivity: in [0, 1], higher finds more breaks and calls more that are none.
        min_area: reference pixels from which an object counts as visible.
        patience: broken steps in a row that make a break.

    Returns:
        An :class:`ObjectIdentity`. ``iou``, ``area_ratio``, ``present`` and ``centroid_error`` are
        those of the labels carried along the generated video; ``matched_id`` is the object that was
        recognised in the place; ``confidence`` is 0 where the state is UNDETERMINED; ``other_id``
        names the look-alike where the reason is TWIN. Where labels are carried along the reference,
        a step at which none of a row's objects is in view is UNDETERMINED too: they may be lost.
        States are MERGE, SPLIT or SPAWN with labels only.

    Raises:
        ValueError: shapes or devices do not fit, or an id or an option is out of range.
        TypeError: not tensors, or of the wrong dtype.
    """
    check_rollouts("preds", preds)
    check_rollouts("target", target)
    if preds.shape[1:] != target.shape[1:]:
        raise ValueError(
            "preds and target must have one [T + 1, C, H, W], "
            f"got {tuple(preds.shape)} and {tuple(target.shape)}"
        )
    if first_labels is None:
        if target_labels is None:
            raise ValueError("first_labels or target_labels must be given, got neither")
        first_labels = target_labels[:, 0]
    size = (target.shape[3], target.shape[4])
    check_first_labels(first_labels, len(target), size, "target")
    check_count("min_area", min_area)
    check_count("patience", patience)
    rows, steps = preds.shape[0], preds.shape[1] - 1
    if valid is None:
        valid = torch.ones(rows, steps, dtype=torch.bool, device=preds.device)
    else:
        check_mask("valid", valid, (rows, steps), preds.device, like="preds")
        valid = valid.expand(rows, steps)
    index = torch.arange(rows, device=preds.device) if target_index is None else target_index
    if ids is None:
        known, there = first_labels[:, None], None
        if target_labels is not None:
            known = target_labels
            if target_valid is None and target_index is None:
                target_valid = valid
            there = None if target_valid is None else pad(target_valid, (1, 0), value=True)
        ids = label_ids(known, valid=there)
    confidence = None
    if target_labels is None:
        carried = carry_labels(target, first_labels, ids=ids, encoder=encoder)
        target_labels, confidence = carried.labels, carried.confidence[:, 1:]
    own_ids = ids[index].long()
    own = carry_labels(preds, first_labels[index], ids=own_ids, encoder=encoder).labels
    states = identity_from_appearance(
        preds[:, 1:],
        target[:, 1:],
        target_labels[:, 1:],
        own_ids,
        target_index=index,
        valid=valid,
        target_confidence=confidence,
        preds_labels=own[:, 1:],
        encoder=encoder,
        sensitivity=sensitivity,
        min_area=min_area,
    )
    frames = _places(own[:, 1:], target_labels[:, 1:], own_ids, index, min_area)
    at_place = torch.where(states.state == IdentityState.OK, own_ids[:, None], 0)
    at_place = torch.where(is_break(states.state), states.other_id, at_place)
    frames = frames._replace(state=states.state, other_id=states.other_id, matched_id=at_place)
    frames = frames.only_where(valid[..., None] & (own_ids > 0)[:, None])
    seen = (first_labels[index].flatten(1)[:, None] == own_ids[..., None]).sum(-1) >= min_area
    found = assemble(
        own_ids,
        frames._replace(state=mark_returns(frames.state, seen & (own_ids > 0))),
        valid,
        patience,
        confidence=states.confidence.double(),
        object_reason=states.reason,
    )
    if confidence is None:
        return found
    unseen = (found.reason == Reason.NO_OBJECT) & (own_ids > 0).any(1, keepdim=True)
    return replace(found, reason=found.reason.masked_fill(unseen, int(Reason.UNDETERMINED)))


def _places(
    preds_labels: Tensor, target_labels: Tensor, ids: Tensor, index: Tensor, min_area: int
) -> FrameIdentity:
    """Areas and places of carried labels, with states and others left open."""
    rows, steps = preds_labels.shape[:2]
    frames = FrameIdentity.empty(rows, steps, ids.shape[1], ids.device)
    for row, step, overlap in overlap_pieces(preds_labels, target_labels, ids, target_index=index):
        area, preds_area = overlap.target_area, overlap.preds_area
        frames.iou[row, step] = overlap.iou.diagonal(dim1=-2, dim2=-1)
        frames.centroid_error[row, step] = overlap.centroid_distance.diagonal(dim1=-2, dim2=-1)
        frames.area[row, step] = area
        ratio = (preds_area.double() / area).masked_fill(area == 0, torch.nan)
        frames.area_ratio[row, step] = ratio
        frames.visible[row, step] = area >= min_area
        frames.present[row, step] = preds_area >= min_area
    frames.explained.fill_(False)
    return frames
