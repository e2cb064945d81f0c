"""Who stands where: an optimal matching of reference objects with generated regions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from wmscore.functional.overlap import LabelOverlap
from wmscore.ops import assignment

__all__ = ["in_ring", "match_places"]

_HAIR = 1e-6


def match_places(
    overlap: LabelOverlap, min_area: int, iou_gate: float, *, by_distance: bool = True
) -> Tensor:
    r"""The generated slot in the place of each reference object, and nobody twice.

    The matching maximises the sum over pairs of

    .. math:: w_{ij} = \begin{cases} 1 + \mathrm{IoU}_{ij} & \mathrm{IoU}_{ij} \ge \mathrm{gate} \\
                                     1 - d_{ij} / s_i & d_{ij} < s_i \\ 0 & \text{else} \end{cases}

    (and a hair more for the object itself, which decides ties), with the distance of centroids d
    and the reference object's size s, the root of its area: a region of another shape is in the
    place as long as it is nearer than one object size. Pairs of weight 0 are none. Only regions of
    `min_area` pixels or more take part.

    Args:
        overlap: counts of `[B, T]` pairs of frames, N slots each.
        min_area: pixels.
        iou_gate: IoU from which a region counts as being in the place.
        by_distance: whether a region below the gate may be in the place, by its distance.

    Returns:
        `[B, T, N]` int64, 1-based generated slots; 0 = nobody.
    """
    area = overlap.target_area
    iou = overlap.iou.nan_to_num(0.0)
    size = area.double().sqrt()[..., None]
    near = (1 - overlap.centroid_distance / size).nan_to_num(0.0).clamp(min=0.0)
    weight = torch.where(iou >= iou_gate, 1 + iou, near if by_distance else 0.0)
    takes_part = (area >= min_area)[..., None] & (overlap.preds_area >= min_area)[..., None, :]
    weight = weight.masked_fill(~takes_part, 0.0)
    weight += _HAIR * (weight > 0) * torch.eye(weight.shape[-1], device=weight.device)
    chosen = assignment(weight.flatten(0, 1), maximize=True).view(area.shape)  # [B, T, N]
    gained = weight.gather(-1, chosen.clamp(min=0)[..., None])[..., 0]
    return (chosen + 1).masked_fill((chosen < 0) | (gained <= 0), 0)


def in_ring(place: Tensor) -> Tensor:
    """Which objects stand in each other's places all around: `a` in b's, b in c's, c in a's.

    Args:
        place: `[..., N]` int64, 1-based slot of the object in whose place each one stands; 0 =
            nobody's. No two stand in one place.

    Returns:
        `[..., N]` bool; an object in its own place is a ring of one.
    """
    jump = pad(place, (1, 0))  # slot 0 leads to itself
    for _ in range(place.shape[-1].bit_length()):
        jump = jump.gather(-1, jump)
    # After as many steps as there are objects, a path has ended and a ring has not.
    return jump[..., 1:] > 0
