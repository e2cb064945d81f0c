"""A small sprite panel for tests."""

import random

from wmscore.manifest import Panel

NAMES = ["noop", "left", "right", "up", "down"]


def sprite_panel(
    scenarios: int = 2, seeds: int = 2, horizon: int = 12, size: int = 48, **changes: object
) -> Panel:
    """Random scripts, a no-op and a random branch each; every axis gated."""
    rng = random.Random(0)
    data = {
        "name": "test-sprites",
        "contract": {
            "world": "sprites",
            "observation": {"height": size, "width": size, "fps": 10},
            "actions": {"names": NAMES, "noop": "noop"},
            "horizon": horizon,
        },
        "scenarios": [
            {
                "id": f"scene-{i}",
                "initial_state_id": f"scene-{i}",
                "reset": {"seed": i},
                "actions": rng.choices(NAMES[1:], k=horizon),
                "branches": [{"name": "noop", "actions": ["noop"], "then": "hold"}],
            }
            for i in range(scenarios)
        ],
        "seeds": list(range(seeds)),
        "axes": [
            {"axis": "perceptual_drift", "threshold": 0.6},
            {"axis": "identity_persistence", "threshold": 0.9},
            {"axis": "action_response", "threshold": 0.5},
        ],
    }
    return Panel.from_dict({**data, **changes}).with_random_branches(1)
