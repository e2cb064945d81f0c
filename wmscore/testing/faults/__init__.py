"""Known faults, injected into a true world at a known step."""

from wmscore.testing.faults.actions import DelayedActions, HalfGain, IgnoredActions, ResetMismatch
from wmscore.testing.faults.base import Fault, Faulty
from wmscore.testing.faults.frames import Blur, ColourDrift, Freeze, NanFrame, ShortRollout
from wmscore.testing.faults.objects import Duplicate, IdentitySwap, Vanish

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
    "NanFrame",
    "ResetMismatch",
    "ShortRollout",
    "Vanish",
    "all_faults",
]


def all_faults() -> tuple[Fault, ...]:
    """One fault of each kind, with default strength, beginning at a drawn step."""
    return (
        IdentitySwap(),
        Vanish(),
        Duplicate(),
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
