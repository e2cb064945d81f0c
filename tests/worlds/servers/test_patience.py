"""Attempts, pauses and deadlines of one row, and `ServerModel` on a service in this process."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest
from torch import Tensor

from wmscore.testing import sprite_items
from wmscore.worlds import Capabilities, Item
from wmscore.worlds.servers import (
    Patience,
    RowsFailedError,
    ServerModel,
    ServiceError,
    UnavailableError,
)


class Clock:
    """Time that passes only while somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        self.waits.append(seconds)
        return False


def patience(**options: float) -> tuple[Patience, Clock]:
    clock = Clock()
    stopped = threading.Event()
    stopped.wait = clock.wait  # type: ignore[method-assign, assignment]
    return Patience(**options, stopped=stopped, clock=clock), clock  # type: ignore[arg-type]


def unavailable(*waits: float | None) -> object:
    errors = iter(waits)

    def ask() -> str:
        for wait in errors:
            raise UnavailableError("busy", wait=wait)
        return "answer"

    return ask


def test_pauses_double_up_to_the_longest() -> None:
    mine, clock = patience(attempts=7, first_wait=1.0, longest_wait=8.0, seed=3)
    assert mine.retry(unavailable(*[None] * 6)) == "answer"
    for pause, most in zip(clock.waits, (1, 2, 4, 8, 8, 8), strict=True):
        assert most / 2 <= pause <= most
    again, other = patience(attempts=7, first_wait=1.0, longest_wait=8.0, seed=3)
    again.retry(unavailable(*[None] * 6))
    assert other.waits == clock.waits  # drawn from the seed
    third, unlike = patience(attempts=7, first_wait=1.0, longest_wait=8.0, seed=4)
    third.retry(unavailable(*[None] * 6))
    assert unlike.waits != clock.waits


def test_the_service_may_ask_for_more() -> None:
    mine, clock = patience(first_wait=1.0)
    mine.retry(unavailable(30.0, 0.0))
    assert clock.waits[0] == 30.0
    assert 1.0 <= clock.waits[1] <= 2.0


def test_attempts_and_timeouts_end_it() -> None:
    mine, clock = patience(attempts=3)
    with pytest.raises(ServiceError, match=r"^busy \(asked 3 times\)$") as caught:
        mine.retry(unavailable(*[None] * 9))
    assert not isinstance(caught.value, UnavailableError)  # so that nobody starts over
    assert len(clock.waits) == 2
    mine, clock = patience(timeout=10.0)
    with pytest.raises(ServiceError, match="busy: no answer within the timeout of 10 s"):
        mine.retry(unavailable(30.0))
    assert clock.waits == []
    with pytest.raises(ServiceError, match=r"\(asked once\)"):
        patience(attempts=1)[0].retry(unavailable(None))


def test_other_errors_are_final() -> None:
    mine, clock = patience()

    def ask() -> None:
        raise ServiceError("no")

    with pytest.raises(ServiceError, match=r"^no$"):
        mine.retry(ask)
    assert clock.waits == []


class Echo:
    """Answers with the frame given, in as many steps as asked; `fail` maps a branch to an error."""

    name = "echo"

    def __init__(self, **fail: Exception) -> None:
        self.fail = {int(key[1:]): error for key, error in fail.items()}
        self.capabilities = Capabilities(actions="none", fps=10.0, frame_size=(64, 64))
        self.asked = 0
        self.active = self.most_active = 0
        self.lock = threading.Lock()
        self.answer = lambda item, horizon: item.frame.expand(horizon, -1, -1, -1)

    def frames(self, item: Item, horizon: int, patience: Patience) -> Tensor:
        with self.lock:
            self.asked += 1
            self.active += 1
            self.most_active = max(self.most_active, self.active)
        time.sleep(0.01)
        with self.lock:
            self.active -= 1
        if item.branch in self.fail:
            raise self.fail[item.branch]
        return self.answer(item, horizon)


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return sprite_items(3, 4, branches=2)


def test_rows_at_once_are_bounded(items: list[Item]) -> None:
    class Together(Echo):
        """Answers only once `workers` rows have asked."""

        def frames(self, item: Item, horizon: int, patience: Patience) -> Tensor:
            with self.lock:
                self.active += 1
                self.most_active = max(self.most_active, self.active)
            barrier.wait(timeout=60)
            with self.lock:
                self.active -= 1
            return self.answer(item, horizon)

    for workers in (1, 3):
        barrier, service = threading.Barrier(workers), Together()
        rollouts = ServerModel(service, workers=workers).rollout(items, 4)
        assert service.most_active == workers
        for i, item in enumerate(items):
            assert bool((rollouts.frames[i] == item.frame).all())


def test_every_failed_row_is_named(items: list[Item]) -> None:
    service = Echo(b1=ValueError("cannot say this"))
    with pytest.raises(RowsFailedError, match="no answer for 3 of 6 rows") as caught:
        ServerModel(service).rollout(items, 4)
    assert sorted(caught.value.rows) == [1, 3, 5]
    assert all(isinstance(error, ValueError) for error in caught.value.rows.values())
    for scenario in range(3):
        assert f"scenario 'sprites-{scenario}', seed 0, branch 1" in str(caught.value)
    assert str(caught.value).count("ValueError: cannot say this") == 1


def test_kept_answers_are_those_of_the_same_question(items: list[Item]) -> None:
    service = Echo(b1=ServiceError("no"))
    model = ServerModel(service)
    with pytest.raises(RowsFailedError):
        model.rollout(items, 4)
    assert service.asked == 6
    model.rollout([items[0]], 4)
    assert service.asked == 6
    model.rollout([replace(items[2], seed=9)], 4)  # another question: what is left is let go
    model.rollout([items[4]], 4)
    assert service.asked == 8


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda item, n: item.frame.expand(n, -1, -1, -1)[..., :60], "expected frames uint8"),
        (lambda item, n: item.frame.expand(n, -1, -1, -1).float(), "got torch.float32"),
        (lambda item, n: item.frame, "expected frames uint8"),
        (lambda item, n: item.frame.expand(n + 1, -1, -1, -1), r"expected 1\.\.4 frames .* got 5"),
        (lambda item, n: item.frame.expand(n, -1, -1, -1)[:0], r"expected 1\.\.4 frames .* got 0"),
    ],
)
def test_answers_of_another_shape(items: list[Item], answer: object, message: str) -> None:
    service = Echo()
    service.answer = answer  # type: ignore[assignment]
    with pytest.raises(RowsFailedError, match=message):
        ServerModel(service).rollout(items[:1], 4)


def test_panels_of_another_frame_rate(items: list[Item]) -> None:
    with pytest.raises(RowsFailedError, match="is at 12 frames per second, model 'echo' takes 10"):
        ServerModel(Echo()).rollout([replace(items[0], fps=12.0)], 4)


def test_an_interrupt_calls_all_off(items: list[Item]) -> None:
    seen: list[BaseException] = []

    class Waits(Echo):
        def frames(self, item: Item, horizon: int, patience: Patience) -> Tensor:
            if item.branch == 0 and item.scenario == 0:
                raise KeyboardInterrupt
            try:
                patience.wait(30.0, "job")
            except ServiceError as error:
                seen.append(error)
                raise
            return super().frames(item, horizon, patience)

    before = threading.active_count()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        ServerModel(Waits(), workers=6).rollout(items, 4)
    while threading.active_count() > before and time.monotonic() < start + 5:
        time.sleep(0.01)
    assert time.monotonic() - start < 5
    assert [str(error) for error in seen] == ["job: called off"] * 5
