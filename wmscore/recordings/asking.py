"""Ask a model for rows so that one that fails costs no other its answer."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

import wmscore.rollouts
from wmscore.functional import Reason
from wmscore.recordings.keeping import unlike
from wmscore.replay import WrongAnswerError
from wmscore.rollouts import Rollouts
from wmscore.rowfaults import NO_FAULTS, RowFault, message_of
from wmscore.worlds.handing import own

__all__ = ["Answer", "Ask", "ask_rows", "wrong_answer"]

_LONGEST = 4000  # characters of a message in a report

Ask = Callable[[Sequence[tuple[int, int]]], Rollouts]
"""Answers (scenario index, seed) rows, all branches of each."""


@dataclass
class Answer:
    """What came of asking for some rows.

    Attributes:
        rollouts: of the rows that were answered, in the order asked, in host memory of their own;
            None where none was.
        device: where the model made them.
        faults: of the others.
        log: tracebacks, of failed batches too.
        calls: how many times the model was called.
    """

    rollouts: Rollouts | None = None
    device: torch.device | None = None
    faults: list[RowFault] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    calls: int = 0


def ask_rows(ask: Ask, rows: Sequence[tuple[int, int]]) -> Answer:
    """Ask for all rows at once, and where that fails for each alone.

    A row that fails alone becomes a fault, whatever exception it raises, also one that is no
    `Exception` (a panic in Rust, a cancelled task). What asks a process to stop (KeyboardInterrupt,
    SystemExit) is none.
    """
    answer = Answer()
    found = _try(ask, rows, answer)
    if found is not None:
        answer.rollouts = found
        return answer
    if len(rows) > 1:
        answer.faults.clear()
        parts: list[Rollouts] = []
        for row in rows:
            alone = _try(ask, [row], answer)
            if alone is not None and parts and (other := unlike(alone, parts[0])):
                answer.faults.append(wrong_answer(row, other))
            elif alone is not None:
                parts.append(alone)
        answer.rollouts = Rollouts.concat(parts) if parts else None
    return answer


def _try(ask: Ask, rows: Sequence[tuple[int, int]], answer: Answer) -> Rollouts | None:
    """Ask once; a failure is noted, as the fault of the first of `rows`."""
    answer.calls += 1
    try:
        found = ask(rows)
        answer.device = found.device
        return own(found)  # at once: the next call may fill the same buffers
    except NO_FAULTS:
        raise
    except BaseException as error:
        reason = Reason.MODEL_ERROR
        if isinstance(error, WrongAnswerError):
            reason = error.reason
        elif _is_malformed(error):
            reason = Reason.WRONG_ANSWER
        text = f"rows {list(rows)}\n{''.join(traceback.format_exception(error))}"
        fault = _fault(rows[0], reason, type(error).__name__, message_of(error, _LONGEST))
    # Only now are the tensors gone that the traceback held.
    answer.log.append(text)
    answer.faults.append(fault)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def wrong_answer(row: tuple[int, int], message: str) -> RowFault:
    """The fault of a row whose answer does not go with those of other rows."""
    return _fault(row, Reason.WRONG_ANSWER, WrongAnswerError.__name__, message)


def _fault(row: tuple[int, int], reason: Reason, error: str, message: str) -> RowFault:
    return RowFault(
        scenario=row[0], seed=row[1], reason=reason, error=error, message=message or "(no message)"
    )


def _is_malformed(error: BaseException) -> bool:
    """Whether `Rollouts` itself refused what the model made of its answer."""
    frames = traceback.extract_tb(error.__traceback__)
    where = wmscore.rollouts.__file__
    return bool(frames) and Path(frames[-1].filename) == Path(where)
