"""Open Oasis from its networks or files, and the Oasis 3 service."""

from wmscore.worlds.oasis.actions import OasisActions
from wmscore.worlds.oasis.checkpoint import load_open_oasis, open_oasis_modules
from wmscore.worlds.oasis.forcing import FrameDenoiser, WindowSampler, sigmoid_alphas
from wmscore.worlds.oasis.oasis3 import OASIS3_ACTIONS, Oasis3Service, oasis3_model
from wmscore.worlds.oasis.open_oasis import FrameCoder, OpenOasis

__all__ = [
    "OASIS3_ACTIONS",
    "FrameCoder",
    "FrameDenoiser",
    "Oasis3Service",
    "OasisActions",
    "OpenOasis",
    "WindowSampler",
    "load_open_oasis",
    "oasis3_model",
    "open_oasis_modules",
    "sigmoid_alphas",
]
