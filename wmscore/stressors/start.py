"""A start elsewhere."""

from __future__ import annotations

from typing import Any

from wmscore.manifest import Panel
from wmscore.stressors.base import Stressor

__all__ = ["ResetJitter"]


class ResetJitter(Stressor):
    """Some drawn actions come before the given frame: model and world both start elsewhere."""

    name, unit, severities, whole = "reset-jitter", "steps", (1, 2, 4, 8), True
    spoils_start = True

    def change(
        self, panel: Panel, data: dict[str, Any], severity: float, seed: int
    ) -> dict[str, Any]:
        """Say how many steps."""
        space = panel.contract.actions
        if space.kind != "discrete" or not any(name != space.noop for name in space.names):
            raise ValueError(
                f"contract.actions: {self.name} needs discrete actions, one besides no-op; "
                f"got {space.kind} {list(space.names)}"
            )
        return {"world": "start", "steps": int(severity)}
