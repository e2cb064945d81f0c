"""What a stress draws: by its seed and the scenario, never by place in a batch."""

from __future__ import annotations

import hashlib
import math
import random

import torch

from wmscore.manifest import Stress
from wmscore.worlds.protocol import Item

__all__ = ["drawing_key", "parameter", "scenario_generator", "scenario_random"]


def drawing_key(stress: Stress) -> str:
    """What all that is drawn depends on, beside the scenario's id; the rung is none of it."""
    return f"{stress.seed}/{stress.stressor}"


def scenario_random(item: Item, stress: Stress) -> random.Random:
    """The generator of a scenario's choices; the same for all of its seeds, scripts and rungs."""
    return random.Random(f"{drawing_key(stress)}/{item.scenario_id}")


def scenario_generator(item: Item, stress: Stress) -> torch.Generator:
    """The same for tensors, on the host."""
    text = f"{drawing_key(stress)}/{item.scenario_id}".encode()
    seed = int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1
    return torch.Generator().manual_seed(seed)


def parameter(stress: Stress, name: str, low: float = -math.inf, high: float = math.inf) -> float:
    """A number among the parameters.

    Raises:
        ValueError: there is none of that name, or it is no number in `low`..`high`.
    """
    value = stress.parameters.get(name)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not low <= value <= high:  # type: ignore[operator]
        wanted = "a number" if low == -math.inf else f"a number in {low:g}..{high:g}"
        raise ValueError(f"stress.parameters[{name!r}]: expected {wanted}, got {value!r}")
    return float(value)  # type: ignore[arg-type]
