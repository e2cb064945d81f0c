"""Which scenario a group or rollout belongs to, in metrics that join it over updates and ranks."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["OWN_SCENARIO", "scenario_numbers"]

OWN_SCENARIO = -1
"""Of a group that is a scenario by itself."""


def scenario_numbers(scenario: Tensor | None, groups: int, device: torch.device) -> Tensor:
    """`[G]` int64 on the device, `OWN_SCENARIO` without; for rollouts `[B]` likewise."""
    if scenario is None:
        return torch.full((groups,), OWN_SCENARIO, device=device)
    if not isinstance(scenario, Tensor) or scenario.dtype != torch.int64:
        kind = scenario.dtype if isinstance(scenario, Tensor) else type(scenario).__name__
        raise TypeError(f"scenario must be an int64 tensor, got {kind}")
    if scenario.shape != (groups,):
        raise ValueError(f"scenario must have shape [G] = ({groups},), got {tuple(scenario.shape)}")
    # Reading values is free on the CPU only; elsewhere it would stall the device.
    if scenario.device.type == "cpu" and bool((scenario < 0).any()):
        raise ValueError(f"scenario must be 0 or more, got {int(scenario.min())}")
    return scenario.to(device)
