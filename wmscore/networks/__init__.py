"""Feature extractors: what a network is given, what is taken from it, what is recorded."""

from __future__ import annotations

from wmscore.networks.lpips import LpipsNetwork
from wmscore.networks.weights import WeightsNotFoundError

__all__ = ["LpipsNetwork", "WeightsNotFoundError"]
