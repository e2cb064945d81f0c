"""Labels with ids of their own (a segmenter, a tracker) under the ids of the reference."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from wmscore.functional._check import check_count, check_labels, check_mask, check_number
from wmscore.functional.label_ids import label_ids
from wmscore.functional.overlap import LARGEST_ID, label_overlap
from wmscore.ops import assignment

__all__ = ["share_ids"]


def share_ids(
    preds_labels: Tensor,
    target_labels: Tensor,
    *,
    valid: Tensor | None = None,
    iou_gate: float = 0.5,
    min_area: int = 16,
    rejoin: bool = False,
) -> Tensor:
    """Rename generated objects after the reference objects in whose place they first appear.

    Frame by frame, from the given frame 0 on, the reference objects that have no generated object
    yet are matched with the generated ones that have no name yet: the optimal matching by IoU among
    the pairs that reach the gate. A name is given once and kept, through occlusion and out of view;
    generated objects that never get one are named by numbers above the reference's.

    Args:
        preds_labels: generated labels ``[B, T + 1, H, W]`` with frame 0, ids stable over time.
        target_labels: reference labels of the same shape.
        valid: ``[B, T + 1]`` bool, frames that exist; ``None`` means all.
        iou_gate: IoU in (0, 1] from which two regions can be one object.
        min_area: pixels from which a region takes part.
        rejoin: a generated object that first appears while the one of that name is absent may take
            the name over: for a tracker that gives an object that returns a new number. Whether it
            returned as another can then not be seen from labels.

    Returns:
        int32 labels of the shape of ``preds_labels``. Two device syncs, as in :func:`label_ids`.

    Raises:
        ValueError: shapes differ or are empty, or an id or an option is out of range.
        TypeError: tensors of the wrong dtype.
    """
    check_labels(preds_labels=preds_labels, target_labels=target_labels)
    check_number("iou_gate", iou_gate, low=0.0, low_is_allowed=False, high=1.0)
    check_count("min_area", min_area)
    rows, steps = preds_labels.shape[:2]
    device = preds_labels.device
    if valid is None:
        valid = torch.ones(rows, steps, dtype=torch.bool, device=device)
    else:
        check_mask("valid", valid, (rows, steps), device)
        valid = valid.expand(rows, steps)
    own, theirs = label_ids(preds_labels, valid=valid), label_ids(target_labels, valid=valid)
    name = torch.zeros_like(own)  # [B, M], the reference id of each generated object
    for step in range(steps):
        counts = label_overlap(
            preds_labels[:, step : step + 1],
            target_labels[:, step : step + 1],
            preds_ids=own,
            target_ids=theirs,
        )
        there = (counts.preds_area[:, 0] >= min_area) & valid[:, step, None]
        shown = (counts.target_area[:, 0] >= min_area) & valid[:, step, None]
        used = (name[:, None] == theirs[..., None]) & (theirs > 0)[..., None]  # [B, N, M]
        if rejoin:  # taken only while its bearer is there
            used &= there[:, None]
        free = (shown & ~used.any(-1))[..., None] & (there & (name == 0))[:, None]
        iou = counts.iou[:, 0].nan_to_num(0.0)
        weight = iou.masked_fill(~free | (iou < iou_gate), 0.0)
        chosen = assignment(weight, maximize=True)  # [B, N]
        taken = (chosen >= 0) & (weight.gather(-1, chosen.clamp(min=0)[..., None])[..., 0] > 0)
        slot = (chosen + 1).where(taken, 0)
        given = torch.zeros_like(pad(name, (1, 0))).scatter(-1, slot, theirs)[:, 1:]
        name = torch.where(given > 0, given, name)
    strangers = (name == 0) & (own > 0)
    above = theirs.amax(-1, keepdim=True) if theirs.shape[1] else name.new_zeros(rows, 1)
    name = torch.where(strangers, above + strangers.cumsum(-1), name)
    return _renamed(preds_labels, own, name)


def _renamed(labels: Tensor, old: Tensor, new: Tensor) -> Tensor:
    """Labels in which each old id of a row `[B, M]` has become the new one; 0 elsewhere."""
    table = old.new_zeros(len(old), LARGEST_ID + 1).scatter(-1, old, new)
    table[:, 0] = 0  # where padding wrote
    index = labels.flatten(1).long().clamp(0, LARGEST_ID)
    return table.gather(1, index).view(labels.shape).int()
