"""Label maps of a first frame from boxes or points, for `carry_labels`."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from wmscore.functional._check import check_ids, check_number, check_tensor
from wmscore.ops.label_overlap import LARGEST_ID

__all__ = ["labels_from_boxes", "labels_from_points"]


def labels_from_boxes(boxes: Tensor, size: tuple[int, int], *, ids: Tensor | None = None) -> Tensor:
    """Label maps of boxes, for `carry_labels`; smaller boxes lie in front of larger ones.

    Args:
        boxes: ``[B, N, 4]`` real, (top, left, bottom, right) in pixels, bottom and right exclusive;
            a pixel belongs to a box that its middle lies in. Empty boxes are no object.
        size: height and width of the frames.
        ids: ``[B, N]`` ids of the boxes, 0 = none; ``None`` means 1..N.

    Returns:
        ``[B, H, W]`` int64.

    Raises:
        ValueError: shapes do not fit.
        TypeError: not tensors, or of the wrong dtype.

    Example:
        >>> labels_from_boxes(torch.tensor([[[0, 0, 2, 2], [0, 0, 1, 1]]]), (2, 3))
        tensor([[[2, 1, 0],
                 [1, 1, 0]]])
    """
    ids = _place_ids("boxes", boxes, 4, ids)
    y = torch.arange(size[0], device=boxes.device)[:, None] + 0.5
    x = torch.arange(size[1], device=boxes.device) + 0.5
    top, left, bottom, right = boxes.double()[..., None, None].unbind(2)
    inside = (y >= top) & (y < bottom) & (x >= left) & (x < right)  # [B, N, H, W]
    area = ((bottom - top) * (right - left)).expand(inside.shape)
    return _nearest(area.masked_fill(~inside, torch.inf), ids)


def labels_from_points(
    points: Tensor, size: tuple[int, int], *, radius: float = 2.0, ids: Tensor | None = None
) -> Tensor:
    """Label maps of points, for `carry_labels`: a disc around each, shared by the nearest.

    A point says where an object is, not how large: everything is measured on the disc. Give the
    radius of the smallest object.

    Args:
        points: ``[B, N, 2]`` real, (down, right) in pixels, (0.5, 0.5) being the middle of the
            first pixel.
        size: height and width of the frames.
        radius: of the disc in pixels, above 0.
        ids: ``[B, N]`` ids of the points, 0 = none; ``None`` means 1..N.

    Returns:
        ``[B, H, W]`` int64.

    Raises:
        ValueError: shapes do not fit, or the radius is out of range.
        TypeError: not tensors, or of the wrong dtype.

    Example:
        >>> labels_from_points(torch.tensor([[[1.5, 1.5]]]), (3, 4), radius=1)
        tensor([[[0, 1, 0, 0],
                 [1, 1, 1, 0],
                 [0, 1, 0, 0]]])
    """
    check_number("radius", radius, low=0.0, low_is_allowed=False)
    ids = _place_ids("points", points, 2, ids)
    y = torch.arange(size[0], device=points.device)[:, None] + 0.5
    x = torch.arange(size[1], device=points.device) + 0.5
    down, right = points.double()[..., None, None].unbind(2)
    distance = (y - down).square() + (x - right).square()
    return _nearest(distance.masked_fill(distance > radius**2, torch.inf), ids)


def _place_ids(name: str, places: Tensor, numbers: int, ids: Tensor | None) -> Tensor:
    check_tensor(name, places)
    if places.dtype == torch.bool or places.is_complex():
        raise TypeError(f"{name} must hold real numbers, got {places.dtype}")
    if places.ndim != 3 or places.shape[2] != numbers:
        raise ValueError(f"{name} must have shape [B, N, {numbers}], got {tuple(places.shape)}")
    if ids is None:
        return torch.arange(1, places.shape[1] + 1, device=places.device).expand(places.shape[:2])
    check_ids(ids, places, LARGEST_ID)
    if ids.shape != places.shape[:2]:
        raise ValueError(
            f"ids must have shape [B, N] = {tuple(places.shape[:2])}, got {tuple(ids.shape)}"
        )
    return ids.long()


def _nearest(distance: Tensor, ids: Tensor) -> Tensor:
    """Id of the smallest of ``[B, N, H, W]``, 0 where all are infinite."""
    distance = distance.masked_fill((ids == 0)[..., None, None], torch.inf)
    wide = pad(distance, (0, 0, 0, 0, 1, 0), value=torch.finfo(torch.float64).max)  # nobody
    slot = wide.argmin(1)
    return pad(ids, (1, 0)).gather(1, slot.flatten(1)).view_as(slot)
