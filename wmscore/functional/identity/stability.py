"""Whether the ids of label maps are stable: maps whose numbers change meaning are no labels."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.functional._check import check_count, check_labels, check_mask, check_number
from wmscore.functional.identity.places import match_places
from wmscore.functional.label_ids import label_ids
from wmscore.functional.overlap import overlap_pieces

__all__ = ["IdStability", "id_stability"]


class IdStability(NamedTuple):
    """How often a region goes on under its own id. See :func:`id_stability`.

    Attributes:
        kept: ``[B]`` int64, regions that stand in their own place of the frame before.
        changed: ``[B]`` int64, regions whose place in the frame before had another id.
    """

    kept: Tensor
    changed: Tensor

    @property
    def suspicious(self) -> Tensor:
        """``[B]`` bool: four changes or more, and more than one in ten: ids are hardly stable.

        One swap of two objects makes two changes.
        """
        return (self.changed >= 4) & (9 * self.changed > self.kept)


def id_stability(
    labels: Tensor,
    *,
    valid: Tensor | None = None,
    ids: Tensor | None = None,
    min_area: int = 16,
    iou_gate: float = 0.6,
) -> IdStability:
    """Count how often an id moves onto the place of another from one frame to the next.

    Objects of a world hardly ever exchange their places within one frame. A renderer that numbers
    what it sees anew in every frame (VizDoom's ``label.value``) does it whenever something comes
    into view.

    Args:
        labels: label maps of one video a row, ``[B, T, H, W]``, integers in 0..32767.
        valid: ``[B, T]`` bool, frames that exist; ``None`` means all.
        ids: ``[B, N]`` distinct object ids of each row, 0 = padding; ``None`` finds them with one
            device sync.
        min_area: pixels from which a region takes part.
        iou_gate: IoU in (0, 1] from which a region stands in the place of another. Where the view
            turns past a row of things, one moves onto the place of the next with an IoU up to 0.6.

    Returns:
        :class:`IdStability`. A single frame has no changes.

    Raises:
        ValueError: shapes are empty, an id or an option is out of range.
        TypeError: tensors of the wrong dtype.
    """
    check_labels(labels=labels)
    check_count("min_area", min_area)
    check_number("iou_gate", iou_gate, low=0.0, low_is_allowed=False, high=1.0)
    rows, frames = labels.shape[:2]
    if valid is None:
        valid = torch.ones(rows, frames, dtype=torch.bool, device=labels.device)
    else:
        check_mask("valid", valid, (rows, frames), labels.device)
        valid = valid.expand(rows, frames)
    if ids is None:
        ids = label_ids(labels, valid=valid)
    counts = torch.zeros(rows, 2, dtype=torch.int64, device=labels.device)
    if frames > 1:
        pairs = valid[:, 1:] & valid[:, :-1]
        for row, step, overlap in overlap_pieces(labels[:, 1:], labels[:, :-1], ids):
            place = match_places(overlap, min_area, iou_gate, by_distance=False)
            own = place == torch.arange(1, place.shape[-1] + 1, device=place.device)
            there = (place > 0) & pairs[row, step, None]
            counts[row, 0] += (there & own).sum((1, 2))
            counts[row, 1] += (there & ~own).sum((1, 2))
    return IdStability(counts[:, 0], counts[:, 1])
