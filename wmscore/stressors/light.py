"""Unseen light: the whole world is lit otherwise, for the model and in the reference alike."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from wmscore.manifest import Panel
from wmscore.stressors.base import Stressor

__all__ = ["CoolLight", "OverExposure", "Shadow", "UnderExposure", "WarmLight"]

# Worlds on whose ground a shadow can lie.
_LIT_GROUND = ("sprites",)


@dataclass(frozen=True)
class LightStressor(Stressor):
    """Light of the world.

    Attributes:
        rendered: "simulator" by a world that can be lit otherwise (`relit`, which `SpriteWorld`
            and, but for shadows, `MujocoWorld` have); "frames" as a function of every rendered
            frame. By default by the simulator where that is another picture, which a world says
            (`own_light`) to `suited`. A panel alone says it of the shadow of the world "sprites",
            which lies on its ground.
    """

    spoils_start = True
    sign: ClassVar[float] = 1.0
    field: ClassVar[str] = "exposure"
    rendered: Literal["simulator", "frames"] | None = None

    def __post_init__(self) -> None:
        """Check who renders."""
        if self.rendered not in (None, "simulator", "frames"):
            raise ValueError(f"rendered: expected 'simulator' or 'frames', got {self.rendered!r}")

    def suited(self, world: object) -> LightStressor:
        """Rendered by the simulator where nothing else was asked for and `world` has such light."""
        if self.rendered is None and self.field in getattr(world, "own_light", ()):
            return replace(self, rendered="simulator")
        return self

    def change(
        self, panel: Panel, data: dict[str, Any], severity: float, seed: int
    ) -> dict[str, Any]:
        """Say how the world is lit."""
        light = {"exposure": 0.0, "warmth": 0.0, "shadow": 0.0}
        light[self.field] = self.sign * severity
        native = self.field == "shadow" and panel.contract.world in _LIT_GROUND
        rendered = self.rendered or ("simulator" if native else "frames")
        return {"world": "light", "rendered": rendered, **light}


@dataclass(frozen=True)
class OverExposure(LightStressor):
    """More light."""

    name, unit, severities, largest = "over-exposure", "stops", (0.25, 0.5, 1.0, 1.5, 2.0), 8.0


@dataclass(frozen=True)
class UnderExposure(LightStressor):
    """Less light."""

    name, unit, severities, largest = "under-exposure", "stops", (0.5, 1.0, 1.5, 2.0, 3.0), 8.0
    sign = -1.0


@dataclass(frozen=True)
class WarmLight(LightStressor):
    """Redder light."""

    name, unit, field = "warm-light", "stops of red over blue", "warmth"
    severities, largest = (0.25, 0.5, 1.0, 1.5, 2.0), 8.0


@dataclass(frozen=True)
class CoolLight(LightStressor):
    """Bluer light."""

    name, unit, field, sign = "cool-light", "stops of blue over red", "warmth", -1.0
    severities, largest = (0.25, 0.5, 1.0, 1.5, 2.0), 8.0


@dataclass(frozen=True)
class Shadow(LightStressor):
    """A soft shadow over half of what is seen, at an angle that is drawn by scenario."""

    name, unit, field, largest = "shadow", "share of light taken", "shadow", 1.0
    severities = (0.2, 0.4, 0.6, 0.8, 0.95)
