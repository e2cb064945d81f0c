"""Score models of graded faults on a wider demo panel, for the study of ranking stability.

    python tools/ranking_rollouts.py vizdoom --out /tmp/ranking-vizdoom     # half an hour
    python tools/ranking_rollouts.py sprites --out /tmp/ranking-sprites

The panel has the packaged one's scenarios first, then each of its scripts again from other initial
states. The faults draw anew for every seed, so that two seeds differ as two samples of a generative
model do. A model whose file is there already is left out, so that a broken run goes on.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from build_sprites_panel import shows

from wmscore.manifest import Panel
from wmscore.replay import freeze_panel, render_truth, replay
from wmscore.scorer import Scorer
from wmscore.testing import DroppedActions, Faulty, NoisyActions, StickyActions
from wmscore.worlds import OtherSeed, WorldModel
from wmscore.worlds.load import load_world

__all__ = ["FAMILIES", "ranking_models", "score_models", "wide_panel"]

STATES = 4  # initial states of each script
SEEDS = 16
# Of each kind the known order: a larger share breaks more of the same actions.
FAMILIES = {
    "noisy-actions": (0.02, 0.05, 0.1, 0.2),
    "dropped-actions": (0.05, 0.1, 0.2),
    "sticky-actions": (0.1, 0.2, 0.4),
}
_FAULTS: dict[str, Callable[[float], NoisyActions | DroppedActions | StickyActions]] = {
    "noisy-actions": NoisyActions,
    "dropped-actions": DroppedActions,
    "sticky-actions": StickyActions,
}


def ranking_models(world: WorldModel) -> list[WorldModel]:
    """The world's other seed, and every fault at every share."""
    broken = [Faulty(world, _FAULTS[k](s)) for k, shares in FAMILIES.items() for s in shares]
    return [OtherSeed(world), *broken]


def wide_panel(name: str, states: int = STATES, seeds: int = SEEDS) -> Panel:
    """The packaged panel with further initial states for each script, and with more seeds."""
    panel = Panel.packaged(name)
    data = panel.model_dump(mode="json", exclude_none=True)
    first = data["scenarios"]
    for scenario in first:
        scenario.pop("initial_frame_sha256", None)
        scenario["branches"] = [b for b in scenario["branches"] if b["name"] == "noop"]
    found = _other_sprites if name == "sprites" else _other_dooms
    more = found(panel, first, states - 1)
    data |= {"name": f"{name}-wide", "scenarios": [*first, *more], "seeds": list(range(seeds))}
    return Panel.from_dict(data).with_random_branches(1)


def _other_sprites(panel: Panel, first: list[dict], count: int) -> Iterator[dict]:
    """Initial states that show what the script is for, as the packaged panel's are chosen."""
    taken = {scenario["reset"]["seed"] for scenario in first}
    for n in range(count):
        for scenario in first:
            seed = next(s for s in range(2000) if s not in taken and shows(scenario["id"], s))
            taken.add(seed)
            yield _started(scenario, n, seed, f"sprites-{seed}")


def _other_dooms(panel: Panel, first: list[dict], count: int) -> Iterator[dict]:
    """Initial states in which the player lives to the end, whatever the branch."""
    world = load_world(panel)
    for n in range(count):
        for scenario in first:
            where = scenario["reset"]["scenario"]
            for seed in range(100 * (n + 1), 100 * (n + 2)):
                other = _started(scenario, n, seed, f"{where}/{seed}")
                one = panel.model_dump(mode="json", exclude_none=True) | {"scenarios": [other]}
                truth = render_truth(Panel.from_dict(one).with_random_branches(1), world)
                if bool(truth.valid.all()):
                    break
            yield other


def _started(scenario: dict, number: int, seed: int, state: str) -> dict:
    return {
        **scenario,
        "id": f"{scenario['id']}-{number + 2}",
        "initial_state_id": state,
        "reset": {**scenario["reset"], "seed": seed},
    }


def score_models(panel: Panel, out: Path, *, batch_size: int = 8) -> None:
    """Replay and score every model of `ranking_models` whose file is not in `out` yet."""
    out.mkdir(parents=True, exist_ok=True)
    world = load_world(panel)
    truth = render_truth(panel, world, batch_size=batch_size)
    panel, truth = freeze_panel(panel, truth, fps=world.capabilities.fps)
    for model in ranking_models(world):
        path = out / f"{model.name}.safetensors"
        if path.exists():
            continue
        start, scorer = time.perf_counter(), Scorer(panel)
        for rollouts in replay(panel, model, truth, batch_size=batch_size):
            scorer.update(rollouts)
        scores = scorer.compute()
        scores.save(path)
        mean = scores.horizon.steps.double().mean()
        took = time.perf_counter() - start
        print(f"{model.name}: mean horizon {mean:.2f}, {took:.0f} s", file=sys.stderr, flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("panel", choices=["sprites", "vizdoom"])
    parser.add_argument("--out", type=Path, required=True, help="folder of scores")
    parser.add_argument("--states", type=int, default=STATES)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    options = parser.parse_args()
    panel = wide_panel(options.panel, options.states, options.seeds)
    score_models(panel, options.out)


if __name__ == "__main__":
    main()
