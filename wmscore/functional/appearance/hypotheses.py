"""How well each hypothesis explains what the place of an object shows."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.functional.appearance.evidence import Evidence
from wmscore.functional.appearance.memory import exemplars

__all__ = ["Hypotheses", "weigh"]

# What each kind of break asks for at a confidence of 0.5. Chosen on scenarios of the sprite world
# that are not among those of the published tables (tools/identity_validity.py).
_SWAP = 0.50  # of the way from itself to the other object
_VANISH = 0.60  # of the way to the background
_AGAIN = 0.58  # of the difference to what the reference shows there
_MORPH = 0.20  # squared descriptor distance to itself ...
_MORPH_RATIO = 6.0  # ... and that many times what other objects of the frame have
_MORPH_CONTRAST = 0.6  # ... and pixel error in units of its contrast
_NOVEL = 0.12  # ... and share of the change that no mixture of known looks explains
_ALL_FADE = 0.35  # of the way to the background that all objects of a frame may go together
_FLOOR = 0.02  # squared descriptor distance below which two looks are the same
_MOST_FLOOR = 0.08  # the same where an object's own look varies by more
_PIXEL_FLOOR = 4e-4  # mean squared contrast to the background below which there is none
_AROUND = 0.5  # of the contrast: error of the surroundings that leaves nothing to say
_TINY = 1e-9


class Hypotheses(NamedTuple):
    """Each ``[B, T, N]`` unless said otherwise; distances are squared, of descriptors.

    Attributes:
        own: distance of what is shown to the nearest view of the object itself.
        nearest: to the nearest other explanation: another object, or the background.
        ground: to the background.
        distance: ``[B, T, N, N]``, to the nearest view of each object.
        toward: ``[B, T, N, N]``, how far it has gone towards each other object; NaN where none.
        toward_ground: the same towards the background, the lesser of descriptor and pixels.
        other: int64, slot 0..N - 1 that it has gone towards most.
        alike: ``[B, T, N, N]`` bool, another visible object looks the same in the reference.
        camouflaged: bool, so does the background.
        in_place: bool, it is clearly itself.
        astray: bool, its surroundings are not those of the reference.
        swap: confidence in [0, 1] of each kind of break, 0.5 at its threshold.
        vanish: the same.
        morph: the same.
        again: the same, of a duplicate.
    """

    own: Tensor
    nearest: Tensor
    ground: Tensor
    distance: Tensor
    toward: Tensor
    toward_ground: Tensor
    other: Tensor
    alike: Tensor
    camouflaged: Tensor
    in_place: Tensor
    astray: Tensor
    swap: Tensor
    vanish: Tensor
    morph: Tensor
    again: Tensor


def weigh(e: Evidence, visible: Tensor, judged: Tensor) -> Hypotheses:
    """Compare what is shown with every hypothesis.

    Args:
        e: evidence ``[B, T, N, ...]`` in double precision, N of at least 1.
        visible: ``[B, T, N]`` bool, the reference shows the object.
        judged: ``[B, T, N]`` bool, well enough to be remembered.
    """
    views, known = exemplars(e.itself, e.core, judged)
    rows, steps, objects, kinds, size = views.shape
    flat = views.reshape(rows, steps, objects * kinds, size)
    shown = _squared(e.shown, flat).view(rows, steps, objects, objects, kinds)
    apart = _squared(e.itself, flat).view(rows, steps, objects, objects, kinds)
    distance, view = shown.min(-1)
    apart = apart.gather(-1, view[..., None])[..., 0]
    never = torch.eye(objects, dtype=torch.bool, device=known.device) | ~known[:, :, None]
    now = (e.shown - e.itself).square().sum(-1)
    own = torch.minimum(now, distance.diagonal(dim1=-2, dim2=-1))
    toward = _toward(distance, apart).masked_fill(never, torch.nan)
    ground = (e.shown - e.ground).square().sum(-1)
    relief = (e.itself - e.ground).square().sum(-1)
    toward_ground = torch.minimum(_toward(ground, relief), _toward(e.pixels_ground, e.contrast))

    # Whom it could be mistaken for: looks that differ no more than an object's own do.
    varies = (views - e.itself[:, :, :, None]).square().sum(-1).amax(-1).nan_to_num(0.0)
    least = (varies[:, :, :, None] + varies[:, :, None]).clamp(_FLOOR, _MOST_FLOOR)
    between = _squared(e.itself, e.itself).nan_to_num(torch.inf)
    alike = visible[:, :, None] & ~never & (between < least)
    same = ~never & (apart < least)
    going, other = _known(toward.masked_fill(same, -torch.inf)).max(-1)
    to_other = _known(-distance.masked_fill(never | same, torch.inf)).amax(-1).neg()
    nearest = torch.minimum(to_other, ground)
    camouflaged = (relief < _FLOOR) | (e.contrast < _PIXEL_FLOOR)
    astray = e.surroundings > _AROUND * e.contrast
    in_place = (own < nearest) & (own < 0.5 * relief.clamp(min=_FLOOR))

    # What disturbs all objects of a frame alike speaks against none of them.
    fade = _median_of_others(toward_ground, judged).clamp(0, _ALL_FADE)
    fading = (toward_ground - fade) / (1 - fade)
    changed = torch.minimum(
        own / _MORPH, own / (_MORPH_RATIO * _median_of_others(now, judged) + _TINY)
    )
    changed = torch.minimum(changed, e.pixels_itself / (_MORPH_CONTRAST * e.contrast + _TINY))
    mixed = _unexplained(now[..., None], distance, apart).masked_fill(never, torch.inf)
    mixed = mixed.nan_to_num(torch.inf).amin(-1)
    novel = torch.minimum(mixed, _unexplained(now, ground, relief)) >= _NOVEL * now
    # Where one of its kind has been seen, a second one may have come from elsewhere.
    no_twice = ~in_place | astray | same.any(-1)
    return Hypotheses(
        own=own,
        nearest=nearest,
        ground=ground,
        distance=distance,
        toward=toward,
        toward_ground=toward_ground,
        other=other,
        alike=alike,
        camouflaged=camouflaged,
        in_place=in_place,
        astray=astray,
        swap=_sure(going, _SWAP).masked_fill(to_other > ground, 0),
        vanish=_sure(fading, _VANISH).masked_fill(camouflaged | (ground > to_other), 0),
        morph=(changed / (1 + changed)).where(novel, 0),
        again=_sure(e.again, _AGAIN).masked_fill(no_twice, 0),
    )


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


def _known(values: Tensor) -> Tensor:
    return values.nan_to_num(-torch.inf, neginf=-torch.inf)


def _sure(value: Tensor, threshold: float) -> Tensor:
    """0 at 0, 0.5 at the threshold and 1 at 1."""
    low = 0.5 * value / threshold
    high = 0.5 + 0.5 * (value - threshold) / (1 - threshold)
    return low.where(value < threshold, high).clamp(0, 1).nan_to_num(0.0)


def _median_of_others(values: Tensor, judged: Tensor) -> Tensor:
    """``[B, T, N]`` median over the other judged objects of the frame; 0 without any."""
    objects = values.shape[-1]
    diagonal = torch.eye(objects, dtype=torch.bool, device=values.device)
    table = values.where(judged, torch.nan)[:, :, None].expand(-1, -1, objects, -1)
    return table.masked_fill(diagonal, torch.nan).nanmedian(-1).values.nan_to_num(0.0)
