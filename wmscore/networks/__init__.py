"""Feature extractors: what a network is given, what is taken from it, what is recorded."""

from __future__ import annotations

from wmscore.networks.clips import ClipEncoder, ClipFeatures
from wmscore.networks.encoder import ModuleEncoder
from wmscore.networks.preparation import NORMALIZATIONS

__all__ = ["NORMALIZATIONS", "ClipEncoder", "ClipFeatures", "ModuleEncoder"]
