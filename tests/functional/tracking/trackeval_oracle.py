"""TrackEval on the same data: one rollout after the other, from similarities or from label maps."""

from __future__ import annotations

import contextlib
import io
import warnings
from types import ModuleType
from typing import Any

import numpy as np
import pytest

Result = dict[str, Any]


def trackeval() -> ModuleType:
    return pytest.importorskip("trackeval")


def sequence(similarity: np.ndarray, target: np.ndarray, preds: np.ndarray) -> dict[str, Any]:
    """One rollout `[T, N, M]`, `[T, N]`, `[T, M]` as TrackEval wants it: with dense ids."""
    objects, tracks = np.flatnonzero(target.any(0)), np.flatnonzero(preds.any(0))
    return {
        "num_timesteps": len(similarity),
        "num_gt_ids": len(objects),
        "num_tracker_ids": len(tracks),
        "num_gt_dets": int(target.sum()),
        "num_tracker_dets": int(preds.sum()),
        "gt_ids": [np.flatnonzero(there[objects]) for there in target],
        "tracker_ids": [np.flatnonzero(there[tracks]) for there in preds],
        "similarity_scores": [
            step[np.ix_(np.flatnonzero(row), np.flatnonzero(col))]
            for step, row, col in zip(similarity, target, preds, strict=True)
        ],
    }


def evaluate(data: dict[str, Any], threshold: float = 0.5) -> dict[str, Result]:
    """HOTA, CLEAR and Identity of one sequence."""
    metrics = trackeval().metrics
    options = {"THRESHOLD": threshold, "PRINT_CONFIG": False}
    with contextlib.redirect_stdout(io.StringIO()):
        return {
            "hota": metrics.HOTA().eval_sequence(data),
            "clear": metrics.CLEAR(options).eval_sequence(data),
            "identity": metrics.Identity(options).eval_sequence(data),
        }


def masks_of(labels: np.ndarray) -> tuple[list[np.ndarray], list[Any]]:
    """Dense ids and run-length masks of the objects of each frame of `[T, H, W]`."""
    mask_utils = pytest.importorskip("pycocotools.mask")
    names = np.unique(labels)
    names = names[names > 0]
    ids, masks = [], []
    for frame in labels:
        present = [k for k, name in enumerate(names) if (frame == name).any()]
        ids.append(np.array(present, dtype=int))
        masks.append(
            [
                mask_utils.encode(np.asfortranarray((frame == names[k]).astype(np.uint8)))
                for k in present
            ]
        )
    return ids, masks


def labelled_sequence(preds: np.ndarray, target: np.ndarray) -> dict[str, Any]:
    """One rollout of label maps `[T, H, W]`, its similarity by TrackEval's own IoU of masks."""
    base = trackeval().datasets._base_dataset._BaseDataset
    gt_ids, gt_dets = masks_of(target)
    tracker_ids, tracker_dets = masks_of(preds)
    return {
        "num_timesteps": len(target),
        "num_gt_ids": len(np.unique(target[target > 0])),
        "num_tracker_ids": len(np.unique(preds[preds > 0])),
        "num_gt_dets": sum(map(len, gt_ids)),
        "num_tracker_dets": sum(map(len, tracker_ids)),
        "gt_ids": gt_ids,
        "tracker_ids": tracker_ids,
        "gt_dets": gt_dets,
        "tracker_dets": tracker_dets,
        "similarity_scores": [
            base._calculate_mask_ious(gt, tracker, is_encoded=True)
            for gt, tracker in zip(gt_dets, tracker_dets, strict=True)
        ],
    }


def evaluate_masks(data: dict[str, Any]) -> Result:
    """J and F of one labelled sequence; it fills in empty masks, so call it last."""
    metric = trackeval().metrics.JAndF()
    with warnings.catch_warnings():  # of pycocotools, about numpy
        warnings.simplefilter("ignore", DeprecationWarning)
        return metric.eval_sequence(data)
