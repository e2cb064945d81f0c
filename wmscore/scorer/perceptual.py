"""Perceptual drift: what generated frames look like against their reference."""

from __future__ import annotations

import torch
from torch import Tensor

from wmscore import functional as F
from wmscore.manifest import AxisSpec
from wmscore.scorer.axes import Curves, blank
from wmscore.scorer.distances import Pair, measure_frames, to_distance
from wmscore.scorer.groups import Groups
from wmscore.scorer.learned import Learned
from wmscore.scorer.measures import measure_of
from wmscore.scorer.skill import Oracle, frozen, skill_score

__all__ = ["perceptual_drift"]


def perceptual_drift(
    groups: Groups, spec: AxisSpec, learned: Learned, oracle: Oracle
) -> tuple[Tensor, Tensor, Curves]:
    """Score, its reasons, and the raw measures: the panel's, and HaarPSI, SSIM and PSNR always.

    (HaarPSI is left out for frames that are neither grey nor RGB.) Those of the networks that the
    scorer was given come beside them. PSNR is infinite for identical frames; `psnr_moving` is that
    of the pixels that change in the reference.
    """
    commanded, target = groups.commanded, groups.target[:, 1:]
    assert commanded.reference is not None
    assert commanded.reference_index is not None
    pair = Pair(
        preds=groups.preds,
        reference=commanded.reference[:, 1:],
        index=commanded.reference_index,
        target=target,
    )
    curves: Curves = {}

    def add(name: str, values: Tensor, lack: Tensor) -> None:
        reason = torch.where(groups.reason == 0, lack, groups.reason)
        curves[name] = (blank(values, reason), reason)

    companions = ["haarpsi", "ssim", "psnr"] if target.shape[2] in (1, 3) else ["ssim", "psnr"]
    chosen = ""
    for measure in dict.fromkeys((spec.measure, *companions, *learned.measures())):
        found = measure_frames(measure, pair, learned)
        add(*found)
        if measure == spec.measure:
            chosen = found.name
    moving = F.region_errors(groups.preds, target, previous=groups.target[:, :-1]).inside
    add("psnr_moving", moving.psnr, torch.where(moving.psnr.isnan(), moving.reason, 0))

    values, reason = curves[chosen]
    if spec.score is None:
        # Frames that are further off than unrelated ones (or anticorrelate) are as useless.
        score = values if measure_of(chosen).higher_is_better else 1 - values
        return score.clamp_min(0.0), reason, curves
    still = Pair(
        preds=frozen(commanded, commanded.reference),
        reference=pair.reference,
        index=torch.arange(len(pair.reference)),
        target=pair.reference,
    )
    floor = to_distance(chosen, measure_frames(spec.measure, still, learned).values)
    distance = to_distance(chosen, values)
    score, reason, raw = skill_score(groups, chosen, distance, reason, floor, oracle)
    return score, reason, curves | {f"skill_{chosen}": raw}
