"""World models: the protocol, lifters, real and synthetic worlds, and baselines."""

from wmscore.worlds.baselines import ActionBlind, Frozen, OtherSeed
from wmscore.worlds.chunk_rule import ChunkRule
from wmscore.worlds.chunks import Chunk, ChunkModel
from wmscore.worlds.cosmos import Cosmos3Model, CosmosActionRecogniser
from wmscore.worlds.diamond import DiamondModel
from wmscore.worlds.diffusion import DiffusersModel
from wmscore.worlds.fit import FitSize, ForcedFitSize
from wmscore.worlds.frame_rate import AtFrameRate
from wmscore.worlds.gamengen import GameNGenModel
from wmscore.worlds.latent_actions import LatentActionModel
from wmscore.worlds.latent_calibration import calibrate_latent_actions
from wmscore.worlds.latent_meaning import LatentActionCalibration
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
from wmscore.worlds.windows import WindowModel

__all__ = [
    "ActionBlind",
    "AtFrameRate",
    "Capabilities",
    "Chunk",
    "ChunkModel",
    "ChunkRule",
    "Cosmos3Model",
    "CosmosActionRecogniser",
    "DiffusersModel",
    "FitSize",
    "ForcedFitSize",
    "DiamondModel",
    "Frozen",
    "GameNGenModel",
    "Item",
    "LatentActionCalibration",
    "LatentActionModel",
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
    "WindowModel",
    "WorldModel",
    "calibrate_latent_actions",
    "item_keys",
]
