"""The axes: from a batch of groups to curves `[G, T]`, each with its reasons."""

from __future__ import annotations

import torch
from torch import Tensor

from wmscore import functional as F
from wmscore.functional import Reason
from wmscore.scorer.groups import Groups

__all__ = ["Curves", "action_response", "blank"]

# Name -> (values, reasons), each `[G, T]`.
Curves = dict[str, tuple[Tensor, Tensor]]


def action_response(groups: Groups) -> tuple[Tensor, Tensor, Curves]:
    """Score, its reasons, and the raw response, pooled over branches.

    Inner products of the difference fields are summed over the branches, then divided once.
    Delta-PSNR (capped at the accuracy of uint8, since a perfect frame is infinite) and the error
    under other actions are means over the branches.
    """
    preds, target = groups.preds, groups.target[:, 1:]
    sums = preds.new_zeros(*preds.shape[:2], 3, dtype=torch.float64)
    delta, error, count = (torch.zeros_like(sums[..., 0]) for _ in range(3))
    shown, finite = groups.shown.clone(), groups.finite.clone()
    for branch in groups.branches:
        at, other = branch.place, branch.rollouts.frames[:, 1:]
        own, there = preds[at], target[at]
        sums[at] += F.response_products(own, other, there, branch.target[:, 1:])
        delta[at] += F.delta_psnr(own, other, there, cap_db=F.PSNR_QUANTISATION_DB)
        error[at] += F.mse(other, there)
        count[at] += 1
        shown[at] &= branch.shown
        finite[at] &= branch.finite
    full = 255.0 if preds.dtype == torch.uint8 else 1.0
    found = F.response_from_products(sums, unit=preds.shape[2:].numel() * full**2 * count)

    # Without a generated response only the cosine is undefined; the agreement is 0.
    lack = found.reason.masked_fill(found.reason == int(Reason.NO_GENERATED_RESPONSE), 0)
    lack = lack.masked_fill(~finite, int(Reason.NON_FINITE))
    lack = lack.masked_fill(~shown, int(Reason.NO_FRAME))
    lack = lack.masked_fill(count == 0, int(Reason.NO_BRANCH))
    measures = {
        "agreement": found.agreement,
        "cosine": found.cosine,
        "gain": found.gain,
        "delta_psnr": delta / count,
        # No error under other actions: nothing that the commanded ones could explain.
        "controllability": (1 - F.mse(preds, target) / (error / count)).masked_fill(
            error == 0, float("nan")
        ),
    }
    curves = {}
    for name, values in measures.items():
        values = blank(values, lack)
        silent = values.isnan() & (lack == 0)
        curves[name] = (values, lack.masked_fill(silent, int(Reason.NO_GENERATED_RESPONSE)))
    return curves["agreement"][0].clamp_min(0.0), lack, curves


def blank(values: Tensor, reason: Tensor) -> Tensor:
    """Float64 values, NaN wherever there is a reason."""
    return values.double().masked_fill(reason != 0, float("nan"))
