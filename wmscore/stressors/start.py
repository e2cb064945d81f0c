"""A start elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wmscore.manifest import Action, Panel, Scenario
from wmscore.stressors.base import Stressor, script_random

__all__ = ["ResetJitter"]


@dataclass(frozen=True)
class ResetJitter(Stressor):
    """Some drawn actions come before the given frame: model and world both start elsewhere.

    They end the `warmup` in the reset parameters of each scenario, as `SpriteWorld`,
    `VizDoomWorld`, `GymnasiumWorld` and `MujocoWorld` read it: discrete actions are drawn from all
    but no-op, vectors from those that the scenario's own scripts command. The first frame of more
    steps is not that of fewer with steps after it, but with steps before it.
    """

    name, unit, severities, whole = "reset-jitter", "steps", (1, 2, 4, 8), True
    spoils_start, largest = True, 1000.0

    def change(
        self, panel: Panel, data: dict[str, Any], severity: float, seed: int
    ) -> dict[str, Any]:
        """Put the drawn actions behind a warm-up that is there."""
        for scenario, own in zip(data["scenarios"], panel.scenarios, strict=True):
            moves = self._moves(panel, own)
            before = own.reset.get("warmup", [])
            if not isinstance(before, list):
                raise ValueError(
                    f"scenarios[].reset.warmup: {self.name} needs a list of actions, got "
                    f"{before!r} in scenario {own.id!r}"
                )
            rng = script_random(seed, self.name, own, "warmup")
            # One choice after the other, so that fewer steps are the end of more.
            drawn = [rng.choice(moves) for _ in range(int(severity))][::-1]
            steps = [action if isinstance(action, str) else list(action) for action in drawn]
            scenario["reset"] = {**own.reset, "warmup": [*before, *steps]}
        return {"world": "start"}

    def _moves(self, panel: Panel, scenario: Scenario) -> list[Action]:
        """What can be drawn, in an order that does not depend on that of the scripts."""
        space, horizon = panel.contract.actions, panel.contract.horizon
        moves: list[Action] = list(space.names)
        if space.kind == "continuous":
            sent = (a for branch in scenario.scripts for a in branch.script(horizon, space))
            moves = [*sorted({tuple(map(float, action)) for action in sent})]
        moves = [action for action in moves if action != space.noop]
        if not moves:
            raise ValueError(
                f"contract.actions: {self.name} needs an action besides no-op, there is none in "
                f"scenario {scenario.id!r}"
            )
        return moves
