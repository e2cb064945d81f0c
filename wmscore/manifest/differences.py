"""In which fields two panels differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["PanelMismatchError", "differences_of"]


class PanelMismatchError(ValueError):
    """Two results belong to different panels and must not be compared or mixed."""


class _Absent:
    def __repr__(self) -> str:
        return "absent"


_ABSENT = _Absent()


def differences_of(path: str, mine: Any, theirs: Any) -> Iterator[str]:
    """The fields of plain data that differ, as `field: mine != theirs`; `path` leads to them."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for key in sorted(mine.keys() | theirs.keys()):
            where = f"{path}.{key}" if path else key
            yield from differences_of(where, mine.get(key, _ABSENT), theirs.get(key, _ABSENT))
    elif isinstance(mine, list) and isinstance(theirs, list) and len(mine) == len(theirs):
        for i, (a, b) in enumerate(zip(mine, theirs, strict=True)):
            yield from differences_of(f"{path}[{i}]", a, b)
    elif isinstance(mine, list) and isinstance(theirs, list):
        yield f"{path}: {len(mine)} items != {len(theirs)} items"
    elif type(mine) is not type(theirs) or mine != theirs:  # 1 and 1.0 are different text
        yield f"{path}: {mine!r} != {theirs!r}"
