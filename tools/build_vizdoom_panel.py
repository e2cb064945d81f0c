"""Build the packaged demo panel `wmscore/panels/vizdoom.json`, and check what it promises.

    python tools/build_vizdoom_panel.py            # write it
    python tools/build_vizdoom_panel.py --check    # only compare with the packaged file

Two scenarios are named "...-leave-and-return": there, labelled objects of at least 16 pixels leave
the view for at least 3 steps and come back.
"""

from __future__ import annotations

import argparse
import itertools
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from wmscore.manifest import Panel
from wmscore.replay import render_truth
from wmscore.worlds.doom_game import ACTIONS
from wmscore.worlds.vizdoom import VizDoomWorld

PATH = Path(__file__).parents[1] / "wmscore" / "panels" / "vizdoom.json"
HORIZON = 32
PIXELS = 16  # an object with fewer is not counted as visible
WARMUP = ["noop", "noop"]  # in the first tics of an episode the player cannot move yet
AWAY = 3  # steps without a single pixel
# Between turns of one step: a late world has caught up before the next turn.
GLANCE = ("noop",) * 5


@dataclass(frozen=True)
class Spec:
    """A scenario: where it starts and what is commanded."""

    id: str
    scenario: str
    seed: int
    actions: tuple[str, ...]
    then: str = "hold"


SPECS = (
    Spec("medkits-leave-and-return", "health_gathering", 1, ("left",) * 13 + ("right",)),
    Spec("maze-leave-and-return", "health_gathering_supreme", 3, ("left",) * 12 + ("right",)),
    Spec("medkits-glance", "health_gathering", 2, ("right", *GLANCE), then="cycle"),
    Spec("monsters-glance", "defend_the_center", 5, ("right", *GLANCE), then="cycle"),
    Spec(
        "monsters-strafe-and-shoot",
        "defend_the_line",
        3,
        ("strafe_left",) * 4
        + ("attack",)
        + ("strafe_right",) * 8
        + ("attack",)
        + ("strafe_left",) * 4,
        then="cycle",
    ),
    Spec(
        "monsters-strafe",
        "take_cover",
        4,
        ("strafe_left",) * 8 + ("strafe_right",) * 16 + ("strafe_left",),
    ),
    Spec(
        "arena-walk",
        "deathmatch",
        2,
        ("forward",) * 10 + ("left",) * 4 + ("forward",) * 8 + ("right",),
    ),
    Spec("lone-monster-glance", "basic", 3, ("left", *GLANCE, "right", *GLANCE), then="cycle"),
)


def build() -> Panel:
    """The panel, without looking at a single frame."""
    axes = {"perceptual_drift": 0.6, "identity_persistence": 0.9, "action_response": 0.5}
    return Panel.from_dict(
        {
            "name": "vizdoom-demo",
            "contract": {
                "world": "vizdoom",
                "observation": {"height": 120, "width": 160, "fps": 8.75},
                "actions": {"kind": "discrete", "names": ACTIONS, "noop": "noop"},
                "reset": "vizdoom: set_seed, new_episode, then the warm-up actions of 4 tics each",
                "horizon": HORIZON,
                "versions": {"vizdoom": "1.3.2"},
            },
            "scenarios": [
                {
                    "id": spec.id,
                    "initial_state_id": f"{spec.scenario}/{spec.seed}",
                    "reset": {
                        "scenario": spec.scenario,
                        "seed": spec.seed,
                        "warmup": WARMUP,
                    },
                    "actions": spec.actions,
                    "then": spec.then,
                    "branches": [{"name": "noop", "actions": ["noop"], "then": "hold"}],
                }
                for spec in SPECS
            ],
            "seeds": [0, 1, 2, 3],
            "axes": [
                {"axis": axis, "threshold": threshold, "patience": 3}
                for axis, threshold in axes.items()
            ],
        }
    ).with_random_branches(1)


def returning(labels: Tensor) -> list[int]:
    """Labels of `[T+1, H, W]` that are visible, gone for `AWAY` frames, and visible again."""
    found = []
    for label in labels.unique().tolist():
        area = (labels == label).flatten(1).sum(1)
        seen = (area >= PIXELS).nonzero().flatten().tolist()
        gone = any(
            b - a > AWAY and not area[a + 1 : b].unfold(0, AWAY, 1).sum(1).all()
            for a, b in itertools.pairwise(seen)
        )
        if label and gone:
            found.append(label)
    return found


def report(panel: Panel) -> None:
    """Print what the panel shows, and refuse it if it does not keep its promises.

    Raises:
        ValueError: a frame is missing, a branch makes no difference, or too few objects show.
    """
    with VizDoomWorld() as world:
        truth = render_truth(panel, world)
    if truth.labels is None or not truth.valid.all():
        raise ValueError("panel: expected labels and all frames of all branches")
    labelled = 0
    for i, scenario in enumerate(panel.scenarios):
        rows = (truth.scenario == i).nonzero().flatten().tolist()
        frames, labels = truth.frames[rows].float(), truth.labels[rows]
        area = torch.stack(
            [(labels[0] == k).flatten(1).sum(1) for k in labels[0].unique()[1:]]
            or [torch.zeros(HORIZON + 1)]
        )
        visible = (area >= PIXELS).any(0).float().mean().item()
        back = returning(labels[0])
        apart = [(frames[0] - other).abs().mean((1, 2, 3))[1:5].max() for other in frames[1:]]
        labelled += visible >= 0.9
        print(
            f"{scenario.id:27} objects {len(labels[0].unique()) - 1:3}, visible in "
            f"{visible:4.0%} of the frames, {len(back):2} return; mean difference from branches "
            f"within 4 steps {', '.join(f'{x:.1f}' for x in apart)}"
        )
        if min(apart) < 2.0:
            raise ValueError(f"{scenario.id}: expected branches that differ within 4 steps")
        if "leave-and-return" in scenario.id and not back:
            raise ValueError(f"{scenario.id}: expected objects that leave and return, got none")
    if labelled < 6:
        raise ValueError(f"panel: expected objects nearly always in 6 scenarios, got {labelled}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    arguments = parser.parse_args()
    panel = build()
    report(panel)
    if not arguments.check:
        panel.save(PATH)
    elif Panel.load(PATH) != panel:
        raise SystemExit(f"{PATH} differs: {Panel.load(PATH).differences(panel)}")
    print(panel.fingerprint)


if __name__ == "__main__":
    main()
