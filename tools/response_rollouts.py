"""Stream counterfactual groups of rollouts, by the true world and by models with known faults.

    python tools/response_rollouts.py sprites-64 --scenarios 64    # how fast each model is

A group is one scenario: a commanded script, the no-op script and random scripts, all from one
initial state. The commanded script holds each action for a few steps or draws one for every step;
random scripts draw one for every step, uniformly from all actions, no-op included (Genie's
counterfactual, arXiv:2402.15391). The true world plays each script of a batch once, however many
models answer it.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from streaming import Factory, Setting, doom, make_item, sprites, stream

from wmscore.rollouts import Rollouts
from wmscore.testing import (
    DelayedActions,
    DroppedActions,
    Fault,
    Faulty,
    HalfGain,
    HalfSpeed,
    IgnoredActions,
    MirroredActions,
    NoisyActions,
    PermutedActions,
    ScaledActions,
    ShuffledScripts,
    StickyActions,
    TimeReversed,
)
from wmscore.worlds import ActionBlind, Frozen, Item, OtherSeed, WorldModel
from wmscore.worlds.vizdoom import VizDoomWorld

__all__ = ["SCRIPTS", "SETTINGS", "Known", "known_models", "response_items", "response_rollouts"]

HOLD = (2, 6)  # steps for which an action is held
SCRIPTS = ("held", "iid")
_WALK = ("left", "right", "forward", "back", "strafe_left", "strafe_right")
_NAMES = ("noop", *_WALK)
SETTINGS = {
    "sprites-64": sprites(64, pan=4),  # of which all gains are whole pixels
    "my_way_home": doom("my_way_home", _WALK, names=_NAMES),
    # The view only turns, so that one shift says all of its motion.
    "my_way_home-turns": doom("my_way_home", _WALK[:2], names=_NAMES[:3]),
    "health_gathering": doom("health_gathering", _WALK, names=_NAMES),
}
DELAYS = (1, 2, 3, 4, 5, 6)
GAINS = (0.25, 0.5, 0.75, 1.25, 1.5)
SHARES = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
IGNORED_FROM = 9


def response_items(
    setting: Setting, scenarios: Sequence[int], horizon: int, *, scripts: str, randoms: int
) -> list[Item]:
    """The groups of some scenarios, without frame 0; scenario `n` is the same in every call.

    Args:
        setting: where.
        scenarios: numbers, each an initial state with its scripts.
        horizon: steps.
        scripts: "held" or "iid", of branch 0. Branch 1 is no-op.
        randoms: number of random scripts, branches 2 and on.
    """
    if scripts not in SCRIPTS:
        raise ValueError(f"scripts: expected one of {list(SCRIPTS)}, got {scripts!r}")
    world, items = setting.reset.get("scenario", "sprites"), []
    for n in scenarios:
        rng = random.Random(f"response/{world}/{scripts}/{n}")
        commanded: list[str] = []
        while len(commanded) < horizon:
            hold = rng.randint(*HOLD) if scripts == "held" else 1
            commanded += [rng.choice(setting.moves)] * hold
        group = [commanded[:horizon], ["noop"] * horizon]
        group += [rng.choices(setting.moves, k=horizon) for _ in range(randoms)]
        items += [
            make_item(setting, f"response-{world}-{scripts}", n, branch, script)
            for branch, script in enumerate(group)
        ]
    return items


def response_rollouts(
    setting: Setting | str,
    models: Mapping[str, Factory],
    *,
    scenarios: Sequence[int],
    scripts: str = "held",
    randoms: int = 2,
    horizon: int = 32,
    batch_size: int = 8,
    world: WorldModel | None = None,
) -> Iterator[tuple[Rollouts, Iterator[tuple[str, Rollouts]]]]:
    """Roll out every model on every group, batch by batch and model by model.

    Args:
        setting: where, or its name in `SETTINGS`.
        models: name -> makes a model of the true world.
        scenarios: numbers, each a group.
        scripts: "held" or "iid", the commanded one.
        randoms: random scripts per group.
        horizon: steps.
        batch_size: scenarios at a time.
        world: the true world, if one is there already; it is left open.

    Yields:
        The true rollouts, all branches of a scenario side by side, and an iterator over the
        models' rollouts by name, with the truth as their reference. The iterator is to be used
        before the next batch.
    """
    setting = SETTINGS[setting] if isinstance(setting, str) else setting
    true = world or setting.make()
    batches = (
        response_items(
            setting, scenarios[i : i + batch_size], horizon, scripts=scripts, randoms=randoms
        )
        for i in range(0, len(scenarios), batch_size)
    )
    try:
        yield from stream(batches, models, true, horizon)
    finally:
        if world is None and isinstance(true, VizDoomWorld):
            true.close()


@dataclass(frozen=True)
class Known:
    """A model, and what is known about its response.

    Attributes:
        make: makes it of the true world.
        kind: what a study does with it: "truth" (responds as the reference), "floor" (does not
            respond, or not to its own command), "delay", "gain", "noise" (in `value` steps,
            times, share), "wrong" (responds otherwise), or "other".
        value: the strength.
    """

    make: Factory
    kind: str
    value: float = 0.0


def known_models(horizon: int = 32) -> dict[str, Known]:
    """All models with a known response, by name; those that need a longer horizon are left out."""

    def broken(fault: Fault, kind: str, value: float = 0.0) -> Known:
        return Known(lambda world: Faulty(world, fault), kind, value)

    models = {
        "truth": Known(lambda world: world, "truth"),
        "other-seed": Known(OtherSeed, "truth"),
        "frozen": Known(Frozen, "floor"),
        "action-blind": Known(ActionBlind, "floor"),
        "shuffled": broken(ShuffledScripts(derange=False), "floor"),
        "deranged": broken(ShuffledScripts(), "wrong"),
        "mirrored": broken(MirroredActions(), "wrong"),
        "permuted": broken(PermutedActions(), "wrong"),
        "half-speed": broken(HalfSpeed(), "wrong"),
        "time-reversed": broken(TimeReversed(), "wrong"),
        "half-gain": broken(HalfGain(), "other", 0.5),
        "sticky-0.25": broken(StickyActions(0.25), "other", 0.25),
        "dropped-0.5": broken(DroppedActions(0.5), "other", 0.5),
    }
    if horizon >= IGNORED_FROM:
        models["ignored"] = broken(IgnoredActions(step=IGNORED_FROM), "other", IGNORED_FROM)
    models |= {f"delay-{d}": broken(DelayedActions(d), "delay", d) for d in DELAYS if d < horizon}
    models |= {f"gain-{g:g}": broken(ScaledActions(g), "gain", g) for g in GAINS}
    models |= {f"noisy-{s:g}": broken(NoisyActions(s), "noise", s) for s in SHARES}
    return models


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("setting", choices=list(SETTINGS))
    parser.add_argument("--scenarios", type=int, default=64)
    parser.add_argument("--scripts", choices=SCRIPTS, default="held")
    parser.add_argument("--randoms", type=int, default=2)
    parser.add_argument("--horizon", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=8)
    options = parser.parse_args()
    models = known_models(options.horizon)
    seconds = dict.fromkeys(["", *models], 0.0)
    rows = ended = 0
    last = time.perf_counter()
    for truth, answers in response_rollouts(
        options.setting,
        {name: known.make for name, known in models.items()},
        scenarios=range(options.scenarios),
        scripts=options.scripts,
        randoms=options.randoms,
        horizon=options.horizon,
        batch_size=options.batch_size,
    ):
        now = time.perf_counter()
        seconds[""], last = seconds[""] + now - last, now
        rows, ended = rows + len(truth), ended + int((~truth.valid[:, -1]).sum())
        for name, _ in answers:
            now = time.perf_counter()
            seconds[name], last = seconds[name] + now - last, now
    print(f"{rows} rollouts per model, {rows // options.scenarios} to a group, {ended} end early")
    for name, took in seconds.items():
        rate = rows / took
        what = name or "playing the truth"
        print(f"{what:20} {rate:8.0f} rollouts/s {rate * options.horizon:9.0f} frames/s")
    total = sum(seconds.values())
    print(f"{'all':20} {rows * len(models) / total:8.0f} rollouts/s, {total:.1f} s")


if __name__ == "__main__":
    main()
