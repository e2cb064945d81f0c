"""What the tracking summaries start from: similarities of objects that are there, and sums."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from wmscore.functional._check import check_tensor
from wmscore.functional.reasons import Reason

__all__ = ["checked_similarity", "no_object_reason", "share_of", "sum_in_order", "where_defined"]


def checked_similarity(
    similarity: Tensor, target_present: Tensor, preds_present: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Float64 similarity `[B, T, N, M]`, 0 where an object is not there, and both masks; M >= 1.

    Raises:
        ValueError: shapes or devices do not fit, or there is no step.
        TypeError: similarity is not floating point, or a mask not bool.
    """
    check_tensor("similarity", similarity)
    if not similarity.is_floating_point():
        raise TypeError(f"similarity must be floating point, got {similarity.dtype}")
    if similarity.ndim != 4 or similarity.shape[1] == 0:
        raise ValueError(
            "similarity must have shape [B, T, N, M] with at least one step, "
            f"got {tuple(similarity.shape)}"
        )
    rows, steps, objects, tracks = similarity.shape
    for name, mask, shape in (
        ("target_present", target_present, (rows, steps, objects)),
        ("preds_present", preds_present, (rows, steps, tracks)),
    ):
        check_tensor(name, mask)
        if mask.dtype != torch.bool:
            raise TypeError(f"{name} must be bool, got {mask.dtype}")
        if tuple(mask.shape) != shape:
            raise ValueError(f"{name} must have shape {shape}, got {tuple(mask.shape)}")
        if mask.device != similarity.device:
            raise ValueError(
                f"{name} must be on {similarity.device} like similarity, got {mask.device}"
            )
    if tracks == 0:  # one that is never there, so that an index of a track always means one
        similarity, preds_present = pad(similarity, (0, 1)), pad(preds_present, (0, 1))
    both = target_present[..., :, None] & preds_present[..., None, :]
    return similarity.double().where(both, 0.0), target_present, preds_present


def sum_in_order(values: Tensor, dim: int) -> Tensor:
    """Sum along a dim one after the other, so that the bits depend on nothing else in the batch."""
    if values.shape[dim] == 0:
        return values.sum(dim)
    return values.cumsum(dim).select(dim, -1)


def share_of(part: Tensor, whole: Tensor) -> Tensor:
    """Float64 ratio of counts; 0 where the whole is 0, as TrackEval has it."""
    return part.double() / whole.clamp(min=1)


def no_object_reason(target_present: Tensor) -> Tensor:
    """``[B]`` uint8: NO_OBJECT where the reference shows no object at any step, else DEFINED."""
    is_empty = ~target_present.flatten(1).any(1)
    return is_empty.to(torch.uint8) * int(Reason.NO_OBJECT)


def where_defined(value: Tensor, reason: Tensor) -> Tensor:
    """Values ``[B, ...]`` in float64, NaN where the row has a reason."""
    undefined = (reason != Reason.DEFINED).view(-1, *(1,) * (value.ndim - 1))
    return value.double().masked_fill(undefined, torch.nan)
