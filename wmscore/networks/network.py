"""What all feature extractors share: a network, what it is given, and what is recorded of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from wmscore.networks.calls import FeatureError, ModuleCall, home, training_part
from wmscore.networks.fingerprint import fingerprint
from wmscore.networks.precision import no_autocast
from wmscore.networks.preparation import Normalization, Preparation

__all__ = ["NetworkFeatures"]

_TOKENS = ("patches", "first")
# Bytes that a network is taken to need while it runs, per byte of its float32 input: 20 to 50 for
# classifiers and transformers, 130 for the encoder of a latent diffusion model.
_EXPANSION = 128
_HOST_MEMORY = 1 << 28


class NetworkFeatures:
    """A network, how it is called, what it is given and what is taken from it.

    The base of `ModuleEncoder` and `ClipEncoder`, which document the arguments.
    """

    def __init__(
        self,
        module: Callable[..., Any],
        *,
        name: str,
        call: str = "forward",
        arguments: Mapping[str, Any] | None = None,
        output: str | int | None = None,
        layers: Sequence[str] | None = None,
        tokens: str | None = None,
        prefix_tokens: int | None = None,
        channels_last: bool = False,
        size: int | tuple[int, int] | None = None,
        resize: str = "bicubic",
        value_range: tuple[float, float] = (0.0, 1.0),
        normalize: Normalization = None,
        min_size: int = 1,
        autocast: torch.dtype | None = None,
        weights: str | None = None,
        memory: int | None = None,
    ) -> None:
        if tokens is not None and tokens not in _TOKENS:
            raise ValueError(f"tokens must be one of {', '.join(_TOKENS)} or None, got {tokens!r}")
        if (tokens == "patches") != (prefix_tokens is not None):
            raise ValueError(
                "prefix_tokens goes with tokens='patches': how many tokens come before the "
                "patches (class token and registers: 1 for ViT and DINOv2, 5 for DINOv3, 0 for "
                f"none), got tokens={tokens!r}, prefix_tokens={prefix_tokens!r}"
            )
        self._call = ModuleCall(
            module, method=call, arguments=arguments, output=output, layers=layers
        )
        self._preparation = Preparation.of(size, resize, value_range, normalize, min_size)
        self.module = module
        self.network = name
        self.tokens = tokens
        self.prefix_tokens = prefix_tokens or 0
        self.channels_last = channels_last
        self.autocast = autocast
        self.weights = weights
        self.memory = memory
        try:
            json.dumps(self._call.arguments)
        except TypeError as error:
            raise TypeError(f"arguments must be plain values, to be recorded: {error}") from None
        self._check_mode()
        if weights is None and not self._state():
            raise ValueError(
                f"encoder {name}: {type(module).__name__} shows no weights in a state dict, so "
                "that nothing would tell two versions of it apart: say which they are with "
                "weights='...', such as the SHA-256 of their file, or weights='none'"
            )

    @property
    def min_size(self) -> int:
        """The fewest pixels that a side of a frame may have."""
        return 1 if self._preparation.size is not None else self._preparation.min_size

    @property
    def name(self) -> str:
        """The network, and what changes its features: layers, output, tokens, input size."""
        parts = [self.network]
        if self._call.layers is not None:
            parts.append(f"[{','.join(self._call.layers)}]")
        elif self._call.method != "forward":
            parts.append(f".{self._call.method}")
        if self._call.output is not None:
            parts.append(f":{self._call.output}")
        if self.tokens is not None:
            parts.append(f":{self.tokens}")
        if self._preparation.size is not None:
            height, width = self._preparation.size
            parts.append(f"@{height}x{width}")
        return "".join(parts)

    def describe(self) -> dict[str, Any]:
        """Everything that was stated and changes the features, as plain values for a record."""
        kind = self.module if hasattr(self.module, "__qualname__") else type(self.module)
        _, dtype = home(self.module)
        return {
            "name": self.name,
            "network": self.network,
            "module": f"{kind.__module__}.{kind.__qualname__}",
            "call": self._call.method,
            "arguments": dict(self._call.arguments),
            "output": self._call.output,
            "layers": None if self._call.layers is None else list(self._call.layers),
            "tokens": self.tokens,
            "prefix_tokens": self.prefix_tokens,
            "channels_last": self.channels_last,
            **self._preparation.describe(),
            "dtype": str(dtype).removeprefix("torch."),
            "autocast": None
            if self.autocast is None
            else str(self.autocast).removeprefix("torch."),
            "weights": self.weights,
        }

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of `describe()` and, unless `weights` says what they are, of the state dict.

        Computed once, when it is first asked for; it covers what a state dict shows.
        """
        return fingerprint(self.describe(), self._state() if self.weights is None else {})

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name})"

    def _state(self) -> dict[str, Any]:
        return self.module.state_dict() if isinstance(self.module, nn.Module) else {}

    def _check_mode(self) -> None:
        part = training_part(self.module)
        if part is not None:
            raise ValueError(
                f"encoder {self.network}: {part} is in training mode, where dropout and batch "
                "statistics change the features from call to call: call module.eval() first"
            )

    def _frames_at_a_time(self, frames: Tensor) -> int:
        """Frames `[..., C, H, W]` that fit the memory there is."""
        height, width = self._preparation.side(frames)
        need = _EXPANSION * 4 * frames.shape[-3] * height * width
        return max(1, self._free_bytes(frames.device) // need)

    def _free_bytes(self, device: torch.device) -> int:
        if self.memory is not None:
            return self.memory
        device = home(self.module)[0] or device
        if device.type != "cuda":
            return _HOST_MEMORY
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return (free + cached) // 2

    def _run(self, frames: Tensor, arrange: Callable[[Tensor], Tensor]) -> list[Tensor]:
        """Prepare frames `[n, C, H, W]`, arrange them as the network wants them and call it.

        Returns float features `[n, D, *]` or `[n, D, L]`, channels first, one for each layer.
        """
        self._check_mode()
        self._preparation.check(frames, self.name)
        device, dtype = home(self.module)
        device = device or frames.device
        # Weights may ask for gradients all the same; scores have no use for them.
        with torch.set_grad_enabled(torch.is_grad_enabled() and frames.requires_grad):
            given = arrange(self._preparation(frames, device, dtype))
            precision = (
                no_autocast(device)
                if self.autocast is None
                else torch.autocast(device.type, dtype=self.autocast)
            )
            with precision:
                return self._checked_call(given)

    def _checked_call(self, given: Tensor) -> list[Tensor]:
        count = len(given)

        def take(answer: Tensor) -> Tensor:
            if answer.dim() < 2 or len(answer) != count:
                raise FeatureError(
                    f"encoder {self.name}: expected features of {count} inputs, [{count}, ...], "
                    f"got {list(answer.shape)}"
                )
            return self._channels_first(answer)

        try:
            return self._call(given, take)
        except (FeatureError, torch.OutOfMemoryError):
            raise
        except (RuntimeError, ValueError, AssertionError, IndexError) as error:
            if self._preparation.size is not None:
                raise
            message = str(error).rstrip(".")
            raise ValueError(
                f"encoder {self.name} failed on an input {list(given.shape)}: {message}. Frames "
                "come as they are; if it wants another size, give size=(height, width)"
            ) from error

    def _channels_first(self, answer: Tensor) -> Tensor:
        """Tokens `[n, L, D]` to `[n, D, L]`, maps to `[n, D, *]`."""
        if answer.dim() == 3:
            if self.tokens is None:
                raise FeatureError(
                    f"encoder {self.name}: got tokens {list(answer.shape)}; say what to take of "
                    "them: tokens='first', or tokens='patches' with prefix_tokens="
                )
            if self.tokens == "first":
                return answer[:, 0]
            if answer.shape[1] <= self.prefix_tokens:
                raise FeatureError(
                    f"encoder {self.name}: {answer.shape[1]} tokens, of which "
                    f"{self.prefix_tokens} come before the patches, leave none"
                )
            return answer[:, self.prefix_tokens :].mT
        if self.tokens is not None:
            raise FeatureError(
                f"encoder {self.name}: tokens={self.tokens!r} needs features [n, L, D], "
                f"got {list(answer.shape)}"
            )
        return answer.movedim(-1, 1) if self.channels_last and answer.dim() > 3 else answer
