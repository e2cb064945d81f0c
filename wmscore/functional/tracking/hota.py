"""HOTA: how well objects are detected and how well they keep their identity, in one score."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from wmscore.functional.tracking._inputs import (
    checked_similarity,
    no_object_reason,
    share_of,
    sum_in_order,
    where_defined,
)
from wmscore.ops import assignment

__all__ = ["HOTA_ALPHAS", "Hota", "HotaScores", "hota"]

# As TrackEval computes them, to the last bit: which similarities reach one depends on it.
HOTA_ALPHAS = tuple(0.05 + 0.05 * step for step in range(19))
_EPSILON = torch.finfo(torch.float64).eps
_LEAST = 1e-10  # as in TrackEval: where nothing is matched, LocA is 1


@dataclass(frozen=True)
class HotaScores:
    """The scores that HOTA is made of, float64 in [0, 1], higher is better.

    Attributes:
        hota: geometric mean of ``det_a`` and ``ass_a``.
        det_a: detection accuracy, TP / (TP + FN + FP).
        ass_a: association accuracy: mean over the matched detections of the share of the steps of
            their two tracks at which both are matched with each other.
        det_re: detection recall, TP / (TP + FN).
        det_pr: detection precision, TP / (TP + FP).
        ass_re: association recall: the same share, of the steps of the reference track.
        ass_pr: association precision: of the steps of the generated track.
        loc_a: mean similarity of the matched detections; 1 where none is matched.
    """

    hota: Tensor
    det_a: Tensor
    ass_a: Tensor
    det_re: Tensor
    det_pr: Tensor
    ass_re: Tensor
    ass_pr: Tensor
    loc_a: Tensor


@dataclass(frozen=True)
class Hota:
    """HOTA of each rollout. See :func:`hota`.

    Attributes:
        mean: the scores ``[B]``, means over the 19 thresholds: what papers report.
        per_alpha: the scores ``[B, 19]`` at each of ``HOTA_ALPHAS``.
        tp: ``[B, 19]`` int64, matched detections whose similarity reaches the threshold.
        fn: ``[B, 19]`` int64, reference detections without such a match.
        fp: ``[B, 19]`` int64, generated detections without such a match.
        reason: ``[B]`` uint8, a :class:`~wmscore.functional.Reason`.
    """

    mean: HotaScores
    per_alpha: HotaScores
    tp: Tensor
    fn: Tensor
    fp: Tensor
    reason: Tensor


def hota(similarity: Tensor, target_present: Tensor, preds_present: Tensor) -> Hota:
    r"""Higher order tracking accuracy (Luiten et al. 2021, arXiv:2009.07736, eqs. 5 to 14).

    .. math:: \mathrm{HOTA}_\alpha = \sqrt{\mathrm{DetA}_\alpha \cdot \mathrm{AssA}_\alpha}

    At each step detections are matched so that the sum of similarity times the alignment of their
    whole tracks is largest; a match counts at a threshold α if its similarity reaches it. Equal to
    TrackEval within 1e-9, its choice among equally good matchings included, but for one thing: in a
    rollout whose reference shows no object TrackEval's scores are 0 (``loc_a`` 1), and these are
    NaN. Where objects are there and nothing is generated, or nothing is matched, TrackEval's
    conventions stand: all scores are 0, and ``loc_a`` is 1.

    Args:
        similarity: ``[B, T, N, M]`` floating, in [0, 1], of reference object n and generated object
            m at each step, such as their IoU. What it holds where one of both is absent plays no
            part.
        target_present: ``[B, T, N]`` bool, whether the reference shows the object. A step that does
            not exist has none.
        preds_present: ``[B, T, M]`` bool, whether the generated frame does.

    Returns:
        A :class:`Hota`.

    Raises:
        ValueError: shapes or devices do not fit.
        TypeError: tensors of the wrong dtype.

    Example:
        >>> similarity = torch.eye(2).repeat(1, 10, 1, 1)
        >>> similarity[:, 6:] = similarity[:, 6:].flip(-1)  # two objects change places at step 7
        >>> there = torch.ones(1, 10, 2, dtype=torch.bool)
        >>> scores = hota(similarity, there, there).mean
        >>> scores.det_a.item(), round(scores.ass_a.item(), 6), round(scores.hota.item(), 6)
        (1.0, 0.357143, 0.597614)
    """
    similarity, target_present, preds_present = checked_similarity(
        similarity, target_present, preds_present
    )
    target_count, preds_count = target_present.sum(1), preds_present.sum(1)  # [B, N], [B, M]
    lengths = target_count[:, :, None] + preds_count[:, None, :]  # [B, N, M]
    match = _match(similarity, target_present, preds_present, lengths)

    matched = similarity.gather(-1, match.clamp(min=0)[..., None])[..., 0]  # [B, T, N]
    # Made on the device, as HOTA_ALPHAS are: a list would have to be copied to it.
    index = torch.arange(len(HOTA_ALPHAS), dtype=torch.float64, device=match.device)
    thresholds = 0.05 + 0.05 * index - _EPSILON
    # How many of the thresholds each match reaches: it counts at the first so many of them.
    reached = torch.bucketize(matched, thresholds, right=True).where(match >= 0, 0)
    counts = _counts(match, reached, similarity.shape[-1])  # [B, 19, N, M]
    tp = counts.sum((-2, -1))
    fn, fp = target_count.sum(1)[:, None] - tp, preds_count.sum(1)[:, None] - tp

    localised = matched.flatten(1)[..., None].where(reached.flatten(1)[..., None] > index, 0.0)

    def associated(length: Tensor) -> Tensor:
        return share_of(sum_in_order((counts * share_of(counts, length)).flatten(2), 2), tp)

    det_a = share_of(tp, tp + fn + fp)
    ass_a = associated(lengths[:, None] - counts)
    scores = HotaScores(
        hota=(det_a * ass_a).sqrt(),
        det_a=det_a,
        ass_a=ass_a,
        det_re=share_of(tp, tp + fn),
        det_pr=share_of(tp, tp + fp),
        ass_re=associated(target_count[:, None, :, None]),
        ass_pr=associated(preds_count[:, None, None, :]),
        loc_a=sum_in_order(localised, 1).clamp(min=_LEAST) / tp.double().clamp(min=_LEAST),
    )
    reason = no_object_reason(target_present)
    defined = {f.name: where_defined(getattr(scores, f.name), reason) for f in fields(scores)}
    per_alpha = HotaScores(**defined)
    means = {name: sum_in_order(value, 1) / len(HOTA_ALPHAS) for name, value in defined.items()}
    return Hota(HotaScores(**means), per_alpha, tp, fn, fp, reason)


def _match(
    similarity: Tensor, target_present: Tensor, preds_present: Tensor, lengths: Tensor
) -> Tensor:
    """``[B, T, N]`` the generated object that each reference object is matched with, or -1."""
    of_target, of_preds = sum_in_order(similarity, -1), sum_in_order(similarity, -2)
    either = of_preds[..., None, :] + of_target[..., :, None] - similarity
    aligned = (similarity / either).where(either > _EPSILON, 0.0)
    together = sum_in_order(aligned, 1)  # [B, N, M] steps, in soft counts
    alignment = together / (lengths - together)
    score = alignment[:, None] * similarity
    match = assignment(
        score.flatten(0, 1), True, target_present.flatten(0, 1), preds_present.flatten(0, 1)
    )
    return match.view(target_present.shape)


def _counts(match: Tensor, reached: Tensor, tracks: int) -> Tensor:
    """``[B, 19, N, M]`` at how many steps a pair is matched at each threshold."""
    rows, _, objects = match.shape
    levels = len(HOTA_ALPHAS) + 1
    place = (reached * objects + torch.arange(objects, device=match.device)) * tracks
    place = (place + match.clamp(min=0)).flatten(1)
    # A pair that reaches no threshold is counted at level 0, which is dropped.
    counts = match.new_zeros(rows, levels * objects * tracks)
    counts.scatter_add_(1, place, torch.ones_like(place))
    counts = counts.view(rows, levels, objects, tracks)
    return counts.flip(1).cumsum(1).flip(1)[:, 1:]
