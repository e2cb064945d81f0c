"""Reset consistency: what was left comes back as it was, where the reference's does."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from wmscore import functional as F
from wmscore.functional import Reason
from wmscore.scorer.axes import Curves, blank
from wmscore.scorer.groups import Groups, of_reference

__all__ = ["REGISTERED_RADIUS", "reset_consistency"]

REGISTERED_RADIUS = 2
"""Pixels by which the returned picture may be displaced and still be the same place."""


def reset_consistency(groups: Groups) -> tuple[Tensor, Tensor, Curves]:
    """Score `[G, T]`, its reasons, and the raw curves, of the commanded rollouts.

    References are shared by seeds: their returns are looked for once.
    """
    commanded = groups.commanded
    assert commanded.reference is not None
    returns = F.returns_of(commanded.reference, valid=commanded.reference_valid)
    here = F.Returns(*(of_reference(commanded, part) for part in returns))
    height, width = commanded.frames.shape[-2:]
    radius = min(REGISTERED_RADIUS, (min(height, width) - 1) // 2)
    found = F.loop_closure(commanded.frames, groups.target, here, radius=radius)
    # What it returns to, what lies between and the step itself must all be there.
    shown = pad(groups.shown, (1, 0), value=True)
    there = shown.gather(1, here.to.clamp_min(0)) & shown.gather(1, here.far.clamp_min(0))
    missing = (here.to >= 0) & ~there
    reason = groups.reason.long().masked_fill((groups.reason == 0) & missing, int(Reason.NO_FRAME))
    reason = torch.where(reason != 0, reason, found.reason.long()).to(torch.uint8)
    stability = torch.where(reason != 0, reason.long(), found.stability_reason.long())
    stability = stability.to(torch.uint8)
    curves: Curves = {
        "closure_distance": (blank(found.distance, reason), reason),
        "closure_registered": (blank(found.registered, reason), reason),
        "closure_displaced": (blank(found.distance - found.registered, reason), reason),
        "closure_motion": (blank(found.motion, reason), reason),
        "world_stability": (blank(found.stability, stability), stability),
    }
    return blank(found.score, reason), reason, curves
