"""CLEAR MOT: misses, false positives and identity switches, step after step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from wmscore.functional._check import check_number
from wmscore.functional.tracking._inputs import (
    checked_similarity,
    no_object_reason,
    share_of,
    sum_in_order,
    where_defined,
)
from wmscore.ops import assignment

__all__ = ["Clear", "clear"]

_EPSILON = torch.finfo(torch.float64).eps
_CONTINUATION = 1000.0  # what it is worth to go on with the match of the step before
_MOSTLY, _PARTLY = 0.8, 0.2


@dataclass(frozen=True)
class Clear:
    """CLEAR MOT of each rollout. See :func:`clear`.

    Attributes:
        mota: ``[B]`` float64 in (-inf, 1], 1 - (FN + FP + ID switches) / reference detections,
            higher is better.
        motp: ``[B]`` float64, mean similarity of the matches, higher is better; 0 without a match.
        tp: ``[B]`` int64, matched detections.
        fn: ``[B]`` int64, reference detections without a match.
        fp: ``[B]`` int64, generated detections without a match.
        id_switches: ``[B]`` int64, matches with another track than at the object's last match.
        fragmentations: ``[B]`` int64, how often the tracking of an object is taken up again.
        mostly_tracked: ``[B]`` int64, objects tracked at more than 80 % of their steps.
        partly_tracked: ``[B]`` int64, at 20 % or more, but not mostly.
        mostly_lost: ``[B]`` int64, at less than 20 %.
        lifetime: ``[B, N]`` float64 in [0, 1], share of the steps at which the reference shows the
            object at which it is matched; NaN for an object that it never shows.
        match: ``[B, T, N]`` int64, index of the generated object that each is matched with, or -1.
        switched: ``[B, T, N]`` bool, matches that are identity switches.
        reason: ``[B]`` uint8, a :class:`~wmscore.functional.Reason`.
    """

    mota: Tensor
    motp: Tensor
    tp: Tensor
    fn: Tensor
    fp: Tensor
    id_switches: Tensor
    fragmentations: Tensor
    mostly_tracked: Tensor
    partly_tracked: Tensor
    mostly_lost: Tensor
    lifetime: Tensor
    match: Tensor
    switched: Tensor
    reason: Tensor


def clear(
    similarity: Tensor, target_present: Tensor, preds_present: Tensor, *, threshold: float = 0.5
) -> Clear:
    r"""CLEAR MOT (Bernardin and Stiefelhagen 2008, "Evaluating multiple object tracking").

    .. math:: \mathrm{MOTA} = 1 - \frac{FN + FP + IDSW}{\text{reference detections}}

    At each step, pairs whose similarity reaches the threshold are matched: first as many as can go
    on from the step before, then by similarity. Equal to TrackEval: a switch is counted against the
    object's last match however long ago, and steps at which the reference or the generated frame
    shows nothing at all neither end a match nor interrupt a track. In a rollout whose reference
    shows no object ``mota`` and ``motp`` are NaN (TrackEval: 0); the counts stand.

    Args:
        similarity: ``[B, T, N, M]`` floating, as for :func:`hota`.
        target_present: ``[B, T, N]`` bool.
        preds_present: ``[B, T, M]`` bool.
        threshold: similarity in (0, 1] from which a pair can be matched.

    Returns:
        A :class:`Clear`.

    Raises:
        ValueError: shapes or devices do not fit, or the threshold is out of range.
        TypeError: tensors of the wrong dtype.

    Example:
        >>> similarity = torch.eye(2).repeat(1, 10, 1, 1)
        >>> similarity[:, 6:] = similarity[:, 6:].flip(-1)  # two objects change places at step 7
        >>> there = torch.ones(1, 10, 2, dtype=torch.bool)
        >>> result = clear(similarity, there, there)
        >>> result.mota.item(), result.id_switches.item(), result.lifetime.tolist()
        (0.9, 2, [[1.0, 1.0]])
    """
    check_number("threshold", threshold, low=0.0, low_is_allowed=False, high=1.0)
    similarity, target_present, preds_present = checked_similarity(
        similarity, target_present, preds_present
    )
    is_active = target_present.any(-1) & preds_present.any(-1)  # [B, T]
    match = _match(similarity, target_present, preds_present, is_active, threshold)
    is_matched = match >= 0
    before = _last_match(match)
    switched = is_matched & (before >= 0) & (match != before)

    target_count = target_present.sum(1)  # [B, N]
    share = is_matched.sum(1).double() / target_count  # 0 / 0 for what is never there
    mostly = (share > _MOSTLY).sum(1)
    partly = (share >= _PARTLY).sum(1) - mostly
    tp = is_matched.sum((1, 2))
    fn, fp = target_count.sum(1) - tp, preds_present.sum((1, 2)) - tp
    id_switches = switched.sum((1, 2))
    matched = similarity.gather(-1, match.clamp(min=0)[..., None])[..., 0].where(is_matched, 0.0)
    reason = no_object_reason(target_present)
    mota = share_of(tp - fp - id_switches, tp + fn)
    motp = share_of(sum_in_order(matched.flatten(1), 1), tp)
    return Clear(
        mota=where_defined(mota, reason),
        motp=where_defined(motp, reason),
        tp=tp,
        fn=fn,
        fp=fp,
        id_switches=id_switches,
        fragmentations=_fragmentations(is_matched, is_active),
        mostly_tracked=mostly,
        partly_tracked=partly,
        mostly_lost=(target_count > 0).sum(1) - mostly - partly,
        lifetime=share,
        match=match,
        switched=switched,
        reason=reason,
    )


def _match(
    similarity: Tensor,
    target_present: Tensor,
    preds_present: Tensor,
    is_active: Tensor,
    threshold: float,
) -> Tensor:
    """``[B, T, N]`` the generated object that each reference object is matched with, or -1."""
    rows, steps, objects, tracks = similarity.shape
    match = torch.full_like(target_present, -1, dtype=torch.int64)
    is_near = similarity >= threshold - _EPSILON
    score = similarity.where(is_near, 0.0)
    bonus = is_near * _CONTINUATION
    track = torch.arange(tracks, device=similarity.device)
    previous = similarity.new_full((rows, objects, 1), -1, dtype=torch.int64)
    # Each step depends on the matches of the step before.
    for step in range(steps):
        scores = score[:, step] + bonus[:, step] * (previous == track)
        found = assignment(scores, True, target_present[:, step], preds_present[:, step])[..., None]
        is_match = (found >= 0) & (scores.gather(-1, found.clamp(min=0)) > _EPSILON)
        found = found.where(is_match, -1)
        match[:, step] = found[..., 0]
        previous = found.where(is_active[:, step, None, None], previous)
    return match


def _last_match(match: Tensor) -> Tensor:
    """``[B, T, N]`` what each object was last matched with before each step, or -1."""
    step = torch.arange(1, match.shape[1] + 1, device=match.device)[:, None]
    last = pad(step.where(match >= 0, 0).cummax(1).values, (0, 0, 1, -1))
    return pad(match, (0, 0, 1, 0), value=-1).gather(1, last)


def _fragmentations(is_matched: Tensor, is_active: Tensor) -> Tensor:
    """``[B]`` runs of tracked steps of each object beyond its first, inactive steps left out."""
    step = torch.arange(1, is_active.shape[1] + 1, device=is_active.device)
    last = pad(step.where(is_active, 0).cummax(1).values, (1, -1))  # active step before, 0 = none
    tracked = pad(is_matched, (0, 0, 1, 0))
    before = tracked.gather(1, last[..., None].expand_as(is_matched))
    starts = (is_matched & ~before).sum(1)  # [B, N]
    return (starts - 1).clamp(min=0).sum(1)
