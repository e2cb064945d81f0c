"""The objects of a rollout: those of the reference, and the strangers that only it shows itself."""

from __future__ import annotations

import torch
from torch import Tensor

from wmscore.functional._check import check_ids
from wmscore.functional.label_ids import list_ids, present_ids
from wmscore.functional.overlap import LARGEST_ID, MOST_OBJECTS

__all__ = ["list_objects"]


def list_objects(
    preds_labels: Tensor,
    target_labels: Tensor,
    *,
    ids: Tensor | None,
    first_labels: Tensor | None,
    target_index: Tensor | None,
    target_valid: Tensor | None,
    valid: Tensor,
) -> tuple[Tensor, Tensor]:
    """Ids `[B, N]` int64 of each row, and which of them `[B, N]` bool the reference knows.

    Known is what the reference, or the given frame, shows at some step. Unless `ids` are given,
    they are found with one device sync: known ones first, then strangers, ascending, then padding.
    """
    if target_index is None:
        known, extremes = present_ids(
            target_labels, valid if target_valid is None else target_valid
        )
    elif target_valid is None:  # what a row knows must not depend on the rows beside it
        known, extremes = present_ids(target_labels[target_index], valid)
    else:
        known, extremes = present_ids(target_labels, target_valid)
        known, extremes = known[target_index], extremes[target_index]
    if first_labels is not None:
        of_first, more = present_ids(first_labels[:, None], None)
        known, extremes = known | of_first, torch.cat([extremes, more], 1)
    if ids is None:
        own, more = present_ids(preds_labels, valid)
        ids = list_ids(own | known, torch.cat([extremes, more], 1))
        is_known = known.gather(1, ids)
        order = torch.where(ids == 0, 2, (~is_known).int()).argsort(dim=1, stable=True)
        ids, is_known = ids.gather(1, order), is_known.gather(1, order)
    else:
        check_ids(ids, preds_labels, LARGEST_ID, MOST_OBJECTS)
        ids = ids.long()
        is_known = known.gather(1, ids)
    return ids, is_known & (ids > 0)
