"""Checks of steps of rollouts: features, actions, scenarios, and which steps count."""

from __future__ import annotations

import torch
from torch import Tensor

from wmscore.functional._check import check_mask, check_tensor, check_vectors

__all__ = [
    "check_action_ids",
    "check_action_vectors",
    "check_features",
    "check_groups",
    "kept_steps",
]


def check_features(name: str, features: Tensor) -> None:
    """Floating point features ``[B, T, D]`` with at least one feature."""
    check_vectors(**{name: features})
    if features.ndim != 3:
        raise ValueError(f"{name} must have shape [B, T, D], got {tuple(features.shape)}")


def check_action_ids(
    name: str, actions: Tensor, num_actions: int, shape: tuple[int, ...], *, least: int = 0
) -> None:
    """Whole numbers of one shape, in ``least``..num_actions - 1 as far as the CPU can see."""
    check_tensor(name, actions)
    if actions.dtype != torch.int64:
        raise TypeError(f"{name} must be int64, got {actions.dtype}")
    if tuple(actions.shape) != shape:
        raise ValueError(f"{name} must have shape {shape}, got {tuple(actions.shape)}")
    # Reading values is free on the CPU only; elsewhere it would stall the device.
    if actions.device.type == "cpu" and actions.numel():
        low, high = (int(value) for value in actions.aminmax())
        if low < least or high >= num_actions:
            raise ValueError(f"{name} must lie in {least}..{num_actions - 1}, got {low}..{high}")


def check_action_vectors(name: str, actions: Tensor, shape: tuple[int, ...]) -> None:
    """Floating point actions ``[..., T, A]`` with at least one dimension."""
    check_vectors(**{name: actions})
    if actions.ndim < 2 or tuple(actions.shape[:-1]) != shape:
        raise ValueError(
            f"{name} must have shape {(*shape, 'A')}, one vector per step, got "
            f"{tuple(actions.shape)}"
        )


def check_groups(groups: Tensor, rows: int, device: torch.device) -> None:
    """The scenario of each row, ``[B]`` int64."""
    check_tensor("groups", groups)
    if groups.dtype != torch.int64:
        raise TypeError(f"groups must be int64, got {groups.dtype}")
    if tuple(groups.shape) != (rows,):
        raise ValueError(
            f"groups must have shape [B] = ({rows},), one scenario per row, got "
            f"{tuple(groups.shape)}"
        )
    if groups.device != device:
        raise ValueError(f"groups must be on {device} like the features, got {groups.device}")


def kept_steps(valid: Tensor | None, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """The mask of steps that count, in full shape; ``None`` means all."""
    if valid is None:
        return torch.ones(shape, dtype=torch.bool, device=device)
    check_mask("valid", valid, shape, device, like="the actions")
    return valid.expand(shape)
