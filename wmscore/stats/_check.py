"""Argument checks and reason codes of ``wmscore.stats``. None reads a value on a device."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = [
    "ALTERNATIVES",
    "DEFINED",
    "LEAST_PAIRS",
    "TOO_FEW_SAMPLES",
    "as_float64",
    "check_choice",
    "check_confidence",
    "check_count",
    "check_number",
    "check_scenarios",
    "check_values",
    "not_negative",
    "reason_where",
]

# The codes of `wmscore.functional.Reason`, which is a floor above; a test compares them.
DEFINED = 0
TOO_FEW_SAMPLES = 24

ALTERNATIVES = ("two-sided", "greater", "less")
# From so many pairs on the smallest p-value that signs can give is below .05.
LEAST_PAIRS = {"two-sided": 6, "greater": 5, "less": 5}


def check_values(name: str, value: object) -> None:
    """A floating point tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
    if not value.is_floating_point():
        raise TypeError(f"{name} must be floating point, got {value.dtype}")


def check_scenarios(name: str, value: object, layout: str = "[S, ...]") -> None:
    """Floating point values, scenarios first; with a last dim where the layout names one."""
    check_values(name, value)
    assert isinstance(value, Tensor)
    least = 2 if layout.endswith("D]") else 1
    if value.ndim < least or (least == 2 and value.shape[-1] == 0):
        raise ValueError(f"{name} must have shape {layout}, got {tuple(value.shape)}")


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """One of several words."""
    if value not in choices:
        known = ", ".join(map(repr, choices))
        raise ValueError(f"{name} must be one of {known}, got {value!r}")


def check_count(name: str, value: object, low: int = 1) -> None:
    """A whole number of at least ``low``."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, got {type(value).__name__}")
    if value < low:
        raise ValueError(f"{name} must be at least {low}, got {value}")


def check_number(name: str, value: object, low: float, high: float = math.inf) -> None:
    """A real number strictly between ``low`` and ``high``."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")
    if not low < value < high:
        raise ValueError(f"{name} must be a number above {low} and below {high}, got {value}")


def check_confidence(level: object) -> None:
    """A level of confidence above one half, so that a level of significance is noticed."""
    check_number("level", level, 0.0, 1.0)
    assert isinstance(level, int | float)
    if level <= 0.5:
        raise ValueError(
            f"level must be a level of confidence above 0.5, got {level}; a test at 5 % has 0.95"
        )


def as_float64(name: str, value: object) -> Tensor:
    """A number or a tensor of numbers, as float64 on its device."""
    if isinstance(value, Tensor):
        if value.is_complex() or value.dtype == torch.bool:
            raise TypeError(f"{name} must hold real numbers, got {value.dtype}")
        return value.to(torch.float64)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number or a torch.Tensor, got {type(value).__name__}")
    return torch.tensor(value, dtype=torch.float64)


def not_negative(name: str, value: object) -> Tensor:
    """`as_float64`, at least 0: a tensor on another device is taken at its word."""
    found = as_float64(name, value)
    if found.device.type == "cpu" and bool((found < 0).any()):
        raise ValueError(f"{name} must be at least 0, got {found.min().item()}")
    return found


def reason_where(undefined: Tensor) -> Tensor:
    """TOO_FEW_SAMPLES where undefined, uint8."""
    return torch.where(undefined, TOO_FEW_SAMPLES, DEFINED).to(torch.uint8)
