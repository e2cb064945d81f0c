"""A spoiled given frame: the model starts from less than it was promised, the reference stays."""

from __future__ import annotations

from typing import Any

from wmscore.manifest import Panel
from wmscore.stressors.base import Stressor

__all__ = ["Blur", "CameraJitter", "Noise", "Occlusion"]


class GivenStressor(Stressor):
    """Spoils the given frame alone."""

    spoils_start = True
    spoiled = ""
    field = ""

    def change(
        self, panel: Panel, data: dict[str, Any], severity: float, seed: int
    ) -> dict[str, Any]:
        """Say how the given frame is spoiled."""
        return {"world": "given", "spoiled": self.spoiled, self.field: severity}


class CameraJitter(GivenStressor):
    """The given frame is displaced, in a direction that is drawn by scenario."""

    name, unit, spoiled, field = "camera-jitter", "pixels", "shift", "pixels"
    severities = (1, 2, 4, 8)


class Occlusion(GivenStressor):
    """A grey square hides a part of the given frame."""

    name, unit, spoiled, field, largest = "occlusion", "share of area", "occlude", "area", 1.0
    severities = (0.05, 0.1, 0.2, 0.3, 0.5)


class Blur(GivenStressor):
    """The given frame is out of focus."""

    name, unit, spoiled, field = "blur", "pixels of sigma", "blur", "sigma"
    severities = (0.5, 1.0, 2.0, 3.0, 4.0)


class Noise(GivenStressor):
    """The given frame is noisy."""

    name, unit, spoiled, field = "noise", "grey levels of sigma", "noise", "sigma"
    severities = (4, 8, 16, 32, 64)
