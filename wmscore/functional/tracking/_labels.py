"""Label maps as tracks: which object is where, and how much objects of the two maps overlap."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from wmscore.functional._check import check_ids, check_labels, check_mask
from wmscore.functional.overlap import LARGEST_ID, label_ids, label_overlap

__all__ = ["LabelTracks", "label_tracks"]


@dataclass(frozen=True)
class LabelTracks:
    """Objects of the reference and of the generated frames, each in its own id space.

    Attributes:
        target_ids: ``[B, N]`` int64 ids of the reference's objects, 0 = padding.
        preds_ids: ``[B, M]`` int64 ids of the generated objects, 0 = padding.
        iou: ``[B, T, N, M]`` float64, 0 where one of both has no pixel or the step is not valid.
        target_present: ``[B, T, N]`` bool, the object has a pixel and the step is valid.
        preds_present: ``[B, T, M]`` bool, likewise.
        valid: ``[B, T]`` bool.
    """

    target_ids: Tensor
    preds_ids: Tensor
    iou: Tensor
    target_present: Tensor
    preds_present: Tensor
    valid: Tensor


def label_tracks(
    preds_labels: Tensor,
    target_labels: Tensor,
    valid: Tensor | None,
    preds_ids: Tensor | None,
    target_ids: Tensor | None,
) -> LabelTracks:
    """Read two label maps ``[B, T, H, W]`` once; ids that are None are found with a device sync.

    Raises:
        ValueError: shapes differ or are empty, or an id is out of range.
        TypeError: tensors of the wrong dtype.
    """
    check_labels(preds_labels=preds_labels, target_labels=target_labels)
    rows, steps = preds_labels.shape[:2]
    if valid is None:
        valid = torch.ones(rows, steps, dtype=torch.bool, device=preds_labels.device)
    else:
        check_mask("valid", valid, (rows, steps), preds_labels.device, like="the labels")
        valid = valid.expand(rows, steps)
    if preds_ids is None and target_ids is None:
        preds_ids = target_ids = label_ids(preds_labels, target_labels, valid=valid)
    preds_ids = _ids(preds_ids, preds_labels, valid)
    target_ids = _ids(target_ids, target_labels, valid)

    shared = _union(preds_ids, target_ids)
    overlap = label_overlap(preds_labels, target_labels, ids=shared)
    of_target = _places(target_ids, shared)[:, None].expand(-1, steps, -1)  # [B, T, N]
    of_preds = _places(preds_ids, shared)[:, None].expand(-1, steps, -1)  # [B, T, M]
    iou = overlap.iou.gather(2, of_target[..., None].expand(-1, -1, -1, shared.shape[1]))
    iou = iou.gather(3, of_preds[:, :, None].expand(-1, -1, of_target.shape[2], -1))
    target_present = (overlap.target_area.gather(2, of_target) > 0) & valid[..., None]
    preds_present = (overlap.preds_area.gather(2, of_preds) > 0) & valid[..., None]
    both = target_present[..., :, None] & preds_present[..., None, :]
    return LabelTracks(
        target_ids, preds_ids, iou.where(both, 0.0), target_present, preds_present, valid
    )


def _ids(ids: Tensor | None, labels: Tensor, valid: Tensor) -> Tensor:
    if ids is None:
        return label_ids(labels, labels, valid=valid)
    check_ids(ids, labels, LARGEST_ID)
    return ids.long()


def _union(preds_ids: Tensor, target_ids: Tensor) -> Tensor:
    """Ids of both, each once, the rest 0."""
    if preds_ids is target_ids:
        return target_ids
    ids = torch.cat([target_ids, preds_ids], 1).sort(1).values
    is_repeated = pad(ids[:, 1:] == ids[:, :-1], (1, 0)) if ids.shape[1] else ids > 0
    return ids.masked_fill(is_repeated, 0)


def _places(ids: Tensor, shared: Tensor) -> Tensor:
    """Place of each id among the shared ones; 0 has the place of another 0, which has no pixel."""
    if shared.shape[1] == 0:
        return ids
    return (ids[:, :, None] == shared[:, None, :]).byte().argmax(-1)
