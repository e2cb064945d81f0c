"""Identity persistence: which objects are still themselves, from labels or carried along."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn.functional import pad

from wmscore import functional as F
from wmscore.functional import Encoder, ObjectIdentity, Reason
from wmscore.manifest import AxisSpec
from wmscore.scorer.axes import Curves, blank
from wmscore.scorer.groups import Groups, of_reference

__all__ = ["LABEL_WARNINGS", "IdentityFound", "identity_persistence", "join_identity"]

LABEL_WARNINGS = {
    1: "rollouts.reference_labels: ids seem to change their meaning from frame to frame: one moves "
    "onto the place of another again and again. Identity needs ids that are stable over time",
    2: "rollouts.labels: ids seem to change their meaning from frame to frame: one moves onto the "
    "place of another again and again. Identity needs ids that are stable over time",
    4: "rollouts.labels: in the given frame no object has the id that the reference gives it. "
    "Identity needs ids that are shared with the reference; functional.share_ids renames them",
}
"""Bits of `IdentityFound.warnings`: what is wrong with label maps."""

# Tracking metrics of a row; the lifetime is the mean over objects.
_SUMMARY = (
    *("hota", "det_a", "ass_a", "loc_a"),
    *("idf1", "mota", "id_switches"),
    *("mean_j", "track_lifetime"),
)

# Fields of `ObjectIdentity` that have no axis over objects.
_PER_ROW = (
    "score",
    "area_score",
    "reason",
    "first_break",
    "first_break_id",
    "first_break_event",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class IdentityFound:
    """What a batch of `G` groups shows.

    Attributes:
        score: `[G, T]`.
        reason: `[G, T]` uint8.
        curves: raw measures.
        objects: every object at every step, or None where there is nothing to tell by.
        truth: the same from labels, where `objects` is told without and there are labels too.
        summary: per-row numbers `[G]`, by name.
        warnings: `[G]` uint8, what is wrong with label maps: bits of `LABEL_WARNINGS`.
    """

    score: Tensor
    reason: Tensor
    curves: Curves
    objects: ObjectIdentity | None
    truth: ObjectIdentity | None
    summary: dict[str, Tensor]
    warnings: Tensor


def identity_persistence(groups: Groups, spec: AxisSpec, encoder: Encoder | None) -> IdentityFound:
    """Score, its reasons, the raw curves, and the state of every object."""
    rollouts, reason = groups.commanded, groups.reason
    found = truth = None
    warnings = reason.new_zeros(len(reason))
    nothing = torch.full((len(reason),), torch.nan, dtype=torch.float64, device=reason.device)
    summary = dict.fromkeys(_SUMMARY, nothing)
    lack = Reason.NO_LABELS
    if spec.measure == "objects_alone":
        if rollouts.labels is not None:
            shown = torch.cat([rollouts.valid[:, :1], groups.shown], 1)
            found = F.lone_identity(rollouts.labels, valid=shown)
    elif rollouts.reference_labels is not None:
        if rollouts.labels is not None:
            warnings = warnings + 4 * _foreign(groups)
            truth = _from_labels(groups)
            summary = _tracking(groups, truth.ids)
        if not spec.measure.startswith("carried"):
            found, truth = truth, None
        elif min(rollouts.frames.shape[-2:]) < F.APPEARANCE_MIN_SIDE:
            lack = Reason.TOO_SMALL
        else:
            found = _carried(groups, spec, encoder)
        if (known := truth or found) is not None:
            warnings = warnings + _unstable_references(groups, known.ids)
    if rollouts.labels is not None and (known := truth or found) is not None:
        warnings = warnings + 2 * _unstable(rollouts.labels, rollouts.valid, known.ids)
    if found is None:
        why = reason.masked_fill(reason == 0, int(lack))
        score = area_score = torch.zeros_like(why)
    else:
        why = torch.where(reason == 0, found.reason, reason)
        score, area_score = found.score, found.area_score
    curves = {
        "identity_objects": (blank(score, why), why),
        "identity_area": (blank(area_score, why), why),
    }
    main = "identity_area" if spec.measure.endswith("_area") else "identity_objects"
    return IdentityFound(
        score=curves[main][0],
        reason=why,
        curves=curves,
        objects=found,
        truth=truth,
        summary=summary,
        warnings=warnings,
    )


def _carried(groups: Groups, spec: AxisSpec, encoder: Encoder | None) -> ObjectIdentity:
    rollouts = groups.commanded
    assert rollouts.reference is not None
    labels, there = _reference_labels(groups)
    return F.carried_identity(
        rollouts.frames,
        rollouts.reference,
        labels[:, 0],
        target_labels=None if "first" in spec.measure else labels,
        target_index=_index(groups),
        target_valid=there[:, 1:],
        valid=groups.shown,
        encoder=encoder if spec.encoder else None,
        sensitivity=F.SENSITIVITY if spec.sensitivity is None else spec.sensitivity,
    )


def _from_labels(groups: Groups) -> ObjectIdentity:
    rollouts = groups.commanded
    assert rollouts.labels is not None
    labels, there = _reference_labels(groups)
    return F.object_identity(
        rollouts.labels[:, 1:],
        labels[:, 1:],
        first_labels=labels[:, 0][_index(groups)],  # not the model's own word for it
        target_index=_index(groups),
        target_valid=there[:, 1:],
        valid=groups.shown,
    )


def _reference_labels(groups: Groups) -> tuple[Tensor, Tensor]:
    """Labels `[S, T+1, H, W]` and which frames exist."""
    rollouts = groups.commanded
    assert rollouts.reference_labels is not None
    assert rollouts.reference_valid is not None
    return rollouts.reference_labels, rollouts.reference_valid


def _index(groups: Groups) -> Tensor:
    """`[G]` int64, the reference of each group, on the device."""
    rollouts = groups.commanded
    assert rollouts.reference_index is not None
    return rollouts.reference_index.to(rollouts.device, non_blocking=True)


def _tracking(groups: Groups, ids: Tensor) -> dict[str, Tensor]:
    """The established tracking metrics of each row, `[G]`."""
    rollouts = groups.commanded
    assert rollouts.labels is not None
    target = of_reference(rollouts, rollouts.reference_labels)
    found = F.tracking_summary(
        rollouts.labels[:, 1:],
        target[:, 1:],
        valid=groups.shown,
        preds_ids=ids,
        target_ids=ids,
    )
    mean = found.hota.mean
    values = (
        *(mean.hota, mean.det_a, mean.ass_a, mean.loc_a),
        *(found.identity.idf1, found.clear.mota, found.clear.id_switches),
        *(found.regions.mean_j, found.clear.lifetime.nanmean(1)),
    )
    undefined = found.hota.reason != 0
    return {
        name: value.double().masked_fill(undefined, torch.nan)
        for name, value in zip(_SUMMARY, values, strict=True)
    }


def _foreign(groups: Groups) -> Tensor:
    """`[G]` uint8, 1 where objects of the given frame overlap the reference's, under other ids."""
    rollouts = groups.commanded
    assert rollouts.labels is not None
    labels, _ = _reference_labels(groups)
    own, theirs = rollouts.labels[:, 0].flatten(1), labels[:, 0].flatten(1)[_index(groups)]
    both = (own > 0) & (theirs > 0)
    return (both.any(1) & ~(both & (own == theirs)).any(1)).to(torch.uint8)


