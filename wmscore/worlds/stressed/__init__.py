"""The true world of a stressed panel: other light, a spoiled given frame, or a start elsewhere."""

from wmscore.worlds.stressed.world import StressedWorld, stressed_world

__all__ = ["StressedWorld", "stressed_world"]
