"""A spoiled given frame: the model starts from less than it was promised, the reference stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from wmscore.manifest import Panel
from wmscore.stressors.base import Stressor

__all__ = ["Blur", "CameraJitter", "Compression", "Noise", "Occlusion"]


@dataclass(frozen=True)
class GivenStressor(Stressor):
    """Spoils the given frame alone."""

    spoils_start = True
    spoiled: ClassVar[str]
    field: ClassVar[str]

    def change(
        self, panel: Panel, data: dict[str, Any], severity: float, seed: int
    ) -> dict[str, Any]:
        """Say how the given frame is spoiled."""
        return {"world": "given", "spoiled": self.spoiled, self.field: severity}


def _shorter_side(panel: Panel) -> tuple[float, str] | None:
    seen = panel.contract.observation
    if seen is None:
        return None  # rendering finds out
    return min(seen.height, seen.width), f"the shorter side of {seen.height}x{seen.width} frames"


@dataclass(frozen=True)
class CameraJitter(GivenStressor):
    """The given frame is displaced, in a direction that is drawn by scenario.

    By at most the frame's shorter side: nothing of it is left then.
    """

    name, unit, spoiled, field = "camera-jitter", "pixels", "shift", "pixels"
    severities, whole = (1, 2, 4, 8), True

    def limit(self, panel: Panel) -> tuple[float, str] | None:
        """The frame's shorter side."""
        return _shorter_side(panel)


@dataclass(frozen=True)
class Occlusion(GivenStressor):
    """A grey rectangle hides a part of the given frame."""

    name, unit, spoiled, field, largest = "occlusion", "share of area", "occlude", "area", 1.0
    severities = (0.05, 0.1, 0.2, 0.3, 0.5)


@dataclass(frozen=True)
class Blur(GivenStressor):
    """The given frame is out of focus, by a sigma of at most its shorter side."""

    name, unit, spoiled, field = "blur", "pixels of sigma", "blur", "sigma"
    severities = (0.5, 1.0, 2.0, 3.0, 4.0)

    def check_severity(self, severity: float) -> float:
        """Less than a twentieth of a pixel is no blur in 8 bits."""
        number = super().check_severity(severity)
        if number < 0.05:
            raise ValueError(f"severity: {self.name} expects at least 0.05, got {number:g}")
        return number

    def limit(self, panel: Panel) -> tuple[float, str] | None:
        """The frame's shorter side: all is one colour by then."""
        return _shorter_side(panel)


@dataclass(frozen=True)
class Noise(GivenStressor):
    """The given frame is noisy."""

    name, unit, spoiled, field = "noise", "grey levels of sigma", "noise", "sigma"
    severities, largest = (4, 8, 16, 32, 64), 255.0


@dataclass(frozen=True)
class Compression(GivenStressor):
    """The given frame went through JPEG; the severity is how far its quality is below 100."""

    name, unit, spoiled, field = "compression", "points of JPEG quality lost", "jpeg", "quality"
    severities, whole, largest = (50, 70, 80, 90, 95), True, 99.0

    def change(
        self, panel: Panel, data: dict[str, Any], severity: float, seed: int
    ) -> dict[str, Any]:
        """Say which quality is left."""
        return super().change(panel, data, 100 - severity, seed)
