"""Stressors of the action scripts: model and true world are both sent what is left of them."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wmscore.manifest import Action, ActionSpace, Panel
from wmscore.stressors.base import Stressor, script_random

__all__ = ["ActuatorDelay", "DroppedActions", "NoisyActions", "StickyActions"]

Script = list[Action]
Rewrite = Callable[[Script, random.Random], Script]


@dataclass(frozen=True)
class ScriptStressor(Stressor):
    """Rewrites every script of the panel, counterfactual ones too."""

    def change(
        self, panel: Panel, data: dict[str, Any], severity: float, seed: int
    ) -> dict[str, Any]:
        """Write out each script for the whole horizon, stressed.

        A counterfactual that has become the commanded script, or another counterfactual, tells
        nothing any more: it is left out, and the parameters of the stress name it.
        """
        space, horizon = panel.contract.actions, panel.contract.horizon
        rewrite, parameters = self.rewriter(panel, severity)
        left_out: dict[str, list[str]] = {}
        for scenario, own in zip(data["scenarios"], panel.scenarios, strict=True):
            known: list[Script] = []
            kept = []
            for script, branch in zip((scenario, *scenario["branches"]), own.scripts, strict=True):
                rng = script_random(seed, self.name, own, branch.name)
                sent = rewrite(list(branch.script(horizon, space)), rng)
                script["actions"], script["then"] = sent, None
                if sent not in known:
                    kept.append(script)
                else:
                    left_out.setdefault(own.id, []).append(branch.name)
                known.append(sent)
            if own.branches and len(kept) == 1:
                raise ValueError(
                    f"{self.name} {severity:g}: all scripts of scenario {own.id!r} become the same"
                )
            scenario["branches"] = tuple(kept[1:])
        if left_out:
            parameters["left_out"] = left_out
        return {"world": "scripts", **parameters}

    @abstractmethod
    def rewriter(self, panel: Panel, severity: float) -> tuple[Rewrite, dict[str, Any]]:
        """What turns a script into what is sent, of the same length; and what to say of it.

        Raises:
            ValueError: actions of this panel cannot be stressed so.
        """

    def _noop(self, space: ActionSpace) -> Action:
        if space.noop is None:
            raise ValueError(
                f"contract.actions.noop: {self.name} needs an action that commands nothing, "
                "got none"
            )
        return space.noop


@dataclass(frozen=True)
class ActuatorDelay(ScriptStressor):
    """Each action arrives so many steps later; no-op until the first does."""

    name, unit, severities, whole = "actuator-delay", "steps", (1, 2, 3, 4, 6), True

    def limit(self, panel: Panel) -> tuple[float, str]:
        """The horizon: nothing arrives then."""
        return panel.contract.horizon, f"whose horizon is {panel.contract.horizon}"

    def rewriter(self, panel: Panel, severity: float) -> tuple[Rewrite, dict[str, Any]]:
        """No-op first, then what was commanded."""
        wait = [self._noop(panel.contract.actions)] * int(severity)
        return lambda script, rng: (wait + script)[: len(script)], {}


@dataclass(frozen=True)
class DroppedActions(ScriptStressor):
    """A share of the actions never arrives: no-op instead."""

    name, unit, severities, largest = "dropped-actions", "share", (0.1, 0.2, 0.4, 0.6, 0.8), 1.0

    def rewriter(self, panel: Panel, severity: float) -> tuple[Rewrite, dict[str, Any]]:
        """Drop by one draw a step, so that a larger share drops the same ones and more."""
        noop = self._noop(panel.contract.actions)

        def rewrite(script: Script, rng: random.Random) -> Script:
            return [noop if rng.random() < severity else action for action in script]

        return rewrite, {}


@dataclass(frozen=True)
class StickyActions(ScriptStressor):
    """A share of the actions is the one sent before once more (Machado et al., JAIR 61, 2018).

    The first action always arrives.
    """

    name, unit, severities, largest = "sticky-actions", "share", (0.1, 0.2, 0.4, 0.6, 0.8), 1.0

    def rewriter(self, panel: Panel, severity: float) -> tuple[Rewrite, dict[str, Any]]:
        """Repeat by one draw a step."""

        def rewrite(script: Script, rng: random.Random) -> Script:
            sent = script[:1]
            for action in script[1:]:
                sent.append(sent[-1] if rng.random() < severity else action)
            return sent

        return rewrite, {}


@dataclass(frozen=True)
class NoisyActions(ScriptStressor):
    """A share of discrete actions is another one; continuous ones get Gaussian noise.

    A component of a vector gets noise of `severity` times half of the range that the panel commands
    of it anywhere, no-op included, and saturates at the ends of that range, as an actuator does. A
    button is pressed or let go of with the chance `severity`.
    """

    name, unit, severities, largest = "noisy-actions", "share", (0.1, 0.2, 0.4, 0.6, 0.8), 1.0

    def rewriter(self, panel: Panel, severity: float) -> tuple[Rewrite, dict[str, Any]]:
        """One or two draws a step whether used or not, so that harder rungs contain easier ones."""
        space = panel.contract.actions
        if space.kind == "continuous":
            return self._vectors(panel, severity)
        if len(space.names) < 2:
            raise ValueError(
                f"contract.actions.names: {self.name} needs two actions, got {list(space.names)}"
            )

        def rewrite(script: Script, rng: random.Random) -> Script:
            sent: Script = []
            for action in script:
                chance = rng.random()
                other = rng.choice([name for name in space.names if name != action])
                sent.append(other if chance < severity else action)
            return sent

        return rewrite, {}

    def _vectors(self, panel: Panel, severity: float) -> tuple[Rewrite, dict[str, Any]]:
        space, horizon = panel.contract.actions, panel.contract.horizon
        vectors = [] if space.noop is None else [space.noop]
        for scenario in panel.scenarios:
            for branch in scenario.scripts:
                vectors += branch.script(horizon, space)
        columns = [[float(v) for v in column] for column in zip(*vectors, strict=True)]
        low, high = [min(c) for c in columns], [max(c) for c in columns]
        units = space.units or ("number",) * len(space.names)
        if low == high and "button" not in units:
            raise ValueError(
                f"scenarios[].actions: {self.name} needs commands that differ anywhere, "
                f"got {low} only"
            )

        def rewrite(script: Script, rng: random.Random) -> Script:
            sent: Script = []
            for action in script:
                vector = []
                given = map(float, action)
                for value, unit, least, most in zip(given, units, low, high, strict=True):
                    chance, noise = rng.random(), rng.gauss(0, 1)
                    if unit == "button":
                        vector.append(1.0 - value if chance < severity else value)
                    else:
                        moved = value + severity * (most - least) / 2 * noise
                        vector.append(min(max(moved, least), most))
                sent.append(tuple(vector))
            return sent

        return rewrite, {"low": low, "high": high}
