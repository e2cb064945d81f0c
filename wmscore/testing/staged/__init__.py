"""A world model in inspectable stages, each of which can be broken by itself."""

from wmscore.testing.staged.faults import STAGE_FAULTS, StageFault, stage_fault
from wmscore.testing.staged.model import StagedSprites

__all__ = ["STAGE_FAULTS", "StageFault", "StagedSprites", "stage_fault"]
