"""IDF1: how much of the detections one pairing of whole tracks explains."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from wmscore.functional._check import check_number
from wmscore.functional.tracking._inputs import (
    checked_similarity,
    no_object_reason,
    share_of,
    where_defined,
)
from wmscore.ops import assignment

__all__ = ["IdentityF1", "identity_f1"]


@dataclass(frozen=True)
class IdentityF1:
    """Identity scores of each rollout. See :func:`identity_f1`.

    Attributes:
        idf1: ``[B]`` float64 in [0, 1], IDTP / (IDTP + IDFP / 2 + IDFN / 2), higher is better.
        idp: ``[B]`` float64 in [0, 1], IDTP / (IDTP + IDFP); 0 where nothing is generated.
        idr: ``[B]`` float64 in [0, 1], IDTP / (IDTP + IDFN).
        idtp: ``[B]`` int64, detections of paired tracks that are near each other.
        idfp: ``[B]`` int64, the other generated detections.
        idfn: ``[B]`` int64, the other reference detections.
        reason: ``[B]`` uint8, a :class:`~wmscore.functional.Reason`.
    """

    idf1: Tensor
    idp: Tensor
    idr: Tensor
    idtp: Tensor
    idfp: Tensor
    idfn: Tensor
    reason: Tensor


def identity_f1(
    similarity: Tensor, target_present: Tensor, preds_present: Tensor, *, threshold: float = 0.5
) -> IdentityF1:
    """Identity F1 (Ristani et al. 2016, arXiv:1609.01775, section 3).

    Each reference track is paired with at most one generated track, so that as many detections as
    possible are of paired tracks and reach the threshold. Equal to TrackEval, but NaN in a rollout
    whose reference shows no object (TrackEval: 0); the counts stand.

    Args:
        similarity: ``[B, T, N, M]`` floating, as for :func:`hota`.
        target_present: ``[B, T, N]`` bool.
        preds_present: ``[B, T, M]`` bool.
        threshold: similarity in (0, 1] from which two detections can be of one object.

    Returns:
        An :class:`IdentityF1`.

    Raises:
        ValueError: shapes or devices do not fit, or the threshold is out of range.
        TypeError: tensors of the wrong dtype.

    Example:
        >>> similarity = torch.eye(2).repeat(1, 10, 1, 1)
        >>> similarity[:, 6:] = similarity[:, 6:].flip(-1)  # two objects change places at step 7
        >>> there = torch.ones(1, 10, 2, dtype=torch.bool)
        >>> identity_f1(similarity, there, there).idf1.item()
        0.6
    """
    check_number("threshold", threshold, low=0.0, low_is_allowed=False, high=1.0)
    similarity, target_present, preds_present = checked_similarity(
        similarity, target_present, preds_present
    )
    common = (similarity >= threshold).sum(1)  # [B, N, M] steps
    # IDFN + IDFP = all detections - 2 IDTP: the paper's least-cost truth-to-result match of tracks
    # and dummies is the largest sum of common steps.
    partner = assignment(common.double(), True)
    paired = common.gather(-1, partner.clamp(min=0)[..., None])[..., 0]
    idtp = paired.where(partner >= 0, 0).sum(1)
    idfn, idfp = target_present.sum((1, 2)) - idtp, preds_present.sum((1, 2)) - idtp
    reason = no_object_reason(target_present)
    return IdentityF1(
        idf1=where_defined(share_of(idtp, idtp + 0.5 * idfp + 0.5 * idfn), reason),
        idp=where_defined(share_of(idtp, idtp + idfp), reason),
        idr=where_defined(share_of(idtp, idtp + idfn), reason),
        idtp=idtp,
        idfp=idfp,
        idfn=idfn,
        reason=reason,
    )
