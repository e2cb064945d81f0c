"""How long a row waits for a service: attempts, pauses, a deadline, and being called off."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from wmscore.worlds.servers.errors import ServiceError, UnavailableError

__all__ = ["CalledOffError", "Patience"]

T = TypeVar("T")


class CalledOffError(ServiceError):
    """The call that a row belongs to has ended before the row's answer came."""


@dataclass(kw_only=True)
class Patience:
    """The patience of one row.

    Attributes:
        attempts: how often a request is sent at most.
        first_wait: seconds before the second attempt; each further pause is twice as long, and is
            drawn from its upper half, so that many rows do not come back at once.
        longest_wait: seconds that a pause has at most, unless the service asks for more.
        timeout: seconds that the row may take in all.
        seed: draws the pauses.
        stopped: set when the whole call is called off.
        clock: monotonic time in seconds.
    """

    attempts: int = 4
    first_wait: float = 1.0
    longest_wait: float = 60.0
    timeout: float = 1800.0
    seed: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        """Check the numbers and start the clock."""
        if self.attempts < 1:
            raise ValueError(f"attempts: expected at least 1, got {self.attempts}")
        for name in ("first_wait", "longest_wait", "timeout"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected seconds above 0, got {getattr(self, name)}")
        self._draw = random.Random(self.seed)
        self._end = self.clock() + self.timeout

    @property
    def left(self) -> float:
        """Seconds left of the timeout, 0 or more."""
        return max(self._end - self.clock(), 0.0)

    def wait(self, seconds: float, why: str) -> None:
        """Sleep.

        Raises:
            ServiceError: the timeout would pass; `why` says for what was waited.
            CalledOffError: the call has ended.
        """
        if seconds >= self.left:
            raise ServiceError(f"{why}: no answer within the timeout of {self.timeout:g} s")
        if self.stopped.wait(seconds):
            raise CalledOffError(f"{why}: called off")

    def retry(self, ask: Callable[[], T]) -> T:
        """What `ask` returns; it is asked again while it raises `UnavailableError`.

        Raises:
            ServiceError: it was unavailable every time, or until the timeout. Any other error is
                passed on at once.
        """
        for attempt in range(1, self.attempts + 1):
            try:
                return ask()
            except UnavailableError as error:
                told, wait = str(error), error.wait
            if attempt == self.attempts:
                break
            pause = min(self.first_wait * 2 ** (attempt - 1), self.longest_wait)
            pause *= self._draw.uniform(0.5, 1.0)
            self.wait(max(pause, wait or 0.0), told)
        times = "once" if self.attempts == 1 else f"{self.attempts} times"
        raise ServiceError(f"{told} (asked {times})")
