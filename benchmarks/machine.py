"""What the numbers were taken on, and what this machine can do at most: the anchors of a run."""

from __future__ import annotations

import functools
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

__all__ = ["copy_bandwidth", "environment", "gemm_rate", "time_calls"]

ROOT = Path(__file__).parents[1]


def environment(device: str) -> dict[str, Any]:
    """What a reader needs to know to compare the numbers with others."""
    return {
        "device": _processor() if device == "cpu" else torch.cuda.get_device_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "clock": "CUDA events" if device == "cuda" else _cpu_clock().__name__,
        "malloc": {k: v for k, v in os.environ.items() if k.startswith(("MALLOC_", "LD_PRELOAD"))},
        **_version(),
    }


def copy_bandwidth(device: str) -> float:
    """Bytes read plus written per second by a copy of 256 MiB: the median of 7, once per run."""
    return _copy_bandwidth(device, torch.get_num_threads())


def gemm_rate(device: str) -> float:
    """Float32 operations per second of a large matrix product: the best of 5, once per run."""
    return _gemm_rate(device, torch.get_num_threads())


def time_calls(device: str, call: Callable[[], object], repeats: int) -> float:
    """Seconds that one call takes, the mean of `repeats` calls in a row."""
    return (_time_cuda if device == "cuda" else _time_cpu)(call, repeats)


@functools.cache
def _copy_bandwidth(device: str, threads: int, size: int = 2**28) -> float:
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    target.copy_(source)
    seconds = (time_calls(device, lambda: target.copy_(source), 1) for _ in range(7))
    return 2 * size / statistics.median(seconds)


@functools.cache
def _gemm_rate(device: str, threads: int) -> float:
    side = 8192 if device == "cuda" else 1536
    a, b = (torch.rand(side, side, device=device) for _ in range(2))
    out = a @ b  # float32 throughout: torch does not use TF32 unless told to
    seconds = (time_calls(device, lambda: torch.mm(a, b, out=out), 1) for _ in range(5))
    return 2 * side**3 / min(seconds)


def _cpu_clock() -> Callable[[], float]:
    """Seconds of this process for one thread, blind to other processes; else of the wall."""
    return time.process_time if torch.get_num_threads() == 1 else time.perf_counter


def _time_cpu(call: Callable[[], object], repeats: int) -> float:
    clock = _cpu_clock()
    start = clock()
    for _ in range(repeats):
        call()
    return (clock() - start) / repeats


def _time_cuda(call: Callable[[], object], repeats: int) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    for _ in range(repeats):
        call()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3 / repeats


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@functools.cache
def _version() -> dict[str, Any]:
    return {"commit": _git("rev-parse", "HEAD"), "dirty": bool(_git("status", "--porcelain"))}


def _git(*command: str) -> str | None:
    try:
        run = subprocess.run(
            ["git", *command], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return run.stdout.strip()
