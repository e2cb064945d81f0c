"""Two small families of world models that learned from a simulator: one to read, one neural.

They are there to be judged, not to be good: both come with weights for the packaged panels, trained
by `tools/train_demo_models.py` on other episodes than the panels'.
"""

from wmscore.worlds.learned.flow import FlowNet, FlowNetModel
from wmscore.worlds.learned.linear import LinearLatentModel, fit_linear_latent
from wmscore.worlds.learned.packaged import packaged_models

__all__ = [
    "FlowNet",
    "FlowNetModel",
    "LinearLatentModel",
    "fit_linear_latent",
    "packaged_models",
]
