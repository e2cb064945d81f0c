"""What became of one object at one step."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["IdentityState"]


class IdentityState(IntEnum):
    """State of one object at one step; from SWAP to REENTRY its identity is broken.

    WHO is the label (or, without labels, the appearance), WHERE is the reference's region. The
    object *in the place* of a reference object is the one that the optimal matching of regions
    gives it (:func:`object_identity`); where that gives none, one that covers half of the region.
    An object is *at home* if it covers half of its own region, and *absent* when the generated
    frame shows fewer than ``min_area`` of its pixels. A *stranger* is an object that the reference
    never shows. The first rule that holds decides, in this order:

    - UNDEFINED: the step is not valid (or the slot is padding).
    - NOT_VISIBLE: fewer than ``min_area`` reference pixels: a legitimate exit or occlusion.
    - SPLIT: a quarter of its region or more belongs to strangers that lie mostly within it, and
      another quarter or more is still its own.
    - DUPLICATE: it is at home, and as many of its pixels as half of the reference's lie farther
      away than one object size, and not on one that has grown into it: it is there twice.
    - OK: it is in its own place.
    - MERGE: it is absent, and another object that is at home covers half of its region; the boxes
      of both touch in the reference.
    - SWAP: another object of the reference is in its place, and it is absent itself or part of
      a ring of objects that stand in each other's places.
    - MORPH: a stranger is in its place, and it is absent; or it is in its place, and its appearance
      is no longer its own.
    - UNDETERMINED: nobody can tell. It is absent, and an object that is not at home either covers
      its region without being in its place: it may be hidden. (Without labels there are more
      reasons.) Not counted, neither way.
    - VANISH: it is absent.
    - MISLOCATED: none of these: it is there, but elsewhere or of another shape, which is a fault of
      the dynamics and never of identity.

    REENTRY is a SWAP, MORPH or MERGE in a run of broken steps that begins as the object comes back
    to view, having been itself before it left: it returned as another. SPAWN is the state of a
    stranger that appeared away from the border, and neither in the place of an object that is gone
    nor as a part of one; it breaks no object.
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
    MERGE = 9
    SPLIT = 10
    REENTRY = 11
    SPAWN = 12

    @property
    def is_break(self) -> bool:
        """Whether the object has lost its identity."""
        return IdentityState.SWAP <= self <= IdentityState.REENTRY

    @property
    def description(self) -> str:
        """One line for a person who reads a table or a log."""
        return _DESCRIPTIONS[self]


_DESCRIPTIONS = {
    IdentityState.UNDEFINED: "not looked at",
    IdentityState.NOT_VISIBLE: "out of view or hidden in the reference",
    IdentityState.OK: "itself, in its place",
    IdentityState.MISLOCATED: "itself, but elsewhere or of another shape",
    IdentityState.UNDETERMINED: "cannot be told",
    IdentityState.SWAP: "another object is in its place",
    IdentityState.VANISH: "gone while it should be visible",
    IdentityState.DUPLICATE: "there twice",
    IdentityState.MORPH: "something that never was is in its place",
    IdentityState.MERGE: "grown into another object",
    IdentityState.SPLIT: "come apart: a part of it is a thing of its own",
    IdentityState.REENTRY: "came back into view as another",
    IdentityState.SPAWN: "appeared out of nothing",
}
