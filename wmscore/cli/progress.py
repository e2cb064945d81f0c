"""How far a long command is: a bar on a terminal, lines elsewhere, both with the time left."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Self

from wmscore.cli.output import console, progress_bar

__all__ = ["Ticker", "time_left"]

_EVERY = 10.0  # seconds between lines


class Ticker:
    """Counts of several tasks, one after the other.

    Time left is told from what this run has done: what was there before it counts for nothing.
    """

    def __init__(self, unit: str = "rows", **units: str) -> None:
        """Count in `unit`, or a task in a unit of its own."""
        self.unit, self._units = unit, units
        self._bar = progress_bar() if console().is_terminal else None
        self._tasks: dict[str, Any] = {}
        self._starts: dict[str, float] = {}
        self._firsts: dict[str, int] = {}
        self._told = 0.0

    def report(self, name: str, done: int, total: int) -> None:
        """Tell how much of a task is done; the first time, what was there before."""
        if name not in self._starts:
            self._starts[name], self._firsts[name] = time.monotonic(), done
        if self._bar is not None:
            if name not in self._tasks:
                self._tasks[name] = self._bar.add_task(name, total=total)
            self._bar.update(self._tasks[name], completed=done, total=total)
            return
        now = time.monotonic()
        if done == 0 or (done < total and now - self._told < _EVERY):
            return
        self._told = now
        spent = now - self._starts[name]
        left = time_left(done - self._firsts[name], total - done, spent)
        unit = self._units.get(name, self.unit)
        tail = f", {left} left" if left and done < total else ""
        print(f"{name}: {done} of {total} {unit}, {_clock(spent)}{tail}", flush=True)

    def __enter__(self) -> Self:
        """Show the bar."""
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.stop()


def time_left(done: int, left: int, seconds: float) -> str:
    """How long the rest takes at the pace so far, or "" where there is none yet.

    Example:
        >>> time_left(10, 30, 60.0)
        '3:00'
    """
    return _clock(seconds * left / done) if done > 0 else ""


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
