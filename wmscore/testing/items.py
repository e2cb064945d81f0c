"""Ready-made items from the sprite world, to test models and metrics on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from wmscore.worlds.protocol import Item
from wmscore.worlds.sprites import SpriteWorld

__all__ = ["sprite_items"]

_NAMES = ("noop", "left", "right", "up", "down")


def sprite_items(
    scenarios: int = 2,
    horizon: int = 16,
    *,
    seeds: Sequence[int] = (0,),
    branches: int = 2,
    world: SpriteWorld | None = None,
    seed: int = 0,
) -> list[Item]:
    """Items of a small sprite panel, scenario-major, with frame 0 and its labels.

    Branch 0 is a uniformly random script, branch 1 the no-op script, the rest are random.

    Args:
        scenarios: number of initial states.
        horizon: number of actions in each script.
        seeds: seeds of every scenario.
        branches: scripts of every (scenario, seed).
        world: the world that shows frame 0; by default 64 x 64 on the CPU.
        seed: draws the scripts.

    Returns:
        `scenarios * len(seeds) * branches` items.
    """
    generator = torch.Generator().manual_seed(seed)
    items = []
    for scenario in range(scenarios):
        scripts = torch.randint(len(_NAMES), (branches, horizon), generator=generator)
        if branches > 1:
            scripts[1] = 0
        items += [
            Item(
                panel="sprite-items",
                scenario=scenario,
                scenario_id=f"sprites-{scenario}",
                initial_state_id=f"sprites-{scenario}",
                reset={"seed": scenario},
                seed=row_seed,
                branch=branch,
                actions=scripts[branch],
                action_names=_NAMES,
                noop=0,
            )
            for row_seed in seeds
            for branch in range(branches)
        ]
    first = (world or SpriteWorld()).stepper.reset(items)
    if first.labels is None:
        raise ValueError("world: expected one with labels")
    return [
        replace(item, frame=frame, labels=labels)
        for item, frame, labels in zip(items, first.frames.cpu(), first.labels.cpu(), strict=True)
    ]
