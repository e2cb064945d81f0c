"""Write in the background: the next part is rolled out while the last one goes to disk."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

__all__ = ["Writer"]

Done = Callable[[BaseException | None], None]


class Writer:
    """One thread, one write at a time; memory holds one part that is made and one that is written.

    Leaving the `with` block waits for the last write, also after an interruption: what is finished
    stays.
    """

    def __init__(self) -> None:
        """Start when there is something to write."""
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="wmscore-writer")
        self._pending: tuple[Future[Any], Done] | None = None

    def submit(self, write: Callable[[], Any], done: Done) -> None:
        """Write once the last write is through; `done` gets its error or None, in this thread."""
        self.settle()
        self._pending = (self._pool.submit(write), done)

    def settle(self) -> None:
        """Wait for the last write and tell how it went."""
        if self._pending is not None:
            future, done = self._pending
            error = future.exception()
            self._pending = None
            done(error)

    def __enter__(self) -> Self:
        """Return the writer itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Wait for the last write; an error of it is only raised where there is no other."""
        try:
            if error is None:
                self.settle()
        finally:
            self._pool.shutdown(wait=True)
