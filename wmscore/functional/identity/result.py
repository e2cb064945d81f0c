"""`ObjectIdentity`: each object at each step, the score, and where identity first breaks."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

__all__ = ["ObjectIdentity"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ObjectIdentity:
    """Identity of each object over time. See :func:`object_identity`.

    Slots without an object (``ids`` 0) are UNDEFINED at all steps. Things that only the generated
    frames show have a slot too, after the reference's objects: NOT_VISIBLE or SPAWN throughout.

    Attributes:
        ids: ``[B, N]`` int64 object ids; 0 = padding.
        state: ``[B, T, N]`` uint8, an :class:`IdentityState`.
        confidence: ``[B, T, N]`` float64 in [0, 1], of the state; 1 with labels of both videos, NaN
            where the object is not judged.
        object_reason: ``[B, T, N]`` uint8, a :class:`Reason` where the state is UNDETERMINED.
        other_id: ``[B, T, N]`` int64, for SWAP, MORPH, MERGE and REENTRY the id of what is in the
            object's place, 0 where that has none; for SPLIT the largest part that is not its own.
        iou: ``[B, T, N]`` float64 in [0, 1], reference object with the generated region of the same
            id; NaN where neither has a pixel and at invalid steps.
        centroid_error: ``[B, T, N]`` float64, pixels between the centroids of the object in both
            videos; NaN where one has no pixel of it and at invalid steps.
        area: ``[B, T, N]`` int64, pixels of the object in the reference.
        area_ratio: ``[B, T, N]`` float64, generated over reference area; NaN where the reference
            has no pixel and at invalid steps.
        visible: ``[B, T, N]`` bool, the reference shows ``min_area`` pixels or more.
        present: ``[B, T, N]`` bool, the generated frame does.
        matched_id: ``[B, T, N]`` int64, the generated id in the object's place; 0 = none.
        score: ``[B, T]`` float64 in [0, 1], share of the visible and determined objects whose
            identity is not broken, higher is better; NaN where there is none.
        area_score: ``[B, T]`` float64 in [0, 1], the same, each object weighted by its pixels in
            the reference.
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
    confidence: Tensor
    object_reason: Tensor
    other_id: Tensor
    iou: Tensor
    centroid_error: Tensor
    area: Tensor
    area_ratio: Tensor
    visible: Tensor
    present: Tensor
    matched_id: Tensor
    score: Tensor
    area_score: Tensor
    reason: Tensor
    object_first_break: Tensor
    object_first_event: Tensor
    first_break: Tensor
    first_break_id: Tensor
    first_break_event: Tensor

    def __repr__(self) -> str:
        """Sizes, no values."""
        rows, steps, objects = self.state.shape
        return f"ObjectIdentity(rows={rows}, steps={steps}, objects={objects})"
