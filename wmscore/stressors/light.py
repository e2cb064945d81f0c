"""Unseen light: the whole world is lit otherwise, for the model and in the reference alike."""

from __future__ import annotations

from typing import Any

from wmscore.manifest import Panel
from wmscore.stressors.base import Stressor

__all__ = ["CoolLight", "OverExposure", "Shadow", "UnderExposure", "WarmLight"]


class LightStressor(Stressor):
    """Light of the world, as a function of every rendered frame."""

    spoils_start = True
    sign = 1.0
    field = "exposure"

    def change(
        self, panel: Panel, data: dict[str, Any], severity: float, seed: int
    ) -> dict[str, Any]:
        """Say how the world is lit."""
        light = {"exposure": 0.0, "warmth": 0.0, "shadow": 0.0}
        light[self.field] = self.sign * severity
        return {"world": "light", "rendered": "frames", **light}


class OverExposure(LightStressor):
    """More light."""

    name, unit, severities = "over-exposure", "stops", (0.25, 0.5, 1.0, 1.5, 2.0)


class UnderExposure(LightStressor):
    """Less light."""

    name, unit, severities, sign = "under-exposure", "stops", (0.5, 1.0, 1.5, 2.0, 3.0), -1.0


class WarmLight(LightStressor):
    """Redder light."""

    name, unit, field = "warm-light", "stops of red over blue", "warmth"
    severities = (0.25, 0.5, 1.0, 1.5, 2.0)


class CoolLight(LightStressor):
    """Bluer light."""

    name, unit, field, sign = "cool-light", "stops of blue over red", "warmth", -1.0
    severities = (0.25, 0.5, 1.0, 1.5, 2.0)


class Shadow(LightStressor):
    """A soft shadow over half of the picture, at an angle that is drawn by scenario."""

    name, unit, field, largest = "shadow", "share of light taken", "shadow", 1.0
    severities = (0.2, 0.4, 0.6, 0.8, 0.95)
