"""What every axis gives: curves `[G, T]`, each with its reasons."""

from __future__ import annotations

from torch import Tensor

__all__ = ["Curves", "blank"]

# Name -> (values, reasons), each `[G, T]`.
Curves = dict[str, tuple[Tensor, Tensor]]


def blank(values: Tensor, reason: Tensor) -> Tensor:
    """Float64 values, NaN wherever there is a reason."""
    return values.double().masked_fill(reason != 0, float("nan"))
