"""Timing: several providers of one result, taking turns in one process.

A row is a dict that says who (provider), on what (shape, dtype, device, threads), with what (torch,
commit, dirty) and how long (median and quartiles of the rounds, in seconds). `share_of_copy` is
bytes per second over those of a large copy timed in the same run: about 1 is the speed of memory,
and more than 1 is possible where the frames stay in a cache.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

__all__ = ["Row", "arguments", "copy_bandwidth", "environment", "measure", "table", "write_jsonl"]

Row = dict[str, Any]
ROOT = Path(__file__).parents[1]


def arguments(description: str) -> argparse.Namespace:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--rounds", type=int, default=15, help="timed rounds of each provider")
    parser.add_argument("--out", type=Path, help="append the rows to this JSON-lines file")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no CUDA device")
    torch.set_num_threads(options.threads)
    return options


def environment(device: str) -> Row:
    """What a reader needs to know to compare the numbers with others."""
    return {
        "device": _processor() if device == "cpu" else torch.cuda.get_device_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "clock": "CUDA events" if device == "cuda" else _cpu_clock().__name__,
        "malloc": {k: v for k, v in os.environ.items() if k.startswith(("MALLOC_", "LD_PRELOAD"))},
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain")),
    }


def measure(
    providers: Mapping[str, Callable[[], object]],
    *,
    device: str,
    rounds: int,
    bytes_read: int,
    items: int,
    warm_up_seconds: float = 0.2,
    round_seconds: float = 0.02,
) -> list[Row]:
    """Time each provider, taking turns so that a change of the machine hits all of them.

    Args:
        providers: name -> a call without arguments.
        device: where the calls run: CUDA events time them on a GPU, the clock on a CPU.
        rounds: how many times each one's turn comes.
        bytes_read: what one call must read at least, for bandwidth.
        items: frames in one call, for the rate.
        warm_up_seconds: spent on each provider before the first round.
        round_seconds: a turn repeats a quick call until it lasts about this long.
    """
    bandwidth = copy_bandwidth(device)
    time_calls = _time_cuda if device == "cuda" else _time_cpu
    repeats = {}
    for name, call in providers.items():
        start, calls = time.perf_counter(), 0
        while calls < 2 or time.perf_counter() - start < warm_up_seconds:
            call()
            calls += 1
            _synchronize(device)
        repeats[name] = max(1, round(round_seconds / time_calls(call, 2)))
    seconds: dict[str, list[float]] = {name: [] for name in providers}
    for _ in range(rounds):
        for name, call in providers.items():
            seconds[name].append(time_calls(call, repeats[name]))
    rows = []
    for name, times in seconds.items():
        low, median, high = statistics.quantiles(times, n=4)
        rows.append(
            {
                "provider": name,
                "seconds": median,
                "seconds_quartiles": [low, high],
                "rounds": rounds,
                "calls_per_round": repeats[name],
                "items_per_second": items / median,
                "bytes_read": bytes_read,
                "bytes_per_second": bytes_read / median,
                "copy_bytes_per_second": bandwidth,
                "share_of_copy": bytes_read / median / bandwidth,
            }
        )
    return rows


def copy_bandwidth(device: str, size: int = 2**28) -> float:
    """Bytes read plus written per second by a copy of `size` bytes: the median of 7."""
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    time_calls = _time_cuda if device == "cuda" else _time_cpu
    target.copy_(source)
    return (
        2 * size / statistics.median(time_calls(lambda: target.copy_(source), 1) for _ in range(7))
    )


def table(rows: Iterable[Row], columns: Mapping[str, str]) -> str:
    """The rows as a Markdown table; `columns` maps a key to the format of its values."""
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for row in rows:
        cells = (format(row[key], style) if key in row else "" for key, style in columns.items())
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write_jsonl(path: Path | None, rows: Iterable[Row]) -> None:
    """Append rows to a JSON-lines file; nothing for no path."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)


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


def _synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git(*command: str) -> str | None:
    try:
        run = subprocess.run(
            ["git", *command], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return run.stdout.strip()
