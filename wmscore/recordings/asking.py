"""Ask a model for rows so that one that fails costs no other its answer."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

import wmscore.rollouts
from wmscore.functional import Reason
from wmscore.replay import WrongAnswerError
from wmscore.rollouts import Rollouts
from wmscore.rowfaults import RowFault

__all__ = ["Answer", "Ask", "ask_rows"]

Ask = Callable[[Sequence[tuple[int, int]]], Rollouts]
"""Answers (scenario index, seed) rows, all branches of each."""


@dataclass
class Answer:
    """What came of asking for some rows.

    Attributes:
        rollouts: of the rows that were answered, in the order asked; None where none was.
        faults: of the others.
        log: tracebacks, of failed batches too.
        calls: how many times the model was called.
    """

    rollouts: Rollouts | None = None
    faults: list[RowFault] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    calls: int = 0


def ask_rows(ask: Ask, rows: Sequence[tuple[int, int]]) -> Answer:
    """Ask for all rows at once, and where that fails for each alone.

    A row that fails alone becomes a fault, whatever exception it raises. What asks a process to
    stop (KeyboardInterrupt, SystemExit) is none.
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
            if alone is not None and parts and (other := _unlike(alone, parts[0])):
                answer.faults.append(_fault(row, Reason.WRONG_ANSWER, "WrongAnswerError", other))
            elif alone is not None:
                parts.append(alone)
        answer.rollouts = Rollouts.concat(parts) if parts else None
    return answer


def _try(ask: Ask, rows: Sequence[tuple[int, int]], answer: Answer) -> Rollouts | None:
    """Ask once; a failure is noted, as the fault of the first of `rows`."""
    answer.calls += 1
    try:
        return ask(rows)
    except Exception as error:
        wrong = isinstance(error, WrongAnswerError) or _is_malformed(error)
        reason = Reason.WRONG_ANSWER if wrong else Reason.MODEL_ERROR
        text = f"rows {list(rows)}\n{''.join(traceback.format_exception(error))}"
        fault = _fault(rows[0], reason, type(error).__name__, str(error))
    # Only now are the tensors gone that the traceback held.
    answer.log.append(text)
    answer.faults.append(fault)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def _fault(row: tuple[int, int], reason: Reason, error: str, message: str) -> RowFault:
    return RowFault(
        scenario=row[0], seed=row[1], reason=reason, error=error, message=message or "(no message)"
    )


def _is_malformed(error: Exception) -> bool:
    """Whether `Rollouts` itself refused what the model made of its answer."""
    frames = traceback.extract_tb(error.__traceback__)
    where = wmscore.rollouts.__file__
    return bool(frames) and Path(frames[-1].filename) == Path(where)


def _unlike(alone: Rollouts, first: Rollouts) -> str:
    """How an answer is of another kind than the first one; rows of one file must be of one."""
    kinds = [
        {
            "frames": (r.frames.dtype, tuple(r.frames.shape[1:])),
            "labels": None if r.labels is None else r.labels.dtype,
            "latents": None if r.latents is None else (r.latents.dtype, r.latents.shape[2]),
            "info": sorted((k, v.dtype, tuple(v.shape[1:])) for k, v in r.info.items()),
        }
        for r in (first, alone)
    ]
    return "; ".join(
        f"{name}: expected {kinds[0][name]} as in other rows, got {kinds[1][name]}"
        for name in kinds[0]
        if kinds[0][name] != kinds[1][name]
    )
