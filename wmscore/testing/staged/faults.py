"""Faults of the stages of `StagedSprites`, each with a strength in (0, 1]."""

from __future__ import annotations

from dataclasses import dataclass

from wmscore.attribution import STAGES, Cause

__all__ = ["STAGE_FAULTS", "StageFault", "stage_fault"]

# Name -> the stage that it breaks.
STAGE_FAULTS: dict[str, Cause] = {
    "decoder-blur": "perception",
    "decoder-levels": "perception",
    "decoder-tint": "perception",
    "no-velocity": "representation",
    "forgets-hidden": "representation",
    "delay": "control",
    "mirrored": "control",
    "permuted": "control",
    "dropped": "control",
    "ignored": "control",
    "slow-objects": "dynamics",
    "fast-objects": "dynamics",
    "drifting-objects": "dynamics",
}


@dataclass(frozen=True)
class StageFault:
    """One fault of one stage.

    Attributes:
        kind: a key of `STAGE_FAULTS`.
        strength: in (0, 1]; what it means is the kind's: share of the strongest form.
    """

    kind: str
    strength: float = 1.0

    def __post_init__(self) -> None:
        """Check both."""
        if self.kind not in STAGE_FAULTS:
            raise ValueError(f"kind: expected one of {list(STAGE_FAULTS)}, got {self.kind!r}")
        if not 0 < self.strength <= 1:
            raise ValueError(f"strength: expected a number in (0, 1], got {self.strength!r}")

    @property
    def stage(self) -> Cause:
        """The stage that it breaks."""
        return STAGE_FAULTS[self.kind]

    def at(self, kind: str) -> float:
        """Its strength if it is of that kind, else 0."""
        return self.strength if self.kind == kind else 0.0


def stage_fault(kind: str, strength: float = 1.0) -> StageFault:
    """A fault by name; the stages are those of `wmscore.attribution.STAGES`."""
    found = StageFault(kind, strength)
    assert found.stage in STAGES
    return found
