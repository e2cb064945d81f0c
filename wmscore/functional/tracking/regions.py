"""DAVIS J and F: how well the region and the boundary of each object are kept."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wmscore.functional.tracking._inputs import (
    no_object_reason,
    share_of,
    sum_in_order,
    where_defined,
)
from wmscore.functional.tracking._labels import LabelTracks, label_tracks
from wmscore.functional.tracking.boundary import boundary_f
from wmscore.ops import assignment

__all__ = ["RegionAndBoundary", "region_and_boundary", "regions_of_tracks"]


@dataclass(frozen=True)
class RegionAndBoundary:
    """DAVIS scores of each rollout. See :func:`region_and_boundary`.

    ``f``, ``mean_f`` and ``mean_jf`` are None where the boundary was not asked for.

    Attributes:
        target_ids: ``[B, N]`` int64 ids of the reference's objects; 0 = padding.
        matched_id: ``[B, N]`` int64, the generated object that each is compared with over the whole
            rollout; 0 = none, an empty one.
        j: ``[B, T, N]`` float64 in [0, 1], IoU of the two, higher is better; 1 where neither has a
            pixel. NaN at steps that are not valid and for objects that the reference never shows.
        f: ``[B, T, N]`` float64 in [0, 1], boundary F of the two; 1 where neither has a boundary.
        mean_j: ``[B]`` float64, mean over the objects that the reference shows of the means over
            the valid steps.
        mean_f: ``[B]`` float64, likewise.
        mean_jf: ``[B]`` float64, mean of both, "J&F".
        reason: ``[B]`` uint8, a :class:`~wmscore.functional.Reason`.
    """

    target_ids: Tensor
    matched_id: Tensor
    j: Tensor
    f: Tensor | None
    mean_j: Tensor
    mean_f: Tensor | None
    mean_jf: Tensor | None
    reason: Tensor


def region_and_boundary(
    preds_labels: Tensor,
    target_labels: Tensor,
    *,
    valid: Tensor | None = None,
    preds_ids: Tensor | None = None,
    target_ids: Tensor | None = None,
    boundary: bool = True,
) -> RegionAndBoundary:
    """Region similarity J and boundary accuracy F (Perazzi et al. 2016; Pont-Tuset et al. 2017).

    Each reference object is compared with one generated object over the whole rollout, paired so
    that the sum of the mean J is largest; F is taken of these pairs, within 0.8 % of the frame's
    diagonal. Equal to TrackEval (its ``optim_type`` "J") within 1e-9; where the reference shows no
    object both are NaN. A step at which neither of a pair is visible counts as 1, as there.

    Args:
        preds_labels: generated labels ``[B, T, H, W]``, integers in 0..32767, 0 = background.
        target_labels: reference labels of the same shape; the two may have id spaces of their own.
        valid: ``[B, T]`` bool, steps that exist; ``None`` means all.
        preds_ids: ``[B, M]`` distinct ids of the generated objects, 0 = padding; what is not listed
            is background. ``None`` finds them with one device sync.
        target_ids: ``[B, N]`` ids of the reference's objects, likewise.
        boundary: whether F is wanted too.

    Returns:
        A :class:`RegionAndBoundary`.

    Raises:
        ValueError: shapes differ or are empty, or an id is out of range.
        TypeError: tensors of the wrong dtype.

    Example:
        >>> target = torch.zeros(1, 1, 30, 30, dtype=torch.uint8)
        >>> target[..., 5:15, 5:15] = 1
        >>> preds = target.roll(2, -1) * 7  # the same object under another name, 2 pixels away
        >>> result = region_and_boundary(preds, target)
        >>> result.matched_id.max().item(), round(result.mean_j.item(), 4)
        (7, 0.6667)
    """
    tracks = label_tracks(preds_labels, target_labels, valid, preds_ids, target_ids)
    return regions_of_tracks(tracks, (preds_labels, target_labels) if boundary else None)


def regions_of_tracks(
    tracks: LabelTracks, labels: tuple[Tensor, Tensor] | None
) -> RegionAndBoundary:
    """The same of what was read from the labels; F where they are given, generated ones first."""
    target_present, valid = tracks.target_present, tracks.valid
    objects, generated = tracks.target_ids.shape[1], tracks.preds_ids.shape[1]
    count = valid.sum(1)  # [B]
    # One more generated object, which is nowhere: who has no partner is compared with it.
    either = target_present[..., None] | _with_nobody(tracks.preds_present)[..., None, :]
    j = _with_nobody(tracks.iou).where(either, 1.0)  # [B, T, N, M + 1]
    j = j.where(valid[..., None, None], 0.0)
    means = share_of(sum_in_order(j, 1), count[:, None, None])  # [B, N, M + 1]
    exists = target_present.any(1)  # [B, N]
    track = _pair(means, exists, tracks.preds_present.any(1))

    places = track[:, None, :, None].expand(-1, j.shape[1], -1, -1)
    kept = valid[..., None] & exists[:, None]
    own = j.gather(3, places)[..., 0].masked_fill(~kept, torch.nan)
    names = torch.cat([tracks.preds_ids, tracks.preds_ids.new_zeros(len(track), 1)], 1)
    matched_id = names.gather(1, track)
    matched_id = matched_id.where(exists, 0)
    reason = no_object_reason(target_present)

    def mean(values: Tensor) -> Tensor:
        per_object = share_of(sum_in_order(values.where(kept, 0.0), 1), count[:, None])
        return where_defined(share_of(sum_in_order(per_object, 1), exists.sum(1)), reason)

    assert track.shape[1] == objects
    assert names.shape[1] == generated + 1
    mean_j = mean(own)
    f = mean_f = mean_jf = None
    if labels is not None:
        f = boundary_f(*labels, matched_id, tracks.target_ids).masked_fill(~kept, torch.nan)
        mean_f = mean(f)
        mean_jf = (mean_j + mean_f) / 2
    return RegionAndBoundary(tracks.target_ids, matched_id, own, f, mean_j, mean_f, mean_jf, reason)


def _with_nobody(values: Tensor) -> Tensor:
    return torch.nn.functional.pad(values, (0, 1))


def _pair(means: Tensor, exists: Tensor, generated: Tensor) -> Tensor:
    """``[B, N]`` the generated object of each reference object, M = nobody.

    As TrackEval poses it, so that its choice among equally good pairings is taken: generated
    objects are rows, and empty ones are added until they are as many as the reference's.
    """
    rows, objects, places = means.shape
    tracks = places - 1
    missing = exists.sum(1) - generated.sum(1)
    is_added = torch.arange(objects, device=means.device) < missing[:, None]
    scores = torch.cat([means[..., :tracks], means[..., tracks:].expand(-1, -1, objects)], -1).mT
    found = assignment(scores, True, torch.cat([generated, is_added], 1), exists)  # [B, M + N]
    track = found.new_full((rows, objects + 1), tracks)
    index = torch.arange(tracks + objects, device=means.device).clamp(max=tracks)
    # Rows without a partner write to a place that is dropped.
    return track.scatter(1, found.where(found >= 0, objects), index.expand_as(found))[:, :objects]
