"""Stream thousands of labelled rollouts, clean, faulty and disturbed, beside their reference.

    python tools/identity_rollouts.py sprites-64 --scenarios 256    # how fast, and what is feasible

Each scenario is an initial state of its own with a drawn script: an action is held for a few steps,
then the next. Every second script goes away and comes back by the same way, so that objects leave
and return. The true world plays each batch once, however many models answer it.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import torch
from streaming import Factory, Setting, doom, make_item, sprites, stream
from torch import Tensor

from wmscore.rollouts import Rollouts
from wmscore.testing import (
    Duplicate,
    Faulty,
    IdentitySwap,
    Merge,
    Morph,
    Reentry,
    Spawn,
    Split,
    Vanish,
)
from wmscore.testing.disturbances import Disturbed, Gain, Jitter, Jpeg
from wmscore.worlds import Item, WorldModel
from wmscore.worlds.vizdoom import VizDoomWorld

HOLD = (2, 6)  # steps for which an action is held
FAINT = 10  # levels; a fault that changes less is hardly seen in the pixels
AWAY = (7, 12)  # steps that a script goes away for, before it comes back


_WALK = ("left", "right", "forward", "back")
_STRAFE = ("strafe_left", "strafe_right")
SETTINGS = {
    "sprites-64": sprites(64),
    "sprites-96": sprites(96),
    "health_gathering": doom("health_gathering", _WALK),
    # Monsters come nearer with time: few are large before.
    "defend_the_center": doom("defend_the_center", ("left", "right", "attack"), warmup=24),
    "defend_the_line": doom("defend_the_line", ("left", "right", "attack", *_STRAFE)),
    "deathmatch": doom("deathmatch", (*_WALK, *_STRAFE)),
    # Things are far away: four times the pixels make them large enough to judge.
    "deathmatch-240": doom("deathmatch", (*_WALK, *_STRAFE), (240, 320)),
}


def identity_items(
    setting: Setting, scenarios: Sequence[int], horizon: int, *, branches: int = 1
) -> list[Item]:
    """One row per scenario and branch, without frame 0; scenario `n` is the same in every call.

    Branch 0 is the drawn script, branch 1 no-op, further ones are drawn.
    """
    items = []
    for n in scenarios:
        rng = random.Random(f"identity/{setting.reset.get('scenario', 'sprites')}/{n}")
        for branch in range(branches):
            names = ["noop"] * horizon
            if branch != 1:
                names = _script(setting, rng, horizon, back=n % 2 == 1)
            items.append(make_item(setting, "identity-rollouts", n, branch, names))
    return items


def _script(setting: Setting, rng: random.Random, horizon: int, *, back: bool) -> list[str]:
    names: list[str] = []
    while len(names) < horizon:
        if back:
            away, home = rng.choice(setting.there_and_back)
            steps = rng.randint(*AWAY)
            names += [away] * steps + [home] * steps
        else:
            names += [rng.choice(setting.moves)] * rng.randint(*HOLD)
    return names[:horizon]


def identity_rollouts(
    setting: Setting | str,
    models: Mapping[str, Factory],
    *,
    scenarios: Sequence[int],
    horizon: int = 32,
    batch_size: int = 16,
    branches: int = 1,
    world: WorldModel | None = None,
) -> Iterator[tuple[Rollouts, dict[str, Rollouts]]]:
    """Roll out every model on every scenario, batch by batch.

    Args:
        setting: where, or its name in `SETTINGS`.
        models: name -> makes a model of the true world, which may ask it again; what asks for
            the same items is answered without playing them again.
        scenarios: numbers, each an initial state with its script.
        horizon: steps.
        batch_size: scenarios at a time.
        branches: scripts per scenario.
        world: the true world, if one is there already; it is left open.

    Yields:
        The true rollouts, and those of every model by name, with the truth as their reference.
    """
    setting = SETTINGS[setting] if isinstance(setting, str) else setting
    true = world or setting.make()
    batches = (
        identity_items(setting, scenarios[i : i + batch_size], horizon, branches=branches)
        for i in range(0, len(scenarios), batch_size)
    )
    try:
        for truth, answers in stream(batches, models, true, horizon):
            yield truth, dict(answers)
    finally:
        if world is None and isinstance(true, VizDoomWorld):
            true.close()


def fault_contrast(rollouts: Rollouts) -> Tensor:
    """How much of an object fault is to be seen at its first step, `[B]` in levels of 0..255.

    The mean absolute difference from the reference over the pixels whose colour or label differs;
    NaN where there is no fault. Near 0 the fault is in the labels alone, and nothing that looks at
    pixels can find it. The reverse does not hold: two equal medikits that are swapped still change
    by some 35 levels, along their edges, and are who they were to every eye.
    """
    step = rollouts.info["fault_step"]
    if rollouts.reference is None or rollouts.reference_index is None:
        raise ValueError("rollouts: expected a reference, got none")
    row, there = torch.arange(len(rollouts)), rollouts.reference_index
    gap = rollouts.frames[row, step].short() - rollouts.reference[there, step].short()
    gap = gap.abs().double().mean(1)
    changed = gap > 0
    if rollouts.labels is not None and rollouts.reference_labels is not None:
        changed |= rollouts.labels[row, step] != rollouts.reference_labels[there, step]
    mean = (gap * changed).flatten(1).sum(1) / changed.flatten(1).sum(1)
    return torch.where(step > 0, mean, torch.nan)


FAULTS: dict[str, Factory] = {
    fault.name: (lambda world, fault=fault: Faulty(world, fault))  # type: ignore[misc]
    for fault in (
        IdentitySwap(),
        Vanish(),
        Duplicate(),
        Morph(),
        Morph(keep_label=True),
        Reentry(),
        Merge(),
        Split(),
        Spawn(),
    )
}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("setting", choices=list(SETTINGS))
    parser.add_argument("--scenarios", type=int, default=64)
    parser.add_argument("--horizon", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=16)
    arguments = parser.parse_args()
    disturbed: dict[str, Factory] = {
        "clean": lambda world: world,
        "gain": lambda world: Disturbed(world, Gain(0.85)),
        "jitter": lambda world: Disturbed(world, Jitter(1)),
        "jpeg": lambda world: Disturbed(world, Jpeg(50)),
    }
    number, horizon = arguments.scenarios, arguments.horizon
    seconds: Counter[str] = Counter()
    contrast: dict[str, list[float]] = {name: [] for name in FAULTS}
    ended, objects = 0, []
    start = time.perf_counter()
    for truth, rollouts in identity_rollouts(
        arguments.setting,
        {name: _timed(name, make, seconds) for name, make in {**disturbed, **FAULTS}.items()},
        scenarios=range(number),
        horizon=horizon,
        batch_size=arguments.batch_size,
    ):
        ended += int((~truth.valid[:, -1]).sum())
        if truth.labels is not None:
            objects += [len(labels.unique()) - 1 for labels in truth.labels[:, 0]]
        for name in FAULTS:
            contrast[name] += fault_contrast(rollouts[name]).tolist()
    rest = time.perf_counter() - start - seconds.total()
    print(f"objects in frame 0: {min(objects)}..{max(objects)}; {ended} of {number} end early")
    print(f"{'truth':20} {number * horizon / rest:8.0f} frames/s")
    for name, took in seconds.items():
        line = f"{name:20} {number * horizon / took:8.0f} frames/s on top of the truth"
        if name in FAULTS:
            seen = sorted(value for value in contrast[name] if value == value)
            line += f", {len(seen)} of {number} rows are faulty"
            if seen:
                faint = sum(value < FAINT for value in seen)
                line += f", {faint} of them below {FAINT} levels, median {seen[len(seen) // 2]:.0f}"
        print(line)


def _timed(name: str, make: Factory, seconds: Counter[str]) -> Factory:
    """Count how long a model takes on top of the world, which has played already."""

    def made(world: WorldModel) -> WorldModel:
        model = make(world)
        inner = model.rollout

        class Timed:
            name, capabilities = model.name, model.capabilities

            def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
                start = time.perf_counter()
                rollouts = inner(items, horizon)
                seconds[label] += time.perf_counter() - start
                return rollouts

        label = name
        return Timed()

    return made


if __name__ == "__main__":
    main()
