"""What appearance says of an object at a step: its state, and why it says nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from torch import Tensor

__all__ = ["AppearanceReason", "AppearanceStates", "IdentityState"]


class IdentityState(IntEnum):
    """State of one reference object at one step; from SWAP on, its identity is broken.

    Those of :class:`wmscore.functional.IdentityState` that appearance can tell, by the same codes;
    here, since the functions of that class stand on these.
    """

    UNDEFINED = 0
    NOT_VISIBLE = 1
    OK = 2
    MISLOCATED = 3
    UNDETERMINED = 4
    SWAP = 5
    VANISH = 6
    DUPLICATE = 7
    MORPH = 8


class AppearanceReason(IntEnum):
    """Why an object is UNDETERMINED; ``DETERMINED`` (0) where it is not."""

    DETERMINED = 0
    LOST = 1
    TOO_SMALL = 2
    TWIN = 3
    CAMOUFLAGED = 4
    SURROUNDINGS = 5
    OCCLUDED = 6
    UNCLEAR = 7
    NON_FINITE = 8

    @property
    def description(self) -> str:
        """One line for a person who reads a table or a log."""
        return _DESCRIPTIONS[self]


_DESCRIPTIONS = {
    AppearanceReason.DETERMINED: "the state stands",
    AppearanceReason.LOST: "the carried label of the object is not sure enough of where it is",
    AppearanceReason.TOO_SMALL: "too few pixels of the object are away from its edge",
    AppearanceReason.TWIN: "another visible object looks the same, so that a swap would not show",
    AppearanceReason.CAMOUFLAGED: "the background beside the object looks the same, so that a "
    "disappearance would not show",
    AppearanceReason.SURROUNDINGS: "the surroundings of the object are not those of the reference",
    AppearanceReason.OCCLUDED: "another object has moved in front of the place of this one",
    AppearanceReason.UNCLEAR: "neither itself nor a break is clear enough",
    AppearanceReason.NON_FINITE: "the frame, or the reference frame, holds NaN or infinite values",
}


@dataclass(frozen=True)
class AppearanceStates:
    """State of each reference object over time. See :func:`identity_from_appearance`.

    Attributes:
        ids: ``[B, N]`` int64 object ids; 0 = padding.
        state: ``[B, T, N]`` uint8, an :class:`IdentityState`.
        other_id: ``[B, T, N]`` int64, the object found in its place (SWAP, OCCLUDED) or that looks
            the same (TWIN); else 0.
        confidence: ``[B, T, N]`` float64 in [0, 1]: of a break, how far past the other hypotheses
            it lies, 0.5 being what the default sensitivity asks for; of OK, how much nearer to
            itself than to anything else; of MISLOCATED, how well it was found elsewhere; 0 where
            UNDETERMINED, NaN where undefined or not visible.
        reason: ``[B, T, N]`` uint8, an :class:`AppearanceReason`.
        area: ``[B, T, N]`` int64, pixels of the object in the reference.
        own: ``[B, T, N]`` float64, distance of what is shown in its place to the object itself, in
            units of the descriptor: 0 = the same, 1 = a change of all colours to their opposite.
        other: ``[B, T, N, N]`` float64, up to 1: how much of the way from itself to object m what
            is shown in its place has gone, less what it strays from that way; 1 = it looks as m.
            NaN on the diagonal and where m was not seen yet.
        ground: ``[B, T, N]`` float64, the same towards the background, the lesser of pixels and
            descriptor.
        elsewhere: ``[B, T, N]`` float64, -1..1, how well the best other place shows the object.
        again: ``[B, T, N]`` float64, -1..1, the same at least one object away and off all objects.
    """

    ids: Tensor
    state: Tensor
    other_id: Tensor
    confidence: Tensor
    reason: Tensor
    area: Tensor
    own: Tensor
    other: Tensor
    ground: Tensor
    elsewhere: Tensor
    again: Tensor
