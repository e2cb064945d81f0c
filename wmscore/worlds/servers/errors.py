"""What goes wrong with a service, told apart by whether asking again may help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wmscore.worlds.given import item_words
from wmscore.worlds.protocol import Item

__all__ = ["RowsFailedError", "ServiceError", "UnavailableError", "without_secrets"]


class ServiceError(RuntimeError):
    """A service has answered that it cannot do what it was asked, or with something else."""


class UnavailableError(ServiceError):
    """A service was not reached, or is busy: nothing was done, and asking again may help.

    Attributes:
        wait: seconds that the service asks to wait for, or None.
    """

    def __init__(self, message: str, *, wait: float | None = None) -> None:
        """Keep the message and the wait."""
        super().__init__(message)
        self.wait = wait


class RowsFailedError(RuntimeError):
    """Some rows of a call have no answer; the message names them by their errors.

    Attributes:
        rows: index of the row in the call -> its error.
    """

    def __init__(self, name: str, items: Sequence[Item], rows: Mapping[int, Exception]) -> None:
        """Name the model, the rows and their errors."""
        self.rows = dict(rows)
        alike: dict[str, list[str]] = {}
        for i, error in rows.items():
            told = f"{type(error).__name__}: {error}"
            alike.setdefault(told, []).append(item_words(items[i]))
        why = "; ".join(f"{_some(found)}: {error}" for error, found in alike.items())
        super().__init__(f"model {name!r}: no answer for {len(rows)} of {len(items)} rows: {why}")


def _some(rows: Sequence[str], most: int = 4) -> str:
    rest = [f"{len(rows) - most} more"] if len(rows) > most else []
    return " and ".join([*rows[:most], *rest])


def without_secrets(text: str, secrets: Sequence[str | None]) -> str:
    """`text` with every secret in it replaced by `***`; services like to repeat a wrong key.

    Example:
        >>> without_secrets("Incorrect API key provided: sk-12", ["sk-12", None])
        'Incorrect API key provided: ***'
    """
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return text
