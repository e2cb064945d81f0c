"""Write `wmscore/panels/returns.json`, sprites whose camera comes back. Same text on every run.

    python tools/build_returns_panel.py [--check]

Scenario seeds are the smallest ones whose references come back at the last step of the script.
"""

from __future__ import annotations

from pathlib import Path

from panel_file import write_or_check

from wmscore.manifest import Observation, Panel
from wmscore.replay import freeze_panel, panel_returns, render_truth
from wmscore.worlds import SpriteWorld

HORIZON = 24
PATH = Path(__file__).parents[1] / "wmscore" / "panels" / "returns.json"


def runs(*parts: tuple[str, int]) -> list[str]:
    """A script from (action, count) runs."""
    return [action for action, count in parts for _ in range(count)]


# The first half of each; the second is its inverse.
THERE_AND_BACK = {
    "returns-right": runs(("right", 12)),
    "returns-down": runs(("down", 12)),
    "returns-corner": runs(("left", 6), ("up", 6)),
    "returns-pause": runs(("right", 8), ("noop", 4)),
    "returns-stairs": runs(*(("left", 2), ("down", 2)) * 3),
}
# Closed without undoing each step; then the camera stays, so that more than one step tells.
LOOPS = {
    "returns-square": runs(("right", 5), ("down", 5), ("left", 5), ("up", 5)),
    "returns-eight": runs(
        *(("right", 3), ("down", 3), ("left", 3), ("up", 3)),
        *(("left", 2), ("up", 2), ("right", 2), ("down", 2)),
    ),
    "returns-shake": runs(*(("up", 3), ("down", 3)) * 4),
}


def build() -> Panel:
    """The panel, with its initial frames frozen."""
    taken: list[int] = []
    scenarios = []
    for name in THERE_AND_BACK | LOOPS:
        taken.append(next(s for s in range(200) if s not in taken and comes_back(name, s)))
        scenarios.append(scenario(name, taken[-1]))
    panel = assemble(scenarios)
    frozen, _ = freeze_panel(panel, render_truth(panel, SpriteWorld()), fps=10.0)
    return frozen


def scenario(name: str, seed: int) -> dict[str, object]:
    """One scenario: two objects, so that most of the picture is what comes back."""
    script = LOOPS.get(name)
    if script is None:
        there = Panel.from_dict(assembled([plain(name, THERE_AND_BACK[name], seed)]))
        script = list(map(str, there.with_there_and_back().scenarios[0].actions))
    return plain(name, script, seed)


def plain(name: str, script: list[str], seed: int) -> dict[str, object]:
    """A scenario with this script."""
    return {
        "id": name,
        "initial_state_id": f"returns-{seed}",
        "reset": {"seed": seed, "objects": 2},
        "actions": script,
        "then": "noop" if len(script) < HORIZON else None,
    }


def assembled(scenarios: list[dict[str, object]]) -> dict[str, object]:
    """The panel's data without frozen frames."""
    return {
        "name": "returns",
        "contract": {
            "world": "sprites",
            "observation": Observation(height=64, width=64, fps=10.0),
            "actions": {"names": ["noop", "left", "right", "up", "down"], "noop": "noop"},
            "horizon": HORIZON,
        },
        "scenarios": scenarios,
        "seeds": [0, 1],
        "axes": [
            {"axis": "reset_consistency", "threshold": 0.7},
            {"axis": "perceptual_drift", "threshold": 0.6, "gate": False},
        ],
    }


def assemble(scenarios: list[dict[str, object]]) -> Panel:
    """The panel without frozen frames."""
    return Panel.from_dict(assembled(scenarios))


def comes_back(name: str, seed: int) -> bool:
    """Whether the reference closes at its end, and at least at the patience of steps and one."""
    panel = assemble([scenario(name, seed)])
    (found,) = panel_returns(panel, render_truth(panel, SpriteWorld()))
    return len(found.steps) >= 4 and found.steps[-1] == HORIZON and found.to[-1] == 0


if __name__ == "__main__":
    write_or_check(PATH, build(), __doc__)
