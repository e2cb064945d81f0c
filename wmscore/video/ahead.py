"""Decode several clips at once, and hand them out in order."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["ahead", "in_background"]

T = TypeVar("T")
R = TypeVar("R")


def ahead(
    work: Callable[[T], R],
    jobs: Iterable[T],
    *,
    workers: int | None = None,
    depth: int | None = None,
) -> Iterator[R]:
    """`map(work, jobs)` in threads, in order, at most `depth` results ahead of whoever takes them.

    Decoders let other threads run, so that files are decoded while earlier ones are scored. What
    `work` raises comes out in its turn; jobs behind it are not begun any more. Closing the iterator
    early ends the threads.

    Args:
        work: called once for each job, in threads.
        jobs: taken one by one, as results are taken.
        workers: threads; as many as there are cores by default.
        depth: results that may wait, on top of those that are being made; `workers` by default.

    Example:
        >>> list(ahead(lambda n: n * n, range(4), workers=2))
        [0, 1, 4, 9]
    """
    workers = workers or os.cpu_count() or 1
    if workers < 1 or (depth is not None and depth < 0):
        raise ValueError(f"workers, depth: expected at least 1 and 0, got {workers} and {depth}")
    return _ahead(work, iter(jobs), workers, workers + (workers if depth is None else depth))


def _ahead(work: Callable[[T], R], jobs: Iterator[T], workers: int, most: int) -> Iterator[R]:
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="wmscore-ahead") as pool:
        try:
            for job in itertools.islice(jobs, most):
                waiting.append(pool.submit(work, job))
            while waiting:
                result = waiting.popleft().result()
                for job in itertools.islice(jobs, 1):
                    waiting.append(pool.submit(work, job))
                yield result
        finally:
            for future in waiting:
                future.cancel()


def in_background(batches: Iterator[R], *, depth: int = 1) -> Iterator[R]:
    """The same batches, made in a thread while earlier ones are used, at most `depth` ahead.

    So frames are decoded while the batch before is scored. What goes wrong in the thread is raised
    here; closing the iterator early stops it after the batch that it is at.

    Example:
        >>> list(in_background(iter("abc")))
        ['a', 'b', 'c']
    """
    if depth < 1:
        raise ValueError(f"depth: expected at least 1, got {depth}")
    end = object()
    # One job asks for the next batch: with a single thread they are never two at once.
    jobs = itertools.repeat(None)
    source = _ahead(lambda _: next(batches, end), jobs, 1, 1 + depth)
    return _until(source, end)


def _until(source: Iterator[R | object], end: object) -> Iterator[R]:
    for item in source:
        if item is end:
            return
        yield item  # type: ignore[misc]
