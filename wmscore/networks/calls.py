"""One call of a network, and the tensors that are taken from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["FeatureError", "ModuleCall", "home", "training_part"]


class FeatureError(ValueError):
    """What a network gave is not what was stated; the size of its input is not to blame."""


class _EnoughError(BaseException):
    """Ends a forward pass when all layers are there; no handler of a network may swallow it."""


class ModuleCall:
    """Calls a network and takes tensors out of its answer, or out of those of its submodules.

    Args:
        module: a torch module, or any callable.
        method: its method to call; "forward" calls the module itself.
        arguments: more keyword arguments of the call.
        output: where the tensor is in an answer: a path of keys, attributes and places, joined by
            dots, or one place; None where the answer is the tensor.
        layers: names of submodules whose answers are taken instead; None for the call's own.

    Raises:
        TypeError: there is nothing to call.
        ValueError: there is no such method or submodule; the message lists those with close names.
    """

    def __init__(
        self,
        module: Any,
        *,
        method: str = "forward",
        arguments: Mapping[str, Any] | None = None,
        output: str | int | None = None,
        layers: Sequence[str] | None = None,
    ) -> None:
        if not callable(module) and method == "forward":
            raise TypeError(f"module must be callable, got {type(module).__name__}")
        if method != "forward" and not callable(getattr(module, method, None)):
            raise ValueError(
                f"call: {type(module).__name__} has no method {method!r}"
                + _close(method, [name for name in dir(module) if not name.startswith("_")])
            )
        self.module = module
        self.method = method
        self.arguments = dict(arguments or {})
        self.output = output
        self.layers = None if layers is None else _submodules(module, layers)

    def __call__(self, given: Tensor, take: Callable[[Tensor], Tensor]) -> list[Tensor]:
        """What `take` makes of each tensor, in the order of the layers.

        The pass ends with the last layer that is needed. Of a layer that runs more than once, the
        first time counts.
        """
        # A module is called itself, so that its hooks run.
        run = self.module if self.method == "forward" else getattr(self.module, self.method)
        if self.layers is None:
            return [take(self._tensor(run(given, **self.arguments)))]
        found: dict[str, Tensor] = {}
        wanted = len(self.layers)

        def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
            def hook(_module: nn.Module, _inputs: Any, answer: Any) -> None:
                if name in found:
                    return
                value = take(self._tensor(answer))
                # What follows may write into it: `ReLU(inplace=True)`.
                found[name] = value if len(found) + 1 == wanted else value.clone()
                if len(found) == wanted:
                    raise _EnoughError

            return hook

        hooks = [layer.register_forward_hook(keep(name)) for name, layer in self.layers.items()]
        try:
            run(given, **self.arguments)
        except _EnoughError:
            pass
        finally:
            for handle in hooks:
                handle.remove()
        missing = [name for name in self.layers if name not in found]
        if missing:
            raise FeatureError(f"layers: {', '.join(missing)} did not run when it was called")
        return [found[name] for name in self.layers]

    def _tensor(self, answer: Any) -> Tensor:
        """The tensor at `output`."""
        path = [] if self.output is None else str(self.output).split(".")
        value = answer
        for part in path:
            value = _step(value, part, str(self.output))
        if not isinstance(value, Tensor):
            at = "as the answer" if self.output is None else f"at output={self.output!r}"
            raise TypeError(
                f"expected a tensor {at}, got {type(value).__name__}{_inside(value)}; "
                "output= says where it is"
            )
        if not value.is_floating_point():
            raise TypeError(f"features must be real floating point, got {value.dtype}")
        return value


def _step(value: Any, part: str, path: str) -> Any:
    """One step of a path: a key, a place or an attribute."""
    if isinstance(value, Mapping) and part in value:
        return value[part]
    if isinstance(value, Sequence) and part.lstrip("-").isdigit():
        place = int(part)
        if -len(value) <= place < len(value):
            return value[place]
    elif not isinstance(value, Tensor) and hasattr(value, part):
        return getattr(value, part)
    raise FeatureError(f"output={path!r}: no {part!r} in {type(value).__name__}{_inside(value)}")


def _inside(value: Any) -> str:
    """What a user may have meant: keys, length or attributes."""
    if isinstance(value, Mapping):
        return f" with keys {', '.join(map(str, value))}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f" of {len(value)}"
    if isinstance(value, Tensor):
        return ""
    names = [name for name in getattr(value, "__dict__", {}) if not name.startswith("_")]
    return f" with {', '.join(names)}" if names else ""


def _submodules(module: object, layers: Sequence[str]) -> dict[str, nn.Module]:
    if not isinstance(module, nn.Module):
        raise TypeError(f"layers need a torch.nn.Module, got {type(module).__name__}")
    if isinstance(layers, str) or len(layers) == 0 or len(set(layers)) < len(layers):
        raise ValueError(f"layers must be different names, at least one, got {layers!r}")
    known = dict(module.named_modules())
    for name in layers:
        if name not in known or not name:
            raise ValueError(
                f"layers: {type(module).__name__} has no submodule {name!r}"
                + _close(name, [other for other in known if other])
            )
    return {name: known[name] for name in layers}


def _close(name: str, known: Sequence[str]) -> str:
    close = get_close_matches(name, known, n=5, cutoff=0.4) or list(known)[:5]
    return f"; it has {', '.join(close)}, ..." if close else "; it has none"


def training_part(module: object) -> str | None:
    """The name of a part that is in training mode, or None."""
    if not isinstance(module, nn.Module):
        return None
    for name, part in module.named_modules():
        if part.training:
            return name or type(module).__name__
    return None


def home(module: object) -> tuple[torch.device | None, torch.dtype]:
    """Device and floating type of a module's first weights; float32 and no device without any."""
    if isinstance(module, nn.Module):
        for weight in (*module.parameters(), *module.buffers()):
            if weight.is_floating_point():
                return weight.device, weight.dtype
    return None, torch.float32
