"""World models: the protocol, lifters, adapters of systems, real and synthetic worlds, baselines.

Everything here is imported when it is first used, and so are the packages that adapters need.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# Module -> its public names.
_EXPORTS = {
    "baselines": ("ActionBlind", "Frozen", "OtherSeed"),
    "chunk_rule": ("ChunkRule",),
    "chunks": ("Chunk", "ChunkModel"),
    "cosmos": (
        "Cosmos3Model",
        "CosmosActionRecogniser",
        "write_cosmos3_jsonl",
        "write_predict_annotations",
        "write_predict_inputs",
    ),
    "diamond": ("DiamondModel",),
    "diffusion": ("DiffusersModel",),
    "fit": ("FitSize", "ForcedFitSize"),
    "frame_rate": ("AtFrameRate",),
    "gamengen": ("GameNGenModel",),
    "gymnasium": ("GymnasiumWorld",),
    "latent_actions": ("LatentActionModel",),
    "latent_calibration": ("calibrate_latent_actions",),
    "latent_meaning": ("LatentActionCalibration",),
    "learned": (
        "FlowNetModel",
        "LinearLatentModel",
        "fit_linear_latent",
        "packaged_models",
    ),
    "load": ("load_model", "load_world"),
    "mujoco": ("MujocoWorld",),
    "oasis": ("Oasis3Service", "OasisActions", "OpenOasis", "load_open_oasis", "oasis3_model"),
    "pixels": ("float_frames", "rounded_frames", "uint8_frames"),
    "protocol": (
        "Capabilities",
        "Item",
        "Reconstructing",
        "TeacherForced",
        "WorldModel",
        "item_keys",
    ),
    "randomness": ("contained_randomness", "row_generators", "row_normal", "row_seed"),
    "recorded": ("RecordedWorld",),
    "reencoded": ("Reencoded",),
    "row_noise": ("RowNoise", "contained_row_noise"),
    "servers": (
        "Patience",
        "RowsFailedError",
        "ServerModel",
        "Service",
        "ServiceError",
        "UnavailableError",
        "VideosService",
        "videos_model",
    ),
    "sprites": ("SpriteWorld",),
    "stressed": ("StressedWorld", "stressed_world"),
    "step": ("ObservingStepModel", "ObservingStepper", "StepModel", "StepOutput", "Stepper"),
    "vizdoom": ("VizDoomWorld",),
    "windows": ("ContinuesFrom", "WindowModel"),
}
_HOME = {name: module for module, names in _EXPORTS.items() for name in names}

__all__ = [
    "ActionBlind",
    "AtFrameRate",
    "Capabilities",
    "Chunk",
    "ChunkModel",
    "ChunkRule",
    "ContinuesFrom",
    "Cosmos3Model",
    "CosmosActionRecogniser",
    "DiamondModel",
    "DiffusersModel",
    "FitSize",
    "FlowNetModel",
    "ForcedFitSize",
    "Frozen",
    "GameNGenModel",
    "GymnasiumWorld",
    "Item",
    "LatentActionCalibration",
    "LatentActionModel",
    "LinearLatentModel",
    "MujocoWorld",
    "Oasis3Service",
    "OasisActions",
    "ObservingStepModel",
    "ObservingStepper",
    "OpenOasis",
    "OtherSeed",
    "Patience",
    "Reconstructing",
    "RecordedWorld",
    "Reencoded",
    "RowNoise",
    "RowsFailedError",
    "ServerModel",
    "Service",
    "ServiceError",
    "SpriteWorld",
    "StepModel",
    "StepOutput",
    "Stepper",
    "StressedWorld",
    "TeacherForced",
    "UnavailableError",
    "VideosService",
    "VizDoomWorld",
    "WindowModel",
    "WorldModel",
    "calibrate_latent_actions",
    "contained_randomness",
    "contained_row_noise",
    "fit_linear_latent",
    "float_frames",
    "item_keys",
    "load_model",
    "load_open_oasis",
    "load_world",
    "oasis3_model",
    "packaged_models",
    "rounded_frames",
    "row_generators",
    "row_normal",
    "row_seed",
    "stressed_world",
    "uint8_frames",
    "videos_model",
    "write_cosmos3_jsonl",
    "write_predict_annotations",
    "write_predict_inputs",
]

if TYPE_CHECKING:
    from wmscore.worlds.baselines import ActionBlind, Frozen, OtherSeed
    from wmscore.worlds.chunk_rule import ChunkRule
    from wmscore.worlds.chunks import Chunk, ChunkModel
    from wmscore.worlds.cosmos import (
        Cosmos3Model,
        CosmosActionRecogniser,
        write_cosmos3_jsonl,
        write_predict_annotations,
        write_predict_inputs,
    )
    from wmscore.worlds.diamond import DiamondModel
    from wmscore.worlds.diffusion import DiffusersModel
    from wmscore.worlds.fit import FitSize, ForcedFitSize
    from wmscore.worlds.frame_rate import AtFrameRate
    from wmscore.worlds.gamengen import GameNGenModel
    from wmscore.worlds.gymnasium import GymnasiumWorld
    from wmscore.worlds.latent_actions import LatentActionModel
    from wmscore.worlds.latent_calibration import calibrate_latent_actions
    from wmscore.worlds.latent_meaning import LatentActionCalibration
    from wmscore.worlds.learned import (
        FlowNetModel,
        LinearLatentModel,
        fit_linear_latent,
        packaged_models,
    )
    from wmscore.worlds.load import load_model, load_world
    from wmscore.worlds.mujoco import MujocoWorld
    from wmscore.worlds.oasis import (
        Oasis3Service,
        OasisActions,
        OpenOasis,
        load_open_oasis,
        oasis3_model,
    )
    from wmscore.worlds.pixels import float_frames, rounded_frames, uint8_frames
    from wmscore.worlds.protocol import (
        Capabilities,
        Item,
        Reconstructing,
        TeacherForced,
        WorldModel,
        item_keys,
    )
    from wmscore.worlds.randomness import contained_randomness, row_generators, row_normal, row_seed
    from wmscore.worlds.recorded import RecordedWorld
    from wmscore.worlds.reencoded import Reencoded
    from wmscore.worlds.row_noise import RowNoise, contained_row_noise
    from wmscore.worlds.servers import (
        Patience,
        RowsFailedError,
        ServerModel,
        Service,
        ServiceError,
        UnavailableError,
        VideosService,
        videos_model,
    )
    from wmscore.worlds.sprites import SpriteWorld
    from wmscore.worlds.step import (
        ObservingStepModel,
        ObservingStepper,
        StepModel,
        StepOutput,
        Stepper,
    )
    from wmscore.worlds.stressed import StressedWorld, stressed_world
    from wmscore.worlds.vizdoom import VizDoomWorld
    from wmscore.worlds.windows import ContinuesFrom, WindowModel


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _HOME:
        raise AttributeError(f"module 'wmscore.worlds' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"wmscore.worlds.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Public names, imported or not."""
    return sorted(__all__)
