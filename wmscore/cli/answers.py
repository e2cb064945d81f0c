"""What a command answers: an exit code, and its result for people and for programs."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Answer", "as_text", "printing_to_stderr", "plain"]


def _nothing() -> None:
    """For commands whose result is told while they run."""


@dataclass(frozen=True)
class Answer:
    """What a command found.

    Attributes:
        document: the result as plain data, printed by `--json`; or its JSON text.
        show: prints the result for people; not called with `--json`.
        code: exit code.
    """

    document: Mapping[str, Any] | str
    show: Callable[[], object] = _nothing
    code: int = 0


def plain(value: Any) -> Any:
    """Data without NaN and infinity, which JSON does not have: null, and "inf" or "-inf".

    Example:
        >>> plain({"score": float("nan"), "steps": [1, float("inf")]})
        {'score': None, 'steps': [1, 'inf']}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return value


def as_text(document: Mapping[str, Any] | str) -> str:
    """JSON, ending in a new line."""
    if isinstance(document, str):
        return document
    text = json.dumps(plain(document), indent=2, ensure_ascii=False, allow_nan=False)
    return printable(text) + "\n"


def printable(text: str) -> str:
    r"""Text that any terminal takes: bytes of file names that are no UTF-8 become `\udc..`.

    In JSON that is the escape that stands for the same.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@contextlib.contextmanager
def printing_to_stderr(active: bool) -> Iterator[None]:
    """While a command runs for `--json`, whatever is printed goes to stderr.

    Also what a model's own code prints, and what libraries print past Python.
    """
    if not active:
        yield
        return
    kept, own = None, sys.stdout
    try:
        if own.fileno() == 1:
            own.flush()
            kept = os.dup(1)
            os.dup2(2, 1)
    except (OSError, ValueError):  # no file, as under tests
        kept = None
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)
