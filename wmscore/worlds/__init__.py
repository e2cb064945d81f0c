"""World models: the protocol, lifters, real and synthetic worlds, and baselines."""

from wmscore.worlds.baselines import ActionBlind, Frozen, OtherSeed
from wmscore.worlds.chunk_rule import ChunkRule
from wmscore.worlds.chunks import Chunk, ChunkModel
from wmscore.worlds.cosmos import Cosmos3Model, CosmosActionRecogniser
from wmscore.worlds.diffusion import DiffusersModel
from wmscore.worlds.fit import FitSize, ForcedFitSize
from wmscore.worlds.protocol import Capabilities, Item, TeacherForced, WorldModel, item_keys
from wmscore.worlds.recorded import RecordedWorld
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
    "Chunk",
    "ChunkModel",
    "ChunkRule",
    "Cosmos3Model",
    "CosmosActionRecogniser",
    "DiffusersModel",
    "FitSize",
    "ForcedFitSize",
    "Frozen",
    "Item",
    "ObservingStepModel",
    "ObservingStepper",
    "OtherSeed",
    "RecordedWorld",
    "SpriteWorld",
    "StepModel",
    "StepOutput",
    "Stepper",
    "TeacherForced",
    "WorldModel",
    "item_keys",
]