def _unstable(labels: Tensor, valid: Tensor, ids: Tensor) -> Tensor:
    """`[B]` uint8, 1 where ids change their meaning; they are known, so that nothing waits."""
    return F.id_stability(labels, valid=valid, ids=ids).suspicious.to(torch.uint8)


def _unstable_references(groups: Groups, ids: Tensor) -> Tensor:
    """The same of each group's reference, `[G]`, each reference looked at once."""
    (labels, valid), index = _reference_labels(groups), _index(groups)
    # Any of the rows that share a reference lists all of its ids.
    own = ids.new_zeros(len(labels), ids.shape[1]).index_put((index,), ids)
    return _unstable(labels, valid, own)[index]


def join_identity(parts: list[tuple[Tensor, ObjectIdentity]], rows: int) -> ObjectIdentity | None:
    """Pad every batch to the widest object list, then put rows in panel order.

    Args:
        parts: the panel rows `[G]` of each batch, and what it showed.
        rows: of the panel; those that are missing have the reason MISSING.
    """
    if not parts:
        return None
    slot = torch.cat([slot for slot, _ in parts])
    width = max(found.ids.shape[1] for _, found in parts)
    joined: dict[str, Tensor] = {}
    for f in fields(ObjectIdentity):
        values = [getattr(found, f.name) for _, found in parts]
        fill = float("nan") if values[0].is_floating_point() else 0
        if f.name not in _PER_ROW:
            values = [pad(v, (0, width - v.shape[-1]), value=fill) for v in values]
        known = torch.cat(values)
        blank = known.new_full((rows, *known.shape[1:]), fill)
        joined[f.name] = blank.index_copy(0, slot, known).cpu()
    absent = torch.ones(rows, dtype=torch.bool).index_fill(0, slot.cpu(), False)
    joined["reason"][absent] = int(Reason.MISSING)
    return ObjectIdentity(**joined)
