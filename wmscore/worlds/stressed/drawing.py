"""What a stress draws: by its seed and the scenario, never by place in a batch."""

from __future__ import annotations

import hashlib
import random

import torch
from torch import Tensor

from wmscore.manifest import Stress
from wmscore.worlds.protocol import Item

__all__ = ["parameter", "scenario_generator", "scenario_random"]


def scenario_random(item: Item, stress: Stress) -> random.Random:
    """The generator of a scenario's choices; the same for all of its seeds, scripts and rungs."""
    return random.Random(f"{stress.seed}/{stress.stressor}/{item.scenario_id}")


def scenario_generator(item: Item, stress: Stress) -> torch.Generator:
    """The same for tensors, on the host."""
    text = f"{stress.seed}/{stress.stressor}/{item.scenario_id}".encode()
    seed = int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1
    return torch.Generator().manual_seed(seed)


def parameter(stress: Stress, name: str) -> float:
    """A number among the parameters.

    Raises:
        ValueError: there is none of that name, or it is no number.
    """
    value = stress.parameters.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"stress.parameters[{name!r}]: expected a number, got {value!r}")
    return float(value)


def per_item(values: list[float], like: Tensor) -> Tensor:
    """`[B]` float32 on the device of `like`."""
    return torch.tensor(values, dtype=torch.float32).to(like.device)
