"""Label maps as tracks: which object is where, and how much objects of the two maps overlap."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wmscore.functional._check import check_labels, check_mask
from wmscore.functional.label_ids import label_ids
from wmscore.functional.overlap import label_overlap

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
    if preds_ids is None or target_ids is None:
        preds_ids, target_ids = _found_ids(
            preds_labels, target_labels, valid, preds_ids, target_ids
        )
    overlap = label_overlap(preds_labels, target_labels, preds_ids=preds_ids, target_ids=target_ids)
    target_present = (overlap.target_area > 0) & valid[..., None]
    preds_present = (overlap.preds_area > 0) & valid[..., None]
    both = target_present[..., :, None] & preds_present[..., None, :]
    return LabelTracks(
        overlap.target_ids,
        overlap.preds_ids,
        overlap.iou.where(both, 0.0),
        target_present,
        preds_present,
        valid,
    )


def _found_ids(
    preds_labels: Tensor,
    target_labels: Tensor,
    valid: Tensor,
    preds_ids: Tensor | None,
    target_ids: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Lists of the ids at valid steps; one for both maps, with one sync, where none is given."""
    if preds_ids is None and target_ids is None:
        preds_ids = target_ids = label_ids(preds_labels, target_labels, valid=valid)
    elif preds_ids is None:
        preds_ids = label_ids(preds_labels, valid=valid)
    elif target_ids is None:
        target_ids = label_ids(target_labels, valid=valid)
    assert preds_ids is not None
    assert target_ids is not None
    return preds_ids, target_ids
