"""Timing: several providers of one result, taking turns in one process.

A row is a dict that says who (provider), on what (shape, dtype, device, threads), with what (torch,
commit, dirty), how long (median and quartiles of the rounds, in seconds) and at what cost (memory,
ops). `share_of_copy` is bytes per second over those of a large copy timed in the same run: about 1
is the speed of memory, and more than 1 is possible where the frames stay in a cache.
`share_of_gemm` is operations per second over those of a large float32 matrix product of the run.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from cost import peak_memory, traffic
from machine import copy_bandwidth, environment, gemm_rate, time_calls

__all__ = [
    "Row",
    "arguments",
    "copy_bandwidth",
    "environment",
    "measure",
    "table",
    "thread_counts",
    "write_jsonl",
]

Row = dict[str, Any]

# Peers allocate large temporaries. With glibc's defaults these go back to the kernel after each
# call and are paid for again as page faults; this keeps them, which favours the peers.
_WARM_MALLOC = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "1000000000000"}


def parser(description: str) -> argparse.ArgumentParser:
    """The options that every benchmark has; add those of one of them."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    options.add_argument(
        "--threads", type=int, nargs="+", default=[1, 2], help="CPU threads, one table row for each"
    )
    options.add_argument(
        "--rounds", type=int, default=15, help="timed rounds of each provider, at most"
    )
    options.add_argument("--out", type=Path, help="append the rows to this JSON-lines file")
    options.add_argument(
        "--default-malloc",
        action="store_true",
        help="glibc's defaults, instead of an allocator that keeps freed memory",
    )
    return options


def arguments(description: str | argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the command line; starts Python anew where its environment must differ.

    Args:
        description: of the benchmark, or a `parser` to which it added options of its own.
    """
    options = parser(description) if isinstance(description, str) else description
    parsed = options.parse_args()
    if parsed.device == "cuda" and not torch.cuda.is_available():
        options.error("torch sees no CUDA device")
    # Read when a process starts: by the allocator, and by OpenMP, whose threads else spin at each
    # barrier and stall where cores are shared. Libraries with an OpenMP of their own count by it.
    wanted = {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(parsed.threads[0])}
    if not parsed.default_malloc:
        wanted |= _WARM_MALLOC
    missing = wanted.keys() - os.environ.keys()
    if missing:
        os.environ.update({name: wanted[name] for name in missing})
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    if parsed.device == "cuda":  # host threads do not matter there
        parsed.threads = parsed.threads[:1]
    torch.set_num_threads(parsed.threads[0])
    return parsed


def thread_counts(options: argparse.Namespace) -> Iterator[int]:
    """Each number of threads that was asked for, set while the caller works on it."""
    for threads in options.threads:
        torch.set_num_threads(threads)
        yield threads
    torch.set_num_threads(options.threads[0])


def beside_ours(rows: Sequence[Row], about: Row, device: str) -> list[Row]:
    """Rows of `measure`, ours first, with how many times as long as ours each of them takes."""
    rate = rows[0]["items_per_second"]
    return [
        about | row | {"times_wmscore": rate / row["items_per_second"]} | environment(device)
        for row in rows
    ]


def measure(
    providers: Mapping[str, Callable[[], object]],
    *,
    device: str,
    rounds: int,
    bytes_read: int,
    items: int,
    operations: float | None = None,
    seconds: float = 0.5,
    round_seconds: float = 0.02,
) -> list[Row]:
    """Time each provider, taking turns so that a change of the machine hits all of them.

    Call each provider once before, as a check of its result does: first calls are slow.

    Args:
        providers: name -> a call without arguments.
        device: where the calls run: CUDA events time them on a GPU, the clock on a CPU.
        rounds: how many times each one's turn comes, at most.
        bytes_read: what one call must read at least, for bandwidth.
        items: frames in one call, for the rate.
        operations: what one call must compute at least, for `share_of_gemm`.
        seconds: time for each provider; slow ones get fewer rounds, but 3 or more.
        round_seconds: a turn repeats a quick call until it lasts about this long.
    """
    bandwidth, rate = copy_bandwidth(device), gemm_rate(device) if operations else None
    # All of them before any warm-up: measuring memory empties the allocator.
    costs = {
        name: {**traffic(call), "extra_bytes": peak_memory(call, device)}
        for name, call in providers.items()
    }
    repeats, turns = {}, {}
    for name, call in providers.items():
        start = time.perf_counter()
        estimate = time_calls(device, call, 1)
        while time.perf_counter() - start < seconds / 5:
            estimate = time_calls(device, call, 1)
        repeats[name] = max(1, round(round_seconds / estimate))
        turns[name] = min(rounds, max(3, int(seconds / (estimate * repeats[name]))))
    taken: dict[str, list[float]] = {name: [] for name in providers}
    for turn in range(rounds):
        for name in taken:
            if turn < turns[name]:
                taken[name].append(time_calls(device, providers[name], repeats[name]))
    rows = []
    for name, times in taken.items():
        low, median, high = statistics.quantiles(times, n=4)
        row = {
            "provider": name,
            "seconds": median,
            "seconds_quartiles": [low, high],
            "rounds": turns[name],
            "calls_per_round": repeats[name],
            "items_per_second": items / median,
            "bytes_read": bytes_read,
            "bytes_per_second": bytes_read / median,
            "copy_bytes_per_second": bandwidth,
            "share_of_copy": bytes_read / median / bandwidth,
            **costs[name],
        }
        if operations and rate:
            row |= {
                "operations": operations,
                "gemm_operations_per_second": rate,
                "share_of_gemm": operations / median / rate,
            }
        rows.append(row)
    return rows


def table(rows: Iterable[Row], columns: Mapping[str, str]) -> str:
    """The rows as a Markdown table; `columns` maps a key to the format of its values."""
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for row in rows:
        cells = (
            "" if row.get(key) is None else format(row[key], style)
            for key, style in columns.items()
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write_jsonl(path: Path | None, rows: Iterable[Row]) -> None:
    """Append rows to a JSON-lines file; nothing for no path."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
