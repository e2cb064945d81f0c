"""Causes of failures of black boxes: VizDoom with known faults, and nothing to look into.

    python tools/attribution_blackbox.py --out docs/attribution-blackbox.json

No reconstructions, no one-step predictions, no latents: only frames, and a true world that can be
asked. Then evaluation and control can be told; everything else must be left undetermined. A fault
whose frames are those of the true world under other actions is one of control, whatever made it.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path
from typing import Any

from wmscore.attribution import CAUSES, decide, evaluation_signal, outcome_of
from wmscore.files import atomic_file
from wmscore.manifest import Panel
from wmscore.replay import examine, freeze_panel, render_truth
from wmscore.testing import (
    Blur,
    ColourDrift,
    DelayedActions,
    DroppedActions,
    Fault,
    Faulty,
    HalfSpeed,
    IgnoredActions,
    MirroredActions,
    NanFrame,
    PermutedActions,
    ResetMismatch,
    ShortRollout,
    TimeReversed,
)
from wmscore.worlds.doom_game import ACTIONS
from wmscore.worlds.vizdoom import VizDoomWorld

HORIZON = 12
WORLDS = ("health_gathering", "my_way_home", "defend_the_center")
MOVES = ("noop", "left", "right", "forward", "strafe_left", "strafe_right")
# Fault -> what a verdict may say besides "undetermined".
FAULTS: dict[str, tuple[Fault, str]] = {
    "nan-frame": (NanFrame(step=4), "evaluation"),
    "short-rollout": (ShortRollout(step=6), "evaluation"),
    "reset-mismatch": (ResetMismatch(), "evaluation"),
    "delay-2": (DelayedActions(2), "control"),
    "mirrored": (MirroredActions(), "control"),
    "permuted": (PermutedActions(), "control"),
    "dropped": (DroppedActions(0.5), "control"),
    "ignored": (IgnoredActions(step=3), "control"),
    "blur": (Blur(step=3), ""),
    "colour-drift": (ColourDrift(step=1), ""),
    "half-speed": (HalfSpeed(), ""),
    "time-reversed": (TimeReversed(), ""),
}


def blackbox_panel(count: int) -> Panel:
    """Scenarios with scripts of chance moves that are held for two or three steps."""
    scenarios = []
    for i in range(count):
        rng = random.Random(f"blackbox/{i}")
        script: list[str] = []
        while len(script) < HORIZON:
            script += [rng.choice(MOVES[1:])] * rng.choice((2, 3))
        scenarios.append(
            {
                "id": f"blackbox-{i}",
                "initial_state_id": f"blackbox-{i}",
                "reset": {
                    "scenario": WORLDS[i % len(WORLDS)],
                    "seed": 100 + i,
                    "warmup": ["noop", "noop"],
                },
                "actions": script[:HORIZON],
            }
        )
    return Panel.from_dict(
        {
            "name": "attribution-blackbox",
            "contract": {
                "world": "vizdoom",
                "observation": {"height": 120, "width": 160, "fps": 8.75},
                "actions": {"names": list(ACTIONS), "noop": "noop"},
                "horizon": HORIZON,
            },
            "scenarios": scenarios,
            "axes": [{"axis": "perceptual_drift", "threshold": 0.6, "patience": 2}],
        }
    )


def run(out: Path, count: int) -> None:
    """All faults; each with and without the true world to ask."""
    begin = time.time()
    with VizDoomWorld(workers=1) as world:
        panel = blackbox_panel(count)
        panel, truth = freeze_panel(panel, render_truth(panel, world), fps=8.75)
        records: list[dict[str, Any]] = []
        for name, (fault, named) in {"none": (None, "none"), **FAULTS}.items():
            model = world if fault is None else Faulty(world, fault)
            found = examine(panel, model, world, truth, batch_size=10)
            scores = found.results[0]
            outcome = outcome_of(scores)
            alone = decide(outcome, {"evaluation": evaluation_signal(scores, None)})
            record = {
                "fault": name,
                "named": named,
                "rollouts": len(scores),
                "failed": int((outcome.failed | (scores.fault != 0)).sum()),
                "causes": found.diagnosis.rows,
                "without_true_world": alone.counts(),
            }
            assert set(record["causes"]) <= set(CAUSES)
            print(f"{time.time() - begin:.0f} s", record, flush=True)
            records.append(record)
    data = {"horizon": HORIZON, "likeness": 0.7, "records": records}
    with atomic_file(out) as draft:
        draft.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=60, help="rollouts per fault")
    args = parser.parse_args()
    run(args.out, args.count)


if __name__ == "__main__":
    main()
