"""What a stressor is: one way to make a panel harder, with a severity."""

from __future__ import annotations

import random
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from wmscore.manifest import Panel, Scenario

__all__ = ["Stressor", "script_random"]


@dataclass(frozen=True)
class Stressor(ABC):
    """One way to make a panel harder: a class to derive from, and to give to `run_ladder`.

    What a stressor does to the true world is told by the parameters that `change` returns, under
    the key `world`: "light" and "given" (see `wmscore.worlds.stressed_world`), "scripts" where the
    scripts are others, "start" where the initial state is another one, and no such key where the
    world's own answer stays (prompts, more steps).

    Class attributes:
        name: as in the manifest and the command line.
        unit: of the severity.
        severities: the ladder that is climbed by default, from mild to hard.
        largest: largest severity there is, or None.
        whole: severities are whole numbers.
        spoils_start: the given frame is another one.
        only_words: nothing changes but prompts.
    """

    name: ClassVar[str]
    unit: ClassVar[str]
    severities: ClassVar[tuple[float, ...]]
    largest: ClassVar[float | None] = None
    whole: ClassVar[bool] = False
    spoils_start: ClassVar[bool] = False
    only_words: ClassVar[bool] = False

    def apply(self, panel: Panel, severity: float, *, seed: int = 0) -> Panel:
        """The harder panel.

        What is drawn depends on `seed`, the scenario's id and the script's name, never on their
        place; and a harder rung contains what an easier one has drawn.

        Args:
            panel: a clean one.
            severity: above 0, in the stressor's unit.
            seed: of what is drawn.

        Returns:
            A panel with another name and fingerprint, whose `stress` says what was done.

        Raises:
            ValueError: the panel is stressed already, the severity is out of range, or this panel
                cannot be stressed in this way; says why.
        """
        if panel.stress is not None:
            raise ValueError(
                f"panel: {panel.name!r} is under the stress {panel.stress.stressor} already; "
                "stressors come one at a time, so give the clean panel"
            )
        severity = self.check_severity(severity)
        self.check_limit(panel, severity)
        data = panel.model_dump()
        parameters = self.change(panel, data, severity, seed)
        if self.spoils_start:
            for scenario in data["scenarios"]:
                scenario["initial_frame_sha256"] = None
        data["name"] = f"{panel.name}, {self.name} {severity:g}"
        data["stress"] = {
            "stressor": self.name,
            "severity": severity,
            "seed": seed,
            "parameters": parameters,
            "clean": panel.fingerprint,
        }
        try:
            return Panel.from_dict(data)
        except ValueError as error:
            raise ValueError(f"{self.name} {severity:g}: {error}") from None

    def suited(self, world: object) -> Stressor:
        """The same stressor, as `world` can show it best."""
        return self

    @abstractmethod
    def change(
        self, panel: Panel, data: dict[str, Any], severity: float, seed: int
    ) -> dict[str, Any]:
        """Change `data`, a dump of `panel`, and return the parameters of the stress."""

    def check_severity(self, severity: float) -> float:
        """The severity as a number; raises ValueError where it is out of range on any panel."""
        number = isinstance(severity, int | float) and not isinstance(severity, bool)
        most = sys.float_info.max if self.largest is None else self.largest
        if not number or not 0 < severity <= most or (self.whole and severity != int(severity)):
            kind = "a whole number" if self.whole else "a number"
            upto = "" if self.largest is None else f" and at most {self.largest:g}"
            raise ValueError(
                f"severity: {self.name} expects {kind} above 0{upto} ({self.unit}); "
                f"got {severity!r}. Severity 0 is the clean panel itself"
            )
        return float(severity)

    def limit(self, panel: Panel) -> tuple[float, str] | None:
        """The largest severity on this panel and what sets it, or None."""
        return None

    def check_limit(self, panel: Panel, severity: float) -> None:
        """Raise ValueError where the severity is beyond what this panel has room for."""
        limit = self.limit(panel)
        if limit is not None and severity > limit[0]:
            raise ValueError(
                f"severity: {self.name} expects at most {limit[0]:g} ({self.unit}) on this panel, "
                f"{limit[1]}; got {severity:g}"
            )


def script_random(seed: int, stressor: str, scenario: Scenario, script: str) -> random.Random:
    """The generator of what is drawn for one script."""
    return random.Random(f"{seed}/{stressor}/{scenario.id}/{script}")
