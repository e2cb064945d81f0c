"""What appearance says of an object at a step: its state, and why it says nothing."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

__all__ = ["AppearanceStates"]


@dataclass(frozen=True)
class AppearanceStates:
    """State of each reference object over time. See :func:`identity_from_appearance`.

    Attributes:
        ids: ``[B, N]`` int64 object ids; 0 = padding.
        state: ``[B, T, N]`` uint8, an :class:`IdentityState`.
        other_id: ``[B, T, N]`` int64, the object found in its place (SWAP, HIDDEN) or that looks
            the same (TWIN); else 0.
        confidence: ``[B, T, N]`` float64 in [0, 1]: of a break, how far past the other hypotheses
            it lies, 0.5 being what the default sensitivity asks for; of OK, how much nearer to
            itself than to anything else; of MISLOCATED, how well it was found elsewhere; 0 where
            UNDETERMINED, NaN where undefined or not visible.
        reason: ``[B, T, N]`` uint8, a :class:`Reason`.
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
