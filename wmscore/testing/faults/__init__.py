"""Known faults, injected into a true world at a known step."""

from wmscore.testing.faults.actions import DelayedActions, HalfGain, IgnoredActions, ResetMismatch
from wmscore.testing.faults.base import Fault, Faulty
from wmscore.testing.faults.becoming import Morph, Reentry
from wmscore.testing.faults.frames import Blur, ColourDrift, Freeze, NanFrame, ShortRollout
from wmscore.testing.faults.gain import ScaledActions
from wmscore.testing.faults.objects import Duplicate, IdentitySwap, Vanish
from wmscore.testing.faults.scrambled import MirroredActions, PermutedActions, ShuffledScripts
from wmscore.testing.faults.shapes import Merge, Spawn, Split
from wmscore.testing.faults.timing import HalfSpeed, TimeReversed
from wmscore.testing.faults.unreliable import DroppedActions, NoisyActions, StickyActions

__all__ = [
    "Blur",
    "ColourDrift",
    "DelayedActions",
    "DroppedActions",
    "Duplicate",
    "Fault",
    "Faulty",
    "Freeze",
    "HalfGain",
    "HalfSpeed",
    "IdentitySwap",
    "IgnoredActions",
    "Merge",
    "MirroredActions",
    "Morph",
    "NanFrame",
    "NoisyActions",
    "PermutedActions",
    "Reentry",
    "ResetMismatch",
    "ScaledActions",
    "ShortRollout",
    "ShuffledScripts",
    "Spawn",
    "Split",
    "StickyActions",
    "TimeReversed",
    "Vanish",
    "all_faults",
]


def all_faults() -> tuple[Fault, ...]:
    """One fault of each kind, with default strength, beginning at a drawn step.

    `ScaledActions`, which not every world can be given, is not among them.
    """
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
        PermutedActions(),
        MirroredActions(),
        ShuffledScripts(),
        DroppedActions(),
        NoisyActions(),
        StickyActions(),
        HalfSpeed(),
        TimeReversed(),
        Freeze(),
        NanFrame(),
        ShortRollout(),
        ResetMismatch(),
    )
