"""A row that was asked for and has no rollouts: why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wmscore.functional import Reason

__all__ = ["NO_FAULTS", "RowFault", "describe_faults", "message_of", "one_line"]

_LONGEST = 300  # characters of a message in one line

NO_FAULTS = (KeyboardInterrupt, SystemExit, GeneratorExit)
"""What asks a process to stop. Of a model all else is a fault, also what is no `Exception`: a panic
in Rust, a cancelled task."""


@dataclass(frozen=True, kw_only=True)
class RowFault:
    """Why a (scenario, seed) row of a panel has no rollouts.

    Attributes:
        scenario: index of the scenario in the panel.
        seed: the row's seed.
        reason: `Reason.MODEL_ERROR`, `WRONG_ANSWER`, `WRONG_SIZE` or `WRONG_SCRIPT`.
        error: type of the exception, such as "OutOfMemoryError".
        message: what it said.
    """

    scenario: int
    seed: int
    reason: Reason
    error: str
    message: str

    def __str__(self) -> str:
        """The error in one line."""
        return f"{self.error}: {one_line(self.message)}"


def message_of(error: BaseException, longest: int) -> str:
    """What an exception says, in text that can be written; says so where it is cut or broken."""
    try:
        text = str(error)
    except Exception:  # it is the model's: it may be broken too
        return "(a message that cannot be read)"
    text = text.encode("utf-8", "backslashreplace").decode()
    if len(text) <= longest:
        return text
    return f"{text[:longest]} ... ({len(text)} characters; all of them are in the log)"


def one_line(message: str) -> str:
    r"""The first line of a message, with `...` where there is more.

    Example:
        >>> one_line("no kitchen\x07\nat all")
        'no kitchen\\x07 ...'
    """
    lines = message.strip().splitlines() or [""]
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in lines[0][:_LONGEST])
    return shown + " ..." * (len(lines) > 1 or len(lines[0]) > _LONGEST)


def describe_faults(faults: Sequence[RowFault], scenarios: Sequence[str]) -> list[str]:
    """One line for each kind of fault: how many rows, and the first message.

    Args:
        faults: the faults.
        scenarios: ids of the panel's scenarios.

    Example:
        >>> fault = RowFault(
        ...     scenario=0, seed=7, reason=Reason.MODEL_ERROR, error="ValueError", message="no"
        ... )
        >>> describe_faults([fault], ["kitchen"])
        ["model_error: 1 row ('kitchen', seed 7): ValueError: no"]
    """
    lines = []
    for reason in sorted({fault.reason for fault in faults}):
        some = [fault for fault in faults if fault.reason == reason]
        first = some[0]
        count = "1 row" if len(some) == 1 else f"{len(some)} rows, the first"
        where = f"({scenarios[first.scenario]!r}, seed {first.seed})"
        lines.append(f"{reason.name.lower()}: {count} {where}: {first}")
    return lines
