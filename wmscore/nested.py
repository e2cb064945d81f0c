"""Nested results (dataclasses and named tuples of tensors) as flat tensors with dotted names."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any, TypeVar

from torch import Tensor

__all__ = ["flatten", "rebuild"]

R = TypeVar("R")


def flatten(prefix: str, value: Any) -> dict[str, Tensor]:
    """Tensors of a nested result under dotted names; what is None is left out."""
    if value is None:
        return {}
    if isinstance(value, Tensor):
        return {prefix: value}
    found: dict[str, Tensor] = {}
    for name in _fields(type(value)):
        found |= flatten(f"{prefix}.{name}", getattr(value, name))
    return found


def rebuild(kind: type[R], prefix: str, tensors: Mapping[str, Tensor]) -> R | None:
    """A nested result from what `flatten` made of it; None where there is nothing of it.

    Raises:
        KeyError: a tensor of it is missing.
    """
    if not any(name == prefix or name.startswith(f"{prefix}.") for name in tensors):
        return None
    if kind is Tensor:
        return typing.cast(R, tensors[prefix])
    values = {}
    for name, hint in _fields(kind).items():
        options = [h for h in typing.get_args(hint) or (hint,) if h is not type(None)]
        value = rebuild(options[0], f"{prefix}.{name}", tensors)
        if value is None and type(None) not in typing.get_args(hint):
            raise KeyError(f"{prefix}.{name}")
        values[name] = value
    return kind(**values)


def _fields(kind: type) -> dict[str, Any]:
    """Fields of a dataclass or a named tuple, with their types, in order."""
    if is_dataclass(kind) or hasattr(kind, "_fields"):
        return typing.get_type_hints(kind)
    raise TypeError(f"expected a dataclass or a named tuple, got {kind.__name__}")
