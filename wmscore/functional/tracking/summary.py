"""All tracking summaries of label maps, in one reading of them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from wmscore.functional.tracking._labels import label_tracks
from wmscore.functional.tracking.clear import Clear, clear
from wmscore.functional.tracking.hota import Hota, hota
from wmscore.functional.tracking.identity_f1 import IdentityF1, identity_f1
from wmscore.functional.tracking.regions import RegionAndBoundary, regions_of_tracks

__all__ = ["TrackingSummary", "tracking_summary"]


@dataclass(frozen=True)
class TrackingSummary:
    """What established tracking metrics say about each rollout. See :func:`tracking_summary`.

    Attributes:
        target_ids: ``[B, N]`` int64 ids of the reference's objects, 0 = padding: the order of all
            results per object.
        preds_ids: ``[B, M]`` int64 ids of the generated objects, 0 = padding.
        hota: HOTA and its parts.
        clear: MOTA, identity switches, track lifetimes.
        identity: IDF1, IDP, IDR.
        regions: DAVIS J, and F where the boundary was asked for.
    """

    target_ids: Tensor
    preds_ids: Tensor
    hota: Hota
    clear: Clear
    identity: IdentityF1
    regions: RegionAndBoundary


def tracking_summary(
    preds_labels: Tensor,
    target_labels: Tensor,
    *,
    valid: Tensor | None = None,
    preds_ids: Tensor | None = None,
    target_ids: Tensor | None = None,
    threshold: float = 0.5,
    boundary: bool = False,
) -> TrackingSummary:
    """HOTA, CLEAR MOT, identity F1 and DAVIS J (and F) of label maps, with IoU as similarity.

    Each is equal to TrackEval on the same label maps within 1e-9, but that a rollout whose
    reference shows no object has NaN with the reason ``NO_OBJECT`` where TrackEval has 0 or 1. A
    step that is not valid is as if it did not exist. Generated ids need not be those of the
    reference: none of these metrics asks whether an object keeps its name, only whether it keeps
    one (:func:`~wmscore.functional.object_identity` asks the former, step by step).

    Args:
        preds_labels: generated labels ``[B, T, H, W]``, integers in 0..32767, 0 = background.
        target_labels: reference labels of the same shape.
        valid: ``[B, T]`` bool, steps that exist; ``None`` means all.
        preds_ids: ``[B, M]`` distinct ids of the generated objects, 0 = padding; what is not listed
            is background. ``None`` finds them with one device sync.
        target_ids: ``[B, N]`` ids of the reference's objects, likewise.
        threshold: IoU in (0, 1] from which detections match in :func:`clear` and
            :func:`identity_f1`; :func:`hota` has its own.
        boundary: compute the boundary F too, which reads the labels a second time.

    Returns:
        A :class:`TrackingSummary`.

    Raises:
        ValueError: shapes differ or are empty, or an id or the threshold is out of range.
        TypeError: tensors of the wrong dtype.

    Example:
        >>> target = torch.zeros(1, 10, 8, 8, dtype=torch.uint8)
        >>> target[..., :3, :3], target[..., 5:, 5:] = 1, 2
        >>> preds = target.clone()
        >>> preds[:, 6:] = preds[:, 6:].flip(-1, -2)  # two objects change places at step 7
        >>> summary = tracking_summary(preds, target)
        >>> summary.clear.id_switches.item(), round(summary.hota.mean.hota.item(), 6)
        (2, 0.597614)
        >>> summary.identity.idf1.item(), summary.regions.mean_j.item()
        (0.6, 0.6)
    """
    tracks = label_tracks(preds_labels, target_labels, valid, preds_ids, target_ids)
    arguments = tracks.iou, tracks.target_present, tracks.preds_present
    return TrackingSummary(
        target_ids=tracks.target_ids,
        preds_ids=tracks.preds_ids,
        hota=hota(*arguments),
        clear=clear(*arguments, threshold=threshold),
        identity=identity_f1(*arguments, threshold=threshold),
        regions=regions_of_tracks(tracks, (preds_labels, target_labels) if boundary else None),
    )
