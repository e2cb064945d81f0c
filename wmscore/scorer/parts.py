"""What batches gave, put into the order of the panel's rows."""

from __future__ import annotations

from torch import Tensor, cat

__all__ = ["Parts"]


class Parts:
    """Tensors of every batch by name, each `[G, ...]` for the G panel rows in `slot`.

    All batches have the same names.
    """

    def __init__(self, rows: int) -> None:
        """Nothing yet, of a panel with so many rows."""
        self._rows = rows
        self._parts: list[dict[str, Tensor]] = []

    def add(self, part: dict[str, Tensor]) -> None:
        """Take what a batch gave; `slot` `[G]` int64 among it."""
        self._parts.append(part)

    def __contains__(self, name: str) -> bool:
        """Whether batches have it; without a batch nothing is."""
        return bool(self._parts) and name in self._parts[0]

    def names(self, group: str) -> list[str]:
        """Names that begin with `group.`, without it."""
        start = f"{group}."
        known = self._parts[0] if self._parts else {}
        return [name.removeprefix(start) for name in known if name.startswith(start)]

    def gather(self, name: str, blank: Tensor) -> Tensor:
        """All rows on the host; those that did not come are those of `blank` `[R, ...]`."""
        if self._parts:
            known, slot = (cat([part[key] for part in self._parts]) for key in (name, "slot"))
            blank = blank.to(known).index_copy(0, slot, known)
        return blank.cpu()

    def filled(self, name: str, blank: float) -> Tensor:
        """The same with one value for rows that did not come; of a name that batches have."""
        value = self._parts[0][name]
        return self.gather(name, value.new_full((self._rows, *value.shape[1:]), blank))
