"""From hypotheses to the state of each object: the rules, in their order."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from wmscore.functional.appearance.evidence import Evidence
from wmscore.functional.appearance.hypotheses import Hypotheses, weigh
from wmscore.functional.identity_state import IdentityState
from wmscore.functional.reasons import Reason

__all__ = ["Decision", "decide"]

_ELSEWHERE = 0.60  # of the difference to what the reference shows there
_BACK = 0.4  # of the way to the first of two that makes an exchange of them
_FOLLOWED = 0.4  # of the object's area that its carried label has to cover
_TINY = 1e-9


class Decision(NamedTuple):
    """See :class:`wmscore.functional.appearance.AppearanceStates`; slots, not ids."""

    state: Tensor
    other: Tensor  # [B, T, N] int64, slot 1..N, 0 = nobody
    confidence: Tensor
    reason: Tensor
    hypotheses: Hypotheses


def decide(
    evidence: Evidence,
    ids: Tensor,
    valid: Tensor,
    lost: Tensor,
    *,
    sensitivity: float,
    min_area: int,
    min_core: int,
) -> Decision:
    """Decide for each object and step; of the rules below, the last one that holds.

    Args:
        evidence: ``[B, T, N, ...]`` in double precision, N of at least 1.
        ids: ``[B, N]``, 0 = padding.
        valid: ``[B, T]`` bool.
        lost: ``[B, T, N]`` bool, where the object's place is not known.
        sensitivity: breaks of a confidence of at least 1 - sensitivity are called.
        min_area: pixels from which an object is visible.
        min_core: pixels away from the edge from which it can be judged.
    """
    exists = valid[..., None] & (ids > 0)[:, None]
    visible = exists & (evidence.area >= min_area)
    judged = visible & (evidence.core >= min_core) & ~lost
    h = weigh(evidence, visible, judged)
    call = 1 - sensitivity
    swap, vanish, morph = h.swap >= call, h.vanish >= call, h.morph >= call
    itself, unclear = h.own < h.nearest, h.own >= h.nearest
    left, covering = _covered(h, swap, (vanish | morph | unclear) & ~swap)
    away = (evidence.elsewhere >= _ELSEWHERE) | _followed(evidence, min_area) | covering
    gone = swap | vanish | morph
    nothing = torch.zeros_like(h.own)
    nearer = (h.nearest - h.own) / (h.nearest + h.own + _TINY)

    State = IdentityState
    state = torch.full_like(h.own, State.UNDETERMINED, dtype=torch.uint8)
    reason, confidence = torch.zeros_like(state), nothing
    for holds, value, why, sure in (
        (unclear, State.UNDETERMINED, Reason.UNCLEAR, nothing),
        (itself, State.OK, Reason.DEFINED, nearer),
        (itself & ~h.in_place & h.astray, State.UNDETERMINED, Reason.SURROUNDINGS, nothing),
        (itself & h.camouflaged, State.UNDETERMINED, Reason.CAMOUFLAGED, nothing),
        (itself & h.alike.any(-1), State.UNDETERMINED, Reason.TWIN, nothing),
        (h.again >= call, State.DUPLICATE, Reason.DEFINED, h.again),
        (morph, State.MORPH, Reason.DEFINED, h.morph),
        (vanish, State.VANISH, Reason.DEFINED, h.vanish),
        (swap, State.SWAP, Reason.DEFINED, h.swap),
        (left, State.UNDETERMINED, Reason.HIDDEN, nothing),
        ((gone | unclear) & away & ~left, State.MISLOCATED, Reason.DEFINED, evidence.elsewhere),
        (gone & ~away & h.astray, State.UNDETERMINED, Reason.SURROUNDINGS, nothing),
        (h.own.isnan(), State.UNDETERMINED, Reason.NON_FINITE, nothing),
        (evidence.core < min_core, State.UNDETERMINED, Reason.TOO_FEW_PIXELS, nothing),
        (lost, State.UNDETERMINED, Reason.LOST, nothing),
        (~visible, State.NOT_VISIBLE, Reason.DEFINED, nothing),
        (~exists, State.UNDEFINED, Reason.DEFINED, nothing),
    ):
        state.masked_fill_(holds, value)
        reason.masked_fill_(holds, why)
        confidence = sure.where(holds, confidence)
    confidence = confidence.clamp(0, 1).masked_fill(~visible, torch.nan)
    twin = (h.alike.to(torch.uint8).argmax(-1) + 1).where(reason == Reason.TWIN, 0)
    names = (state == State.SWAP) | (reason == Reason.HIDDEN)
    return Decision(state, (h.other + 1).where(names, twin), confidence, reason, h)


def _covered(h: Hypotheses, swap: Tensor, absent: Tensor) -> tuple[Tensor, Tensor]:
    """Objects that another one has moved in front of, and those others.

    Of a swap, the other object's place shows this one; where it has moved here, its place has been
    left and shows the background.
    """
    far, back = (value.mT.gather(3, h.other[..., None])[..., 0] for value in (h.distance, h.toward))
    left = (h.ground.gather(2, h.other) < far) & (back.nan_to_num(0.0) < _BACK)
    left = left & absent.gather(2, h.other) & swap
    mover = h.other.where(left, swap.shape[-1])
    covering = pad(torch.zeros_like(swap), (0, 1)).scatter(2, mover, True)
    return left, covering[..., :-1]


def _followed(e: Evidence, min_area: int) -> Tensor:
    """Whether its carried label, outside other objects, lies on what looks as the object does."""
    near = (e.carried - e.itself).square().sum(-1)
    far = (e.carried - e.ground).square().sum(-1)
    large = e.carried_area >= _FOLLOWED * e.core.clamp(min=min_area)
    return large & (near < 0.25 * far)
