"""Stressors: ways to make a panel harder, one at a time, with a severity.

A stressed panel is a panel: it has a fingerprint of its own, is replayed and scored like any other,
and what its true world shows is rendered under the same stress.
"""

from wmscore.stressors.actions import ActuatorDelay, DroppedActions, NoisyActions, StickyActions
from wmscore.stressors.base import Stressor
from wmscore.stressors.given import Blur, CameraJitter, Compression, Noise, Occlusion
from wmscore.stressors.horizon import HorizonExtension
from wmscore.stressors.known import all_stressors, applicable, find
from wmscore.stressors.light import CoolLight, OverExposure, Shadow, UnderExposure, WarmLight
from wmscore.stressors.prompts import PromptDistractor, PromptParaphrase
from wmscore.stressors.start import ResetJitter

__all__ = [
    "ActuatorDelay",
    "Blur",
    "CameraJitter",
    "Compression",
    "CoolLight",
    "DroppedActions",
    "HorizonExtension",
    "Noise",
    "NoisyActions",
    "Occlusion",
    "OverExposure",
    "PromptDistractor",
    "PromptParaphrase",
    "ResetJitter",
    "Shadow",
    "StickyActions",
    "Stressor",
    "UnderExposure",
    "WarmLight",
    "all_stressors",
    "applicable",
    "find",
]
