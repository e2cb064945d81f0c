"""From evidence to the state of each object: which hypothesis explains what its place shows."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from wmscore.functional.appearance.evidence import Evidence
from wmscore.functional.appearance.memory import exemplars
from wmscore.functional.appearance.states import AppearanceReason, IdentityState

__all__ = ["Decision", "decide"]

# What each kind of break asks for at a confidence of 0.5; where it comes from: docs/identity.md.
_SWAP = 0.50  # of the way from itself to the other object
_VANISH = 0.60  # of the way to the background
_AGAIN = 0.58  # of the difference to what the reference shows there
_ELSEWHERE = 0.60
_MORPH = 0.20  # squared descriptor distance to itself ...
_MORPH_RATIO = 6.0  # ... and that many times what other objects of the frame have
_MORPH_CONTRAST = 0.6  # ... and pixel error in units of its contrast
_NOVEL = 0.12  # ... and share of the change that no mixture of known looks explains
_ALL_FADE = 0.35  # of the way to the background that all objects of a frame may go together
_BACK = 0.4  # of the way to the first of two that makes an exchange of them
_FLOOR = 0.02  # squared descriptor distance below which two looks are the same
_MOST_FLOOR = 0.08  # the same where an object's own look varies by more
_PIXEL_FLOOR = 4e-4  # mean squared contrast to the background below which there is none
_AROUND = 0.5  # of the contrast: error of the surroundings that leaves nothing to say
_TINY = 1e-9


class Decision(NamedTuple):
    """See :class:`wmscore.functional.appearance.states.AppearanceStates`; slots, not ids."""

    state: Tensor
    other: Tensor  # [B, T, N] int64, slot 1..N
    confidence: Tensor
    reason: Tensor
    own: Tensor
    toward: Tensor  # [B, T, N, N]
    ground: Tensor


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
    """Decide for each object and step.

    Args:
        evidence: ``[B, T, N, ...]``.
        ids: ``[B, N]``, 0 = padding.
        valid: ``[B, T]`` bool.
        lost: ``[B, T, N]`` bool, where the object's place is not known.
        sensitivity: breaks of a confidence of at least 1 - sensitivity are called.
        min_area: pixels from which an object is visible.
        min_core: pixels away from the edge from which it can be judged.
    """
    e = evidence
    exists = valid[..., None] & (ids > 0)[:, None]
    visible = exists & (e.area >= min_area)
    judged = visible & (e.core >= min_core) & ~lost
    views, known = exemplars(e.itself, e.core, judged)
    rows, steps, objects, _, size = views.shape

    # Distances of what is shown, and of the object itself, to all views of all objects.
    flat = views.reshape(rows, steps, objects * 3, size)
    shown = _squared(e.shown, flat).view(rows, steps, objects, objects, 3)
    apart = _squared(e.itself, flat).view(rows, steps, objects, objects, 3)
    distance, view = shown.min(-1)
    apart = apart.gather(-1, view[..., None])[..., 0]
    diagonal = torch.eye(objects, dtype=torch.bool, device=ids.device)
    now = (e.shown - e.itself).square().sum(-1)
    own = torch.minimum(now, distance.diagonal(dim1=-2, dim2=-1))
    never = diagonal | ~known[:, :, None]
    toward = _toward(distance, apart).masked_fill(never, torch.nan)

    from_ground = (e.shown - e.ground).square().sum(-1)
    relief = (e.itself - e.ground).square().sum(-1)
    ground = torch.minimum(_toward(from_ground, relief), _toward(e.pixels_ground, e.contrast))
    fade = _median_of_others(ground, judged).clamp(0, _ALL_FADE)

    # Whom it could be mistaken for: looks that differ no more than an object's own do.
    varies = (views - e.itself[:, :, :, None]).square().sum(-1).amax(-1).nan_to_num(0.0)
    least = (varies[:, :, :, None] + varies[:, :, None]).clamp(_FLOOR, _MOST_FLOOR)
    same = ~never & (apart < _FLOOR)
    swap, other = _best(toward.masked_fill(same, -torch.inf))
    other_distance, _ = _best(-distance.masked_fill(never | same, torch.inf))
    alike = visible[:, :, None] & ~never & (_apart(e.itself) < least)
    twin = alike.any(-1)
    several = same.any(-1)  # one of its kind may have come from elsewhere
    camouflaged = (relief < _FLOOR) | (e.contrast < _PIXEL_FLOOR)
    astray = e.surroundings > _AROUND * e.contrast

    # How sure each break is: 0.5 at its threshold, 0 at nothing, 1 at all.
    others_own = _median_of_others(now, judged)
    changed = torch.minimum(own / _MORPH, own / (_MORPH_RATIO * others_own + _TINY))
    changed = torch.minimum(changed, e.pixels_itself / (_MORPH_CONTRAST * e.contrast + _TINY))
    mixed = _unexplained(now[..., None], distance, apart).masked_fill(never, torch.inf)
    mixed = mixed.nan_to_num(torch.inf).amin(-1)
    novel = torch.minimum(mixed, _unexplained(now, from_ground, relief)) >= _NOVEL * now
    nearest = torch.minimum(-other_distance, from_ground)
    in_place = (own < nearest) & (own < 0.5 * relief.clamp(min=_FLOOR))
    sure_swap = _sure(swap, _SWAP).masked_fill(-other_distance > from_ground, 0)
    sure_vanish = _sure((ground - fade) / (1 - fade), _VANISH).masked_fill(
        camouflaged | (from_ground > -other_distance), 0
    )
    sure_morph = (changed / (1 + changed)).where(novel, 0)
    sure_again = _sure(e.again, _AGAIN).masked_fill(~in_place | astray | several, 0)

    call = 1 - sensitivity
    is_swap, is_vanish = sure_swap >= call, sure_vanish >= call
    is_again, is_morph = sure_again >= call, sure_morph >= call
    # An object that has moved in front of another one is itself, and the other one is hidden.
    absent = (is_vanish | is_morph | (own >= nearest)) & ~is_swap
    chosen = other.clamp(min=0)
    # Of a swap, the other place shows this object; one that has been left shows the background.
    far, back = (x.mT.gather(3, chosen[..., None])[..., 0] for x in (distance, toward))
    left = (from_ground.gather(2, chosen) < far) & (back.nan_to_num(0.0) < _BACK)
    left = left & absent.gather(2, chosen) & is_swap
    covering = pad(torch.zeros_like(is_swap), (0, 1)).scatter(2, chosen.where(left, objects), True)[
        ..., :-1
    ]
    away = (e.elsewhere >= _ELSEWHERE) | _followed(e, min_area) | covering
    gone = is_swap | is_vanish | is_morph

    state = torch.full_like(own, IdentityState.UNDETERMINED, dtype=torch.uint8)
    reason = torch.zeros_like(state)
    confidence = torch.zeros_like(own)
    better = (nearest - own) / (nearest + own + _TINY)
    for holds, value, why, sure in (
        (own >= nearest, IdentityState.UNDETERMINED, AppearanceReason.UNCLEAR, None),
        (own < nearest, IdentityState.OK, AppearanceReason.DETERMINED, better),
        ((own < nearest) & ~in_place & astray, IdentityState.UNDETERMINED, AppearanceReason.SURROUNDINGS, None),
        ((own < nearest) & camouflaged, IdentityState.UNDETERMINED, AppearanceReason.CAMOUFLAGED, None),
        ((own < nearest) & twin, IdentityState.UNDETERMINED, AppearanceReason.TWIN, None),
        (is_again, IdentityState.DUPLICATE, AppearanceReason.DETERMINED, sure_again),
        (is_morph, IdentityState.MORPH, AppearanceReason.DETERMINED, sure_morph),
        (is_vanish, IdentityState.VANISH, AppearanceReason.DETERMINED, sure_vanish),
        (is_swap, IdentityState.SWAP, AppearanceReason.DETERMINED, sure_swap),
        (left, IdentityState.UNDETERMINED, AppearanceReason.OCCLUDED, None),
        ((gone | (own >= nearest)) & away & ~left, IdentityState.MISLOCATED, AppearanceReason.DETERMINED, e.elsewhere),
        (gone & ~away & astray, IdentityState.UNDETERMINED, AppearanceReason.SURROUNDINGS, None),
        (own.isnan(), IdentityState.UNDETERMINED, AppearanceReason.NON_FINITE, None),
        (e.core < min_core, IdentityState.UNDETERMINED, AppearanceReason.TOO_SMALL, None),
        (lost, IdentityState.UNDETERMINED, AppearanceReason.LOST, None),
        (~visible, IdentityState.NOT_VISIBLE, AppearanceReason.DETERMINED, None),
        (~exists, IdentityState.UNDEFINED, AppearanceReason.DETERMINED, None),
    ):  # fmt: skip
        state.masked_fill_(holds, value)
        reason.masked_fill_(holds, why)
        confidence = (torch.zeros_like(own) if sure is None else sure).where(holds, confidence)
    confidence = confidence.clamp(0, 1).masked_fill(~visible, torch.nan)
    names = (state == IdentityState.SWAP) | (reason == AppearanceReason.OCCLUDED)
    twin_of = alike.float().argmax(-1) + 1
    named = (other + 1).where(names, twin_of.where(reason == AppearanceReason.TWIN, 0))
    return Decision(state, named, confidence, reason, own, toward, ground)


def _apart(itself: Tensor) -> Tensor:
    """Squared distances between the objects of each step, ``[B, T, N, N]``; inf where unknown."""
    return _squared(itself, itself).nan_to_num(torch.inf)


def _squared(a: Tensor, b: Tensor) -> Tensor:
    # Not by a matrix product, which cancels where the two are close.
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").square()


def _toward(distance: Tensor, apart: Tensor) -> Tensor:
    """Up to 1: how near, in units of how far it was to go; both squared."""
    return 1 - (distance / apart.clamp(min=_TINY)).sqrt()


def _unexplained(now: Tensor, distance: Tensor, apart: Tensor) -> Tensor:
    """Squared distance to the line from itself to another look: 0 for a mixture of the two.

    Means of descriptors mix linearly, as where one object half hides another.
    """
    along = (now + apart - distance) / 2
    share = (along / apart.clamp(min=_TINY)).clamp(0, 1)
    return now - 2 * share * along + share * share * apart


def _best(values: Tensor) -> tuple[Tensor, Tensor]:
    return values.nan_to_num(-torch.inf, neginf=-torch.inf).max(-1)


def _sure(value: Tensor, threshold: float) -> Tensor:
    """0 at 0, 0.5 at the threshold and 1 at 1."""
    low = 0.5 * value / threshold
    high = 0.5 + 0.5 * (value - threshold) / (1 - threshold)
    return low.where(value < threshold, high).clamp(0, 1).nan_to_num(0.0)


def _median_of_others(now: Tensor, judged: Tensor) -> Tensor:
    """``[B, T, N]`` median of the other judged objects' distance to themselves; 0 without any."""
    objects = now.shape[-1]
    diagonal = torch.eye(objects, dtype=torch.bool, device=now.device)
    table = now.where(judged, torch.nan)[:, :, None].expand(-1, -1, objects, -1)
    return table.masked_fill(diagonal, torch.nan).nanmedian(-1).values.nan_to_num(0.0)


def _followed(e: Evidence, min_area: int) -> Tensor:
    """Whether its carried label, outside other objects, lies on what looks as the object does."""
    near = (e.carried - e.itself).square().sum(-1)
    far = (e.carried - e.ground).square().sum(-1)
    large = e.carried_area >= 0.4 * e.core.clamp(min=min_area)
    return large & (near < 0.25 * far)
