"""The ids of label maps: which there are in each row, as lists, and labels as places in a list."""

from __future__ import annotations

import torch
from torch import Tensor

from wmscore.functional._check import check_labels, check_mask
from wmscore.functional._chunks import TABLE_ROWS, label_pieces
from wmscore.ops import has_kernel, label_present
from wmscore.ops.label_overlap import LARGEST_ID, MOST_OBJECTS, label_slots

__all__ = ["label_ids", "list_ids", "present_ids", "slot_maps"]


def label_ids(*labels: Tensor, valid: Tensor | None = None) -> Tensor:
    """Distinct object ids of each row of one or more label maps, ascending, padded with 0.

    N, the largest number of objects of any row, has to be known on the host: this is one device
    sync. A caller who knows the ids saves it.

    Args:
        *labels: maps ``[B, T, H, W]`` of one shape, integers in 0..32767, 0 = background.
        valid: ``[B, T]`` bool, steps that exist; what the others hold is not looked at.

    Returns:
        ``[B, N]`` int64, N at most 255.

    Raises:
        ValueError: shapes differ or are empty, an id is out of range, or a row has more than 255
            objects.
        TypeError: not integer tensors, or none at all.

    Example:
        >>> label_ids(torch.tensor([[[[0, 4, 2]]], [[[7, 0, 7]]]]))
        tensor([[2, 4],
                [7, 0]])
    """
    if not labels:
        raise TypeError("label_ids needs a label map, got none")
    check_labels(**dict(zip(_map_names(len(labels)), labels, strict=True)))
    if valid is not None:
        check_mask("valid", valid, tuple(labels[0].shape[:2]), labels[0].device)
        valid = valid.expand(labels[0].shape[:2])
    present, extremes = present_ids(labels[0], valid)
    for others in labels[1:]:
        more, more_extremes = present_ids(others, valid)
        present |= more
        extremes = torch.cat([extremes, more_extremes], 1)
    return list_ids(present, extremes)


def _map_names(count: int) -> list[str]:
    return ["labels"] if count == 1 else [f"labels[{i}]" for i in range(count)]


def present_ids(labels: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
    """Which ids each row has, bool ``[B, LARGEST_ID + 1]``, and its extremes ``[B, 2]``."""
    if labels.dtype == torch.int8:
        labels = labels.to(torch.int16)
    if has_kernel("label_present", labels.device):
        return label_present(labels, valid)
    rows, device = labels.shape[0], labels.device
    present = torch.zeros(rows, LARGEST_ID + 1, dtype=torch.bool, device=device)
    extremes = torch.zeros(rows, 2, dtype=torch.int64, device=device)
    for row, step in label_pieces(labels, labels.shape[2:].numel()):
        found, ends = label_present(labels[row, step], None if valid is None else valid[row, step])
        present[row] |= found
        extremes[row, 0] = torch.minimum(extremes[row, 0], ends[:, 0])
        extremes[row, 1] = torch.maximum(extremes[row, 1], ends[:, 1])
    return present, extremes


def list_ids(present: Tensor, extremes: Tensor) -> Tensor:
    """``[B, N]`` the ids that are present; the sync of :func:`label_ids`.

    ``extremes`` ``[B, *]`` hold the smallest and the largest label of all that ``present`` is of.
    """
    rows, device = present.shape[0], present.device
    if rows == 0:
        return torch.zeros(0, 0, dtype=torch.int64, device=device)
    numbers = torch.stack([extremes.amin(1), extremes.amax(1), present.sum(1)])  # [3, B]
    worst = torch.stack([numbers[0].argmin(), numbers[1].argmax(), numbers[2].argmax()])
    (lowest, highest, objects), at = torch.stack(
        [numbers.gather(1, worst[:, None])[:, 0], worst]
    ).tolist()
    if lowest < 0 or highest > LARGEST_ID:
        row = at[0] if lowest < 0 else at[1]
        raise ValueError(
            f"labels must lie in 0..{LARGEST_ID}, got {lowest}..{highest} (row {row} is outside)"
        )
    if objects > MOST_OBJECTS:
        raise ValueError(
            f"a row may have at most {MOST_OBJECTS} objects, got {objects} in row {at[2]}"
        )
    ids = torch.zeros(rows, objects + 1, dtype=torch.int64, device=device)
    every_id = torch.arange(highest + 1, device=device)
    for start in range(0, rows, TABLE_ROWS):
        table = present[start : start + TABLE_ROWS, : highest + 1]
        # All absent ids write 0 to slot 0, which is dropped.
        slot = table.cumsum(1).where(table, 0)
        ids[start : start + TABLE_ROWS].scatter_(1, slot, every_id.where(table, 0))
    return ids[:, 1:]


def slot_maps(labels: Tensor, ids: Tensor) -> Tensor:
    """Labels ``[B, T, H, W]`` as slots ``[B * T, H, W]`` int64: 1..N of ``ids [B, N]``, else 0."""
    return label_slots(labels, ids.long())
