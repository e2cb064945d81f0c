"""Feature extractors: what a network is given, what is taken from it, what is recorded."""

from __future__ import annotations

from wmscore.networks.clips import (
    ClipEncoder,
    ClipFeatures,
)
from wmscore.networks.encoder import (
    ModuleEncoder,
)
from wmscore.networks.lpips import (
    LpipsNetwork,
)
from wmscore.networks.preparation import (
    NORMALIZATIONS,
)
from wmscore.networks.weights import (
    WeightsNotFoundError,
)

__all__ = [
    "NORMALIZATIONS",
    "ClipEncoder",
    "ClipFeatures",
    "LpipsNetwork",
    "ModuleEncoder",
    "WeightsNotFoundError",
]
