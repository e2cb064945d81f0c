"""Stressors of the action scripts: model and true world are both sent what is left of them."""

from __future__ import annotations

import random
from abc import abstractmethod
from typing import Any

from wmscore.manifest import Action, ActionSpace, Panel
from wmscore.stressors.base import Stressor, script_random

__all__ = ["ActuatorDelay", "DroppedActions", "NoisyActions", "StickyActions"]

Script = list[Action]


class ScriptStressor(Stressor):
    """Rewrites every script of the panel, counterfactual ones too."""

    def change(
        self, panel: Panel, data: dict[str, Any], severity: float, seed: int
    ) -> dict[str, Any]:
        """Write out each script for the whole horizon, stressed.

        A counterfactual that has become the commanded script is none any more: it is left out, and
        the parameters of the stress name it.
        """
        space, horizon = panel.contract.actions, panel.contract.horizon
        self.check(space)
        left_out: dict[str, list[str]] = {}
        for scenario, own in zip(data["scenarios"], panel.scenarios, strict=True):
            for script, branch in zip((scenario, *scenario["branches"]), own.scripts, strict=True):
                rng = script_random(seed, self.name, own, branch.name)
                sent = self.rewrite(list(branch.script(horizon, space)), severity, space, rng)
                script["actions"], script["then"] = sent, None
            kept = [b for b in scenario["branches"] if b["actions"] != scenario["actions"]]
            if own.branches and not kept:
                raise ValueError(
                    f"{self.name} {severity:g}: all scripts of scenario {own.id!r} become the same"
                )
            if len(kept) < len(own.branches):
                names = {b["name"] for b in kept}
                left_out[own.id] = [b.name for b in own.branches if b.name not in names]
            scenario["branches"] = tuple(kept)
        return {"left_out": left_out} if left_out else {}

    def check(self, space: ActionSpace) -> None:
        """Raise ValueError where actions of this space cannot be stressed so."""

    @abstractmethod
    def rewrite(
        self, script: Script, severity: float, space: ActionSpace, rng: random.Random
    ) -> Script:
        """What is sent for `script`, of the same length."""

    def _noop(self, space: ActionSpace) -> Action:
        if space.noop is None:
            raise ValueError(
                f"contract.actions.noop: {self.name} needs an action that commands nothing, "
                "got none"
            )
        return space.noop


class ActuatorDelay(ScriptStressor):
    """Each action arrives so many steps later; no-op until the first does."""

    name, unit, severities, whole = "actuator-delay", "steps", (1, 2, 3, 4, 6), True

    def check(self, space: ActionSpace) -> None:
        """It needs a no-op."""
        self._noop(space)

    def rewrite(
        self, script: Script, severity: float, space: ActionSpace, rng: random.Random
    ) -> Script:
        """No-op first, then what was commanded."""
        late = [self._noop(space)] * int(severity)
        return (late + script)[: len(script)]


class DroppedActions(ScriptStressor):
    """A share of the actions never arrives: no-op instead."""

    name, unit, severities, largest = "dropped-actions", "share", (0.1, 0.2, 0.4, 0.6, 0.8), 1.0

    def check(self, space: ActionSpace) -> None:
        """It needs a no-op."""
        self._noop(space)

    def rewrite(
        self, script: Script, severity: float, space: ActionSpace, rng: random.Random
    ) -> Script:
        """Drop by one draw a step, so that a larger share drops the same ones and more."""
        noop = self._noop(space)
        return [noop if rng.random() < severity else action for action in script]


class StickyActions(ScriptStressor):
    """A share of the actions is the one sent before once more (Machado et al., JAIR 61, 2018)."""

    name, unit, severities, largest = "sticky-actions", "share", (0.1, 0.2, 0.4, 0.6, 0.8), 1.0

    def rewrite(
        self, script: Script, severity: float, space: ActionSpace, rng: random.Random
    ) -> Script:
        """The first action always arrives."""
        sent = script[:1]
        for action in script[1:]:
            sent.append(sent[-1] if rng.random() < severity else action)
        return sent


class NoisyActions(ScriptStressor):
    """A share of discrete actions is another one; continuous ones get Gaussian noise.

    For vectors the severity is the noise in units of the panel's largest absolute value of that
    component; buttons are flipped with that chance.
    """

    name, unit, severities, largest = "noisy-actions", "share", (0.1, 0.2, 0.4, 0.6, 0.8), 1.0

    def change(
        self, panel: Panel, data: dict[str, Any], severity: float, seed: int
    ) -> dict[str, Any]:
        """Look up how large each component is first."""
        space = panel.contract.actions
        if space.kind == "discrete":
            if len(space.names) < 2:
                raise ValueError(
                    f"contract.actions.names: {self.name} needs two actions, got {space.names}"
                )
            return super().change(panel, data, severity, seed)
        scale = [0.0] * len(space.names)
        for scenario in panel.scenarios:
            for branch in scenario.scripts:
                for action in branch.actions:
                    assert not isinstance(action, str)
                    scale = [max(a, abs(b)) for a, b in zip(scale, action, strict=True)]
        self._scale = scale
        return super().change(panel, data, severity, seed) | {"scale": scale}

    def rewrite(
        self, script: Script, severity: float, space: ActionSpace, rng: random.Random
    ) -> Script:
        """One draw a step whether it is used or not, so that harder rungs contain easier ones."""
        sent: Script = []
        for action in script:
            if isinstance(action, str):
                chance = rng.random()
                other = rng.choice([name for name in space.names if name != action])
                sent.append(other if chance < severity else action)
                continue
            units = space.units or ("number",) * len(action)
            vector = []
            for value, unit, scale in zip(action, units, self._scale, strict=True):
                chance, noise = rng.random(), rng.gauss(0, 1)
                if unit == "button":
                    vector.append(1.0 - value if chance < severity else value)
                else:
                    vector.append(value + severity * scale * noise)
            sent.append(tuple(vector))
        return sent
