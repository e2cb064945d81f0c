"""Disturbances that leave every object itself: what a metric of identity must not react to."""

from wmscore.testing.disturbances.base import Disturbance, Disturbed
from wmscore.testing.disturbances.jpeg import Jpeg
from wmscore.testing.disturbances.motion import Jitter
from wmscore.testing.disturbances.tone import Bias, Blur, Gain, Gamma, Noise

__all__ = [
    "Bias",
    "Blur",
    "Disturbance",
    "Disturbed",
    "Gain",
    "Gamma",
    "Jitter",
    "Jpeg",
    "Noise",
]
