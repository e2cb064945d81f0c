"""Settings around a network that would change its values: put aside while it runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

__all__ = ["no_autocast", "no_tf32"]


def no_autocast(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Without the autocast of a caller, as that of mixed-precision training."""
    if not torch.amp.is_autocast_available(device.type):
        return contextlib.nullcontext()
    return torch.autocast(device.type, enabled=False)


@contextlib.contextmanager
def no_tf32(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Float32 convolutions in float32: cuDNN may otherwise round to TF32, torch's default.

    The setting is that of the process: threads that run other convolutions meanwhile get it too.
    """
    if device.type != "cuda" or dtype != torch.float32:
        yield
        return
    backends: Any = torch.backends.cudnn
    flags = backends.conv
    before = flags.fp32_precision
    flags.fp32_precision = "ieee"
    try:
        yield
    finally:
        flags.fp32_precision = before
