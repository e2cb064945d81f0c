"""How often the references of a panel come back to what they showed before."""

from __future__ import annotations

from dataclasses import dataclass

from wmscore import functional as F
from wmscore.manifest import Panel
from wmscore.replay.items import fingerprint_of
from wmscore.rollouts import Rollouts

__all__ = ["ScenarioReturns", "describe_returns", "panel_returns"]


@dataclass(frozen=True, kw_only=True)
class ScenarioReturns:
    """The returns of one scenario's commanded reference.

    Attributes:
        scenario: its id.
        steps: the steps at which it shows again what it showed before.
        to: the earlier frame of each, 0 = the given one.
        share: of what had changed, how much is back, mean over these steps; NaN without any.
        departure: how far it had left, mean likewise, in data ranges.
    """

    scenario: str
    steps: tuple[int, ...]
    to: tuple[int, ...]
    share: float
    departure: float


def panel_returns(panel: Panel, truth: Rollouts) -> list[ScenarioReturns]:
    """What the axis reset_consistency has to judge in each scenario, in the panel's order.

    Args:
        panel: the contract.
        truth: from `render_truth` on the same panel.

    Raises:
        ValueError: the truth is of another panel, or lacks a scenario.

    Example:
        >>> from wmscore.replay import render_truth
        >>> from wmscore.worlds import load_world
        >>> panel = Panel.packaged("returns")
        >>> found = panel_returns(panel, render_truth(panel, load_world(panel)))
        >>> found[0].steps[-1], found[0].to[-1]
        (24, 0)
    """
    if truth.panel != fingerprint_of(panel):
        raise ValueError(
            f"truth: expected rollouts of panel {fingerprint_of(panel)[:12]}, "
            f"got {truth.panel[:12]}"
        )
    keys = zip(truth.scenario.tolist(), truth.branch.tolist(), strict=True)
    place = {scenario: row for row, (scenario, branch) in enumerate(keys) if branch == 0}
    found = []
    for s, scenario in enumerate(panel.scenarios):  # one at a time: memory does not grow with them
        if s not in place:
            raise ValueError(f"truth: expected scenario {scenario.id!r}, which is not there")
        row = slice(place[s], place[s] + 1)
        returns = F.returns_of(truth.frames[row], valid=truth.valid[row])
        back = returns.to[0] >= 0
        found.append(
            ScenarioReturns(
                scenario=scenario.id,
                steps=tuple((back.nonzero()[:, 0] + 1).tolist()),
                to=tuple(returns.to[0][back].tolist()),
                share=float(returns.share[0].nanmean()),
                departure=float(returns.departure[0].nanmean()),
            )
        )
    return found


def describe_returns(found: list[ScenarioReturns]) -> list[str]:
    """How many returns there are, in sentences; names the scenarios that have none."""
    without = [each.scenario for each in found if not each.steps]
    counts = sorted(len(each.steps) for each in found if each.steps)
    lines = []
    if counts:
        span = f"{counts[0]}" if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"
        lines.append(
            f"In {len(counts)} of {len(found)} scenarios the reference comes back to what it "
            f"showed before, at {span} steps."
        )
    if without:
        some = ", ".join(without[:5]) + (", ..." if len(without) > 5 else "")
        lines.append(
            f"In {len(without)} it never does, so that reset_consistency is undefined: {some}."
        )
    return lines
