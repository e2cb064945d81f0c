"""The true world of a stressed panel: under another light, or with a spoiled given frame."""

from wmscore.worlds.stressed.world import StressedWorld, stressed_world

__all__ = ["StressedWorld", "stressed_world"]
