"""World models: the protocol, lifters, real and synthetic worlds, and baselines."""

from wmscore.worlds.baselines import ActionBlind, Frozen, OtherSeed
from wmscore.worlds.protocol import Capabilities, Item, TeacherForced, WorldModel, item_keys
from wmscore.worlds.recorded import RecordedWorld
from wmscore.worlds.reencoded import Reencoded
from wmscore.worlds.sprites import SpriteWorld
from wmscore.worlds.step import (
    ObservingStepModel,
    ObservingStepper,
    StepModel,
    StepOutput,
    Stepper,
)

__all__ = [
    "ActionBlind",
    "Capabilities",
    "Frozen",
    "Item",
    "ObservingStepModel",
    "ObservingStepper",
    "OtherSeed",
    "RecordedWorld",
    "Reencoded",
    "SpriteWorld",
    "StepModel",
    "StepOutput",
    "Stepper",
    "TeacherForced",
    "WorldModel",
    "item_keys",
]
