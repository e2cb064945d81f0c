"""A longer horizon."""

from __future__ import annotations

from typing import Any

from wmscore.manifest import Panel
from wmscore.stressors.base import Stressor

__all__ = ["HorizonExtension"]


class HorizonExtension(Stressor):
    """The horizon times a whole factor; scripts go on as their `then` says, else from the start."""

    name, unit, severities, whole = "horizon-extension", "times the horizon", (2, 4), True

    def change(
        self, panel: Panel, data: dict[str, Any], severity: float, seed: int
    ) -> dict[str, Any]:
        """Extend the contract; `then` = cycle for scripts that were written out whole."""
        if severity < 2:
            raise ValueError(
                f"severity: {self.name} expects a factor of at least 2, got {severity:g}"
            )
        horizon = panel.contract.horizon
        data["contract"]["horizon"] = horizon * int(severity)
        for scenario in data["scenarios"]:
            for script in (scenario, *scenario["branches"]):
                if script["then"] is None:
                    # What was cut off behind the horizon was never commanded.
                    script["actions"], script["then"] = script["actions"][:horizon], "cycle"
        return {}
