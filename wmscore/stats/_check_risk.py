"""Argument checks of risk tables."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["check_like", "check_whole", "expand_to", "kind"]


def check_whole(name: str, value: object) -> None:
    """An integer tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
    if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
        raise TypeError(f"{name} must be an integer tensor, got {value.dtype}")


def check_like(name: str, value: object, times: Tensor) -> None:
    """A bool or integer tensor of the shape of times, which has a dim."""
    if times.ndim == 0:
        raise ValueError("times must have shape [..., N], got a tensor without dims")
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
    if value.is_floating_point() or value.is_complex():
        raise TypeError(f"{name} must be bool or integer, got {value.dtype}")
    if value.shape != times.shape:
        raise ValueError(
            f"{name} must have the shape of times {tuple(times.shape)}, got {tuple(value.shape)}"
        )


def expand_to(name: str, value: Tensor, times: Tensor) -> Tensor:
    """The tensor in the shape of times, if it broadcasts to it."""
    fits = value.ndim <= times.ndim and all(
        size in (1, wanted)
        for size, wanted in zip(value.shape, times.shape[times.ndim - value.ndim :], strict=True)
    )
    if not fits:
        raise ValueError(
            f"{name} must broadcast to the shape of times {tuple(times.shape)}, "
            f"got {tuple(value.shape)}"
        )
    return value.expand(times.shape)


def kind(value: object) -> str:
    """Its dtype or type, for a message."""
    return str(value.dtype) if isinstance(value, Tensor) else type(value).__name__
