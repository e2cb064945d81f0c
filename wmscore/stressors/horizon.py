"""A longer horizon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wmscore.manifest import Panel
from wmscore.stressors.base import Stressor

__all__ = ["HorizonExtension"]


@dataclass(frozen=True)
class HorizonExtension(Stressor):
    """The horizon times a whole factor.

    A script goes on with the actions that it has beyond the horizon; where they end as its `then`
    says, and without one from its start again.
    """

    name, unit, severities, whole = "horizon-extension", "times the horizon", (2, 4), True
    largest = 100.0

    def change(
        self, panel: Panel, data: dict[str, Any], severity: float, seed: int
    ) -> dict[str, Any]:
        """Extend the contract, and let scripts that end before it go on."""
        horizon = panel.contract.horizon * int(severity)
        data["contract"]["horizon"] = horizon
        for scenario in data["scenarios"]:
            for script in (scenario, *scenario["branches"]):
                if script["then"] is None and len(script["actions"]) < horizon:
                    script["then"] = "cycle"
        return {}

    def check_severity(self, severity: float) -> float:
        """At least twice, at most a hundred times."""
        number = super().check_severity(severity)
        if number < 2:
            raise ValueError(
                f"severity: {self.name} expects a factor of at least 2, got {number:g}"
            )
        return number
