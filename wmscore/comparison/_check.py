"""Argument checks that the files of this package share."""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor

__all__ = ["ESTIMANDS", "check_cells", "check_choice", "check_level"]

ESTIMANDS = ("scenarios", "seeds")


def check_cells(name: str, value: object, like: Tensor | None = None) -> None:
    """Floating point values ``[S, K, ...]``, of the shape of the other model's."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
    if not value.is_floating_point():
        raise TypeError(f"{name} must be floating point, got {value.dtype}")
    if value.ndim < 2 or 0 in value.shape[:2]:
        raise ValueError(
            f"{name} must have shape [S, K, ...] with S and K at least 1, got {tuple(value.shape)}"
        )
    if like is not None and value.shape != like.shape:
        raise ValueError(
            f"{name} must have the shape of the baseline's, {tuple(like.shape)}, "
            f"got {tuple(value.shape)}"
        )
    if like is not None and value.device != like.device:
        raise ValueError(f"{name} must be on the baseline's device {like.device}")


def check_choice(name: str, value: object, choices: Collection[str]) -> None:
    """One of some words."""
    if value not in choices:
        known = ", ".join(map(repr, choices))
        raise ValueError(f"{name} must be one of {known}, got {value!r}")


def check_level(value: object) -> None:
    """A level of confidence, strictly between 0 and 1."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"level must be a number, got {type(value).__name__}")
    if not 0 < value < 1:
        raise ValueError(f"level must be a number above 0 and below 1, got {value}")
