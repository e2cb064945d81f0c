"""The op table: torch functions that compiled kernels may override, and which of them did.

A function becomes `torch.ops.wmscore.<name>`. Its type hints are the schema and its body is the
kernel for every device, so the package works without a compiler. `_C` (CPU) and `_C_cuda` (CUDA),
where they were built, override it for their device.
"""

from __future__ import annotations

import functools
import os
import typing
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.library import Library, infer_schema

__all__ = ["Kernels", "has_kernel", "kernels", "load", "op"]

P = ParamSpec("P")
R = TypeVar("R")

_NAMESPACE = "wmscore"
_PLAIN = "WMSCORE_PLAIN_TORCH"
_LIBRARIES = MappingProxyType({"cpu": "_C", "cuda": "_C_cuda"})  # device -> file

_library = Library(_NAMESPACE, "DEF")  # type: ignore[no-untyped-call]
_ops: list[str] = []
_absent: dict[str, str] = {}


@dataclass(frozen=True)
class Kernels:
    """What runs where.

    Attributes:
        ops: op -> devices that have a compiled kernel for it; the others run the torch function.
        absent: device -> why its library of kernels is not loaded.
    """

    ops: Mapping[str, tuple[str, ...]]
    absent: Mapping[str, str]

    def __str__(self) -> str:
        parts = [f"{name} {'+'.join(devices) or 'torch'}" for name, devices in self.ops.items()]
        parts += [f"no {device} kernels ({reason})" for device, reason in self.absent.items()]
        return "; ".join(parts)


def kernels() -> Kernels:
    """Which ops have which device's kernel, and why a library is absent."""
    return Kernels(
        ops={
            name: tuple(d for d in _LIBRARIES if has_kernel(name, torch.device(d))) for name in _ops
        },
        absent=dict(_absent),
    )


def has_kernel(name: str, device: torch.device) -> bool:
    """Whether an op has a compiled kernel for a device; else it runs its torch function."""
    if device.type not in _LIBRARIES:
        return False
    key = device.type.upper()
    return torch._C._dispatch_has_kernel_for_dispatch_key(f"{_NAMESPACE}::{name}", key)


def op(
    check: Callable[..., None], *, backward: Callable[..., tuple[Tensor | None, ...]] | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Register a torch function as an op that compiled kernels may override per device.

    The function must neither write to its arguments nor return a view of one. Without `backward`
    the op has no gradient: arguments that require one are refused rather than cut off silently.

    Args:
        check: called with the arguments first; raises TypeError or ValueError in the user's words.
            It looks at shapes, dtypes and devices only, never at values.
        backward: called with whether each argument needs a gradient, then with the gradients of the
            results and with the op's arguments; returns one gradient for each argument, None where
            there is none or none is needed.

    Returns:
        A decorator. The decorated function checks, then lets torch's dispatcher choose the kernel;
        the function as it was written is its attribute `__wrapped__`.
    """

    def register(function: Callable[P, R]) -> Callable[P, R]:
        name = function.__name__
        # Resolved, since infer_schema does not read annotations that are strings.
        function.__annotations__ = typing.get_type_hints(function)
        schema = name + infer_schema(function, mutates_args=())
        _library.define(schema)  # type: ignore[no-untyped-call]
        _library.impl(  # type: ignore[no-untyped-call]
            name, function, "CompositeExplicitAutograd"
        )
        _ops.append(name)
        if backward is not None:
            _differentiate(name, backward)
        overload = getattr(getattr(torch.ops, _NAMESPACE), name).default

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            check(*args, **kwargs)
            if backward is None and torch.is_grad_enabled():
                for value in (*args, *kwargs.values()):
                    if isinstance(value, Tensor) and value.requires_grad:
                        raise RuntimeError(
                            f"{name} has no gradient, but an argument requires one: "
                            "detach() it or call under torch.no_grad()"
                        )
            result: R = overload(*args, **kwargs)
            return result

        return call

    return register


def _differentiate(name: str, backward: Callable[..., tuple[Tensor | None, ...]]) -> None:
    """Give an op its gradient: what it needs of the inputs is saved as they are."""

    def setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*(value for value in inputs if isinstance(value, Tensor)))
        ctx.others = [None if isinstance(value, Tensor) else (value,) for value in inputs]

    def run(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        saved = iter(ctx.saved_tensors)
        inputs = [next(saved) if other is None else other[0] for other in ctx.others]
        # Torch leaves out trailing arguments that have their default values.
        left_out = (False,) * (len(inputs) - len(ctx.needs_input_grad))
        return backward((*ctx.needs_input_grad, *left_out), *gradients, *inputs)

    torch.library.register_autograd(f"{_NAMESPACE}::{name}", run, setup_context=setup, lib=_library)


def load() -> None:
    """Load the libraries of kernels that were built, once all ops are defined.

    A library that was not built leaves the torch functions in place, which `kernels` reports. One
    that exists and does not load warns too. With `WMSCORE_REQUIRE_KERNELS=1` both are errors; the
    CUDA library may then be missing only where there is no CUDA device. With
    `WMSCORE_PLAIN_TORCH=1` none is loaded, to compare with plain torch.

    Raises:
        ImportError: a required library is missing or does not load; the cause is attached.
    """
    required = _is_required()
    for device, name in _LIBRARIES.items():
        path = Path(__file__).parents[1] / f"{name}.so"
        if device == "cuda" and torch.version.cuda is None:
            _absent[device] = "this torch is built without CUDA"
        elif os.environ.get(_PLAIN):
            _absent[device] = f"{_PLAIN} is set"
        elif path.exists():
            _load(device, path, required)
        else:
            _absent[device] = f"wmscore/{path.name} was not built"
            if required and (device == "cpu" or torch.cuda.is_available()):
                raise ImportError(
                    f"WMSCORE_REQUIRE_KERNELS is set, but {path} does not exist: "
                    "build it with a C++ compiler (and nvcc for CUDA), or unset the variable"
                )


def _load(device: str, path: Path, required: bool) -> None:
    try:
        torch.ops.load_library(path)  # type: ignore[no-untyped-call]
    except OSError as error:
        cause = error.__cause__ or error
        _absent[device] = f"wmscore/{path.name} does not load: {cause}"
        message = f"{path} does not load with torch {torch.__version__}: {cause}"
        if required:
            raise ImportError(f"WMSCORE_REQUIRE_KERNELS is set, but {message}") from error
        warnings.warn(
            f"{message}. wmscore runs on plain torch instead; rebuild the library",
            RuntimeWarning,
            stacklevel=2,
        )


def _is_required() -> bool:
    return os.environ.get("WMSCORE_REQUIRE_KERNELS", "").lower() not in {
        "",
        "0",
        "false",
        "no",
        "off",
    }
