"""Latent drift: the model's own state against the reference as its encoder sees it."""

from __future__ import annotations

import torch
from torch import Tensor

from wmscore import functional as F
from wmscore.functional import Encoder, Reason
from wmscore.manifest import AxisSpec
from wmscore.scorer.axes import Curves, blank
from wmscore.scorer.groups import Groups, of_reference
from wmscore.scorer.skill import Oracle, frozen, skill_score

__all__ = ["latent_drift"]

_DISTANCES = {"cosine": F.latent_cosine, "l2": F.latent_l2}


def latent_drift(
    groups: Groups, spec: AxisSpec, encoder: Encoder | None, oracle: Oracle
) -> tuple[Tensor, Tensor, Curves]:
    """Score, its reasons, and both distances of the latents of steps 1..T.

    The score is 1 - distance, at least 0; or the skill against the frozen baseline, the encoded
    initial frame, if the panel says so.

    Args:
        groups: rollouts with `latents`.
        spec: the panel's axis.
        encoder: encodes reference frames where the rollouts bring no `reference_latents`.
        oracle: a re-run of the true world, for the skill.
    """
    rollouts, lack = groups.commanded, groups.reason
    assert rollouts.reference is not None
    reference = rollouts.reference_latents
    if reference is None and encoder is not None and rollouts.latents is not None:
        reference = F.embed(rollouts.reference, encoder)
    curves: Curves = {}
    if rollouts.latents is None or reference is None:
        lack = lack.masked_fill(lack == 0, int(Reason.NO_LATENTS))
        nothing = blank(torch.zeros_like(lack), lack)
        curves = {f"latent_{name}": (nothing, lack) for name in _DISTANCES}
        if spec.score is not None:
            curves[f"skill_latent_{spec.measure}"] = (nothing, lack)
        return nothing, lack, curves
    if reference.shape[-1] != rollouts.latents.shape[-1]:
        raise ValueError(
            f"rollouts.latents: expected D = {reference.shape[-1]} as the encoded reference has, "
            f"got {rollouts.latents.shape[-1]}"
        )
    # A model may keep its state in half precision; the distances are float64 anyway.
    reference = reference.double()
    own, target = rollouts.latents[:, 1:].double(), of_reference(rollouts, reference)[:, 1:]
    for name, distance in _DISTANCES.items():
        values = distance(own, target)
        reason = torch.where(lack == 0, F.latent_reason(values, own, target), lack)
        curves[f"latent_{name}"] = (blank(values, reason), reason)
    chosen = f"latent_{spec.measure}"
    values, reason = curves[chosen]
    if spec.score is None:
        return (1 - values).clamp_min(0.0), reason, curves
    floor = _DISTANCES[spec.measure](frozen(rollouts, reference), reference[:, 1:])
    score, reason, raw = skill_score(groups, chosen, values, reason, floor, oracle)
    return score, reason, curves | {f"skill_{chosen}": raw}
