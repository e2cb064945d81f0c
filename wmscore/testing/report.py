"""What `check_world_model` reports: one row per property, and whether each promise is kept."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ContractError", "ContractReport", "ContractRow"]


class ContractError(AssertionError):
    """A world model breaks the protocol or one of its own promises."""


@dataclass(frozen=True, kw_only=True)
class ContractRow:
    """One property.

    Attributes:
        property: what was looked at.
        promised: whether the protocol or the model's capabilities promise it.
        observed: what was seen.
        ok: false only where a promise is broken.
        detail: what the observation means.
    """

    property: str
    promised: bool
    observed: str
    ok: bool
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class ContractReport:
    """What `check_world_model` saw.

    Attributes:
        model: the model's name.
        rows: one per property.
        action_effect: mean absolute difference between the commanded and the other script over
            steps 1..T, in 0..255; NaN where no other script exists.
    """

    model: str
    rows: tuple[ContractRow, ...]
    action_effect: float

    @property
    def ok(self) -> bool:
        """No promise is broken."""
        return all(row.ok for row in self.rows)

    def table(self) -> str:
        """The rows as aligned text."""
        head = ("property", "promised", "observed", "ok", "detail")
        lines = [head] + [
            (r.property, "yes" if r.promised else "no", r.observed, str(r.ok), r.detail)
            for r in self.rows
        ]
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        )

    def raise_on_failure(self) -> None:
        """Raise ContractError with the table if a promise is broken."""
        if not self.ok:
            broken = [row.property for row in self.rows if not row.ok]
            raise ContractError(f"{self.model} breaks {broken}\n{self.table()}")
