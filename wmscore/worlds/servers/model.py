"""Lift a service that answers one row per request into a `WorldModel`."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from wmscore.files import sha256_tensor
from wmscore.rollouts import Rollouts
from wmscore.worlds.given import given_frames
from wmscore.worlds.protocol import Capabilities, Item, item_keys
from wmscore.worlds.randomness import row_seed
from wmscore.worlds.servers.errors import RowsFailedError, ServiceError
from wmscore.worlds.servers.patience import Patience
from wmscore.worlds.step import stack_actions

__all__ = ["ServerModel", "Service"]


class Service(Protocol):
    """Something far away that generates one row at a time; `frames` is called from many threads.

    Optional attributes, passed on by `ServerModel`: `conversion_losses`, sentences about what the
    requests could not carry, and `codec`, facts about the lossy video that answers came in.
    """

    @property
    def name(self) -> str:
        """Short name."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        ...

    def frames(self, item: Item, horizon: int, patience: Patience) -> Tensor:
        """What follows the item's frame.

        Args:
            item: the row.
            horizon: number of frames asked for.
            patience: for pauses, timeouts, and for requests that may be sent twice.

        Returns:
            `[n, 3, H, W]` uint8, 1 <= n <= horizon; fewer frames than asked for are a row that
            ends early.

        Raises:
            UnavailableError: not reached or busy; the whole row is asked for again.
            ServiceError, ValueError: there is no answer; the row is not asked for again.
        """
        ...


class ServerModel:
    """A `WorldModel` that sends one request per row, some at a time.

    A row that fails does not stop the others: once all have ended, `RowsFailedError` names those
    that failed. The answers of the others are kept until the next calls, so that a harness that
    then asks for the rows one by one pays for none of them twice.

    Example:
        >>> model = ServerModel(service, workers=8)  # doctest: +SKIP
        >>> model.rollout(items, horizon=96)  # doctest: +SKIP
    """

    def __init__(
        self,
        service: Service,
        *,
        workers: int = 4,
        attempts: int = 4,
        first_wait: float = 1.0,
        longest_wait: float = 60.0,
        timeout: float = 1800.0,
    ) -> None:
        """Ask `service`.

        Args:
            service: who answers.
            workers: rows that are under way at once.
            attempts: how often a request is sent at most, see `Patience`.
            first_wait: seconds before the second attempt.
            longest_wait: seconds between attempts at most.
            timeout: seconds that one row may take.
        """
        if workers < 1:
            raise ValueError(f"workers: expected at least 1, got {workers}")
        self.service = service
        self.workers = workers
        self._patience = {
            "attempts": attempts,
            "first_wait": first_wait,
            "longest_wait": longest_wait,
            "timeout": timeout,
        }
        Patience(**self._patience)  # type: ignore[arg-type]  # bad numbers are told at once
        self._kept: dict[tuple[Any, ...], Tensor] = {}

    @property
    def name(self) -> str:
        """The service's name."""
        return self.service.name

    @property
    def capabilities(self) -> Capabilities:
        """The service's capabilities."""
        return self.service.capabilities

    @property
    def conversion_losses(self) -> tuple[str, ...]:
        """What the requests so far could not carry over, as sentences."""
        return tuple(getattr(self.service, "conversion_losses", ()))

    @property
    def codec(self) -> Any:
        """Facts about the lossy video that answers came in, or None."""
        return getattr(self.service, "codec", None)

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        """Ask for every row; row `i` of the result answers `items[i]`.

        Raises:
            RowsFailedError: some rows have no answer.
        """
        actions = stack_actions(items, horizon)
        keys = [_key(item, horizon) for item in items]
        kept = {key: self._kept.pop(key) for key in keys if key in self._kept}
        answers: dict[int, Tensor | Exception] = {
            i: kept[key] for i, key in enumerate(keys) if key in kept
        }
        if not kept:
            self._kept.clear()  # of an earlier call, for which nobody has come back
        answers |= self._ask(items, horizon, [i for i in range(len(items)) if i not in answers])
        failed = {i: a for i in range(len(items)) if isinstance(a := answers[i], Exception)}
        if failed:
            self._kept |= {
                keys[i]: answer for i, answer in answers.items() if isinstance(answer, Tensor)
            }
            raise RowsFailedError(self.name, items, failed)
        given = given_frames(items, self.capabilities.frame_size, f"model {self.name!r}")
        shape = (len(items), horizon + 1, *given.shape[1:])
        frames = torch.empty(shape, dtype=torch.uint8, device=given.device)
        valid = torch.ones((len(items), horizon + 1), dtype=torch.bool, device=frames.device)
        for i, frame in enumerate(given):
            answer = answers[i]
            assert isinstance(answer, Tensor)
            frames[i, 0] = frame
            frames[i, 1 : len(answer) + 1] = answer
            frames[i, len(answer) + 1 :] = answer[-1]
            valid[i, len(answer) + 1 :] = False
        return Rollouts(
            frames=frames,
            valid=valid,
            actions=actions.to(frames.device),
            model=self.name,
            **item_keys(items),
        )

    def _ask(
        self, items: Sequence[Item], horizon: int, rows: Sequence[int]
    ) -> dict[int, Tensor | Exception]:
        """The answers, or errors, of some rows.

        Threads are daemons: a process that is told to end does not wait for a slow service.
        """
        waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
        answers: queue.SimpleQueue[tuple[int, Tensor | BaseException]] = queue.SimpleQueue()
        stopped = threading.Event()
        for row in rows:
            waiting.put(row)

        def work() -> None:
            while not stopped.is_set():
                try:
                    row = waiting.get_nowait()
                except queue.Empty:
                    return
                try:
                    answers.put((row, self._row(items[row], horizon, stopped)))
                except BaseException as error:
                    answers.put((row, error))

        for _ in range(min(self.workers, len(rows))):
            threading.Thread(target=work, name=f"wmscore {self.name}", daemon=True).start()
        found: dict[int, Tensor | Exception] = {}
        try:
            while len(found) < len(rows):
                row, answer = answers.get()
                if isinstance(answer, BaseException) and not isinstance(answer, Exception):
                    raise answer
                found[row] = answer
        finally:
            stopped.set()
        return found

    def _row(self, item: Item, horizon: int, stopped: threading.Event) -> Tensor:
        size = self.capabilities.frame_size
        given = given_frames([item], size, f"model {self.name!r}")
        patience = Patience(
            **self._patience,  # type: ignore[arg-type]
            seed=row_seed(item.seed),
            stopped=stopped,
        )
        frames = patience.retry(lambda: self.service.frames(item, horizon, patience))
        shape = tuple(frames.shape)
        if frames.dtype != torch.uint8 or len(shape) != 4 or shape[1:] != (3, *size):
            raise ServiceError(
                f"expected frames uint8 [n, 3, {size[0]}, {size[1]}], "
                f"got {frames.dtype} {list(shape)}"
            )
        if not 1 <= shape[0] <= horizon:
            raise ServiceError(f"expected 1..{horizon} frames after the given one, got {shape[0]}")
        return frames.to(given.device)


def _key(item: Item, horizon: int) -> tuple[Any, ...]:
    """All that a service may be told about a row."""
    frame = None if item.frame is None else sha256_tensor(item.frame)
    actions = sha256_tensor(item.actions[:horizon])
    row = (item.panel, item.scenario, item.seed, item.branch, item.prompt)
    return (*row, item.action_names, actions, frame, horizon)
