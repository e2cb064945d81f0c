"""A start elsewhere: some drawn actions come before the given frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from wmscore.manifest import Stress
from wmscore.rollouts import Rollouts
from wmscore.worlds.protocol import Item, WorldModel
from wmscore.worlds.step import stack_actions
from wmscore.worlds.stressed.drawing import parameter, scenario_random

__all__ = ["start_elsewhere"]

_PER_TIME = ("frames", "labels", "valid", "latents")


def start_elsewhere(
    world: WorldModel, items: Sequence[Item], horizon: int, stress: Stress
) -> Rollouts:
    """Roll out with `steps` drawn actions before frame 0; the same ones for all rows of a scenario.

    Raises:
        ValueError: actions are not discrete, there is only one, or an episode ends in those steps.
    """
    steps = int(parameter(stress, "steps"))
    longer = [
        replace(item, actions=torch.cat([_drawn(item, steps, stress), item.actions]))
        for item in items
    ]
    truth = world.rollout(longer, horizon + steps)
    if not bool(truth.valid[:, : steps + 1].all()):
        ids = sorted(
            {i.scenario_id for i, v in zip(items, truth.valid[:, steps], strict=True) if not v}
        )
        raise ValueError(
            f"stress: {stress.stressor} {stress.severity:g}: the episodes of {ids} end before "
            "their first frame"
        )
    cut = {
        name: value[:, steps:] for name in _PER_TIME if (value := getattr(truth, name)) is not None
    }
    actions = stack_actions(items, horizon).to(truth.actions.device)
    return replace(truth, actions=actions, **cut)


def _drawn(item: Item, steps: int, stress: Stress) -> Tensor:
    if item.actions.is_floating_point():
        raise ValueError(f"stress: {stress.stressor} needs discrete actions, got continuous ones")
    moves = [i for i in range(len(item.action_names)) if i != item.noop]
    if not moves:
        raise ValueError(f"stress: {stress.stressor} needs an action besides no-op, got none")
    rng = scenario_random(item, stress)
    # One choice after the other, so that fewer steps are the end of more.
    chosen = [rng.choice(moves) for _ in range(steps)]
    return item.actions.new_tensor(chosen[::-1])
