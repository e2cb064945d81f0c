"""What a call costs besides time: the memory that it needs and the bytes that its ops move."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["peak_memory", "traffic"]

_UNWORKED = {"empty", "empty_like", "empty_strided", "_unsafe_view", "lift_fresh"}


def peak_memory(call: Callable[[], object], device: str) -> int | None:
    """Bytes that one call needs at its peak beyond what was there before it, its result included.

    On a GPU, of torch's allocator. On a CPU, of the whole process: the kernel's high-water mark of
    resident pages, reset before the call, after glibc's allocator has given back what it keeps.
    Whoever allocates is seen (torch, numpy, C++ scratch); pools that libraries never give back are
    not, once an earlier call has filled them. None where the system cannot say: not Linux, or not
    glibc. Call it once before.
    """
    if device == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        result = call()
        torch.cuda.synchronize()
        del result
        return torch.cuda.max_memory_allocated() - before
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # man 5 proc: reset the high-water mark
        before = _resident("VmRSS")
        result = call()
        peak = _resident("VmHWM") - before
    except (AttributeError, OSError, StopIteration):
        return None
    del result
    return max(0, peak)


def traffic(call: Callable[[], object]) -> dict[str, int]:
    """Torch ops of one call that are no views, the bytes they read and write, and host syncs.

    On a GPU, an op is at least one launch. Libraries that compute without torch are not seen.
    """
    with _Traffic() as seen:
        call()
    return {"ops": seen.ops, "bytes_moved": seen.bytes, "host_syncs": seen.syncs}


class _Traffic(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.ops = self.bytes = self.syncs = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func is torch.ops.aten._local_scalar_dense.default:
            self.syncs += 1
        elif not func.is_view and func.overloadpacket.__name__ not in _UNWORKED:
            self.ops += 1
            self.bytes += sum(
                # An expanded tensor is read from a cache.
                min(leaf.numel() * leaf.element_size(), leaf.untyped_storage().nbytes())
                for leaf in tree_leaves((args, kwargs, result))
                if isinstance(leaf, Tensor)
            )
        return result


def _resident(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))
