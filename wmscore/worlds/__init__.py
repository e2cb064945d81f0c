"""World models: the protocol, lifters, real and synthetic worlds, and baselines."""

from wmscore.worlds.baselines import ActionBlind, Frozen, OtherSeed
from wmscore.worlds.diamond import DiamondModel
from wmscore.worlds.frame_rate import AtFrameRate
from wmscore.worlds.gamengen import GameNGenModel
from wmscore.worlds.latent_actions import LatentActionModel
from wmscore.worlds.latent_calibration import calibrate_latent_actions
from wmscore.worlds.latent_meaning import LatentActionCalibration
from wmscore.worlds.protocol import Capabilities, Item, TeacherForced, WorldModel, item_keys
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
    "DiamondModel",
    "Frozen",
    "GameNGenModel",
    "Item",
    "LatentActionCalibration",
    "LatentActionModel",
    "ObservingStepModel",
    "ObservingStepper",
    "OtherSeed",
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
