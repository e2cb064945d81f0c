"""Known faults, injected into a true world at a known step."""

from wmscore.testing.faults.actions import DelayedActions, HalfGain, IgnoredActions, ResetMismatch
from wmscore.testing.faults.base import Fault, Faulty
from wmscore.testing.faults.becoming import Morph, Reentry
from wmscore.testing.faults.frames import Blur, ColourDrift, Freeze, NanFrame, ShortRollout
from wmscore.testing.faults.objects import Duplicate, IdentitySwap, Vanish
from wmscore.testing.faults.shapes import Merge, Spawn, Split

__all__ = [
    "Blur",
    "ColourDrift",
    "DelayedActions",
    "Duplicate",
    "Fault",
    "Faulty",
    "Freeze",
    "HalfGain",
    "IdentitySwap",
    "IgnoredActions",
    "Merge",
    "Morph",
    "NanFrame",
    "Reentry",
    "ResetMismatch",
    "ShortRollout",
    "Spawn",
    "Split",
    "Vanish",
    "all_faults",
]


def all_faults() -> tuple[Fault, ...]:
    """One fault of each kind, with default strength, beginning at a drawn step."""
    return (
        IdentitySwap(),
        Vanish(),
        Duplicate(),
        Morph(),
        Reentry(),
        Merge(),
        Split(),
        Spawn(),
        Blur(),
        ColourDrift(),
        DelayedActions(),
        IgnoredActions(),
        HalfGain(),
        Freeze(),
        NanFrame(),
        ShortRollout(),
        ResetMismatch(),
    )
