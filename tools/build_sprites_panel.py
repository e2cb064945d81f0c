"""Write `wmscore/panels/sprites.json`, the panel of the sprite world. Same text on every run.

    python tools/build_sprites_panel.py [--check]

Scenario seeds are the smallest ones whose rollouts show what the scenario is for.
"""

from __future__ import annotations

from pathlib import Path

import torch
from panel_file import write_or_check
from torch import Tensor

from wmscore.manifest import Observation, Panel
from wmscore.replay import freeze_panel, panel_items, render_truth
from wmscore.worlds import SpriteWorld

HORIZON = 32
VISIBLE = 40  # pixels from which on an object counts as visible
PATH = Path(__file__).parents[1] / "wmscore" / "panels" / "sprites.json"


def runs(*parts: tuple[str, int]) -> list[str]:
    """A script of `HORIZON` actions from (action, count) runs, filled up with no-op."""
    script = [action for action, count in parts for _ in range(count)]
    return (script + ["noop"] * HORIZON)[:HORIZON]


SCRIPTS = {
    "sprites-leave-and-return-right": runs(("right", 11), ("noop", 3), ("left", 11)),
    "sprites-leave-and-return-down": runs(("down", 11), ("noop", 3), ("up", 11)),
    "sprites-look-around": runs(("right", 6), ("down", 6), ("left", 12), ("up", 6)),
    "sprites-pan-right-slowly": runs(*(("right", 1), ("noop", 2)) * 11),
    "sprites-shake": runs(*(("left", 2), ("right", 2)) * 8),
    "sprites-diagonal": runs(*(("left", 1), ("up", 1)) * 7, *(("right", 1), ("down", 1)) * 7),
    "sprites-late-start": runs(("noop", 12), ("left", 8), ("down", 6)),
    "sprites-figure-eight": runs(
        *(("right", 4), ("down", 4), ("left", 4), ("up", 4)),
        *(("left", 4), ("up", 4), ("right", 4), ("down", 4)),
    ),
}


def build() -> Panel:
    """The panel, with its initial frames frozen."""
    taken: list[int] = []
    scenarios = []
    for name in SCRIPTS:
        taken.append(next(s for s in range(200) if s not in taken and shows(name, s)))
        scenarios.append(scenario(name, taken[-1]))
    panel = assemble(scenarios)
    frozen, _ = freeze_panel(panel, render_truth(panel, SpriteWorld()), fps=10.0)
    return frozen


def scenario(name: str, seed: int) -> dict[str, object]:
    """One scenario with its no-op branch."""
    return {
        "id": name,
        "initial_state_id": f"sprites-{seed}",
        "reset": {"seed": seed},
        "actions": SCRIPTS[name],
        "branches": [{"name": "noop", "actions": ["noop"] * HORIZON}],
    }


def assemble(scenarios: list[dict[str, object]]) -> Panel:
    """The panel without frozen frames."""
    return Panel.from_dict(
        {
            "name": "sprites",
            "contract": {
                "world": "sprites",
                "observation": Observation(height=64, width=64, fps=10.0),
                "actions": {"names": ["noop", "left", "right", "up", "down"], "noop": "noop"},
                "horizon": HORIZON,
            },
            "scenarios": scenarios,
            "seeds": [0, 1, 2, 3],
            "axes": [
                {"axis": "perceptual_drift", "threshold": 0.6},
                {"axis": "identity_persistence", "threshold": 0.9},
                {"axis": "action_response", "threshold": 0.5},
            ],
        }
    ).with_random_branches(1)


def shows(name: str, seed: int) -> bool:
    """Whether this seed shows at least three objects in most steps, and what the name says."""
    panel = assemble([scenario(name, seed)])
    rollouts = SpriteWorld().rollout(panel_items(panel, [(0, 0)]), HORIZON)
    labels = rollouts.labels
    assert labels is not None
    area = torch.stack([(labels == i).flatten(2).sum(2) for i in range(1, 6)], dim=2)
    visible = area >= VISIBLE
    if not bool((visible[0].sum(1) >= 3).float().mean() >= 0.75 and visible[:, 0].all()):
        return False
    return "leave-and-return" not in name or int(returning(area).sum()) >= 2


def returning(area: Tensor) -> Tensor:
    """Objects that leave by the camera's motion and return: `[branches, T+1, N]` to `[N]`.

    Visible at first and in the last four steps, gone for at least four steps, and visible all the
    while to the camera that stays.
    """
    commanded, still = area[0], area[1]
    back = (commanded[-4:] >= VISIBLE).all(0)
    gone = (commanded == 0).int().unfold(0, 4, 1).sum(-1).amax(0) == 4
    return (commanded[0] >= VISIBLE) & back & gone & (still >= 16).all(0)


if __name__ == "__main__":
    write_or_check(PATH, build(), __doc__)
