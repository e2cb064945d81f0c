"""What a verification found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Findings", "Verification", "shown"]

_MOST = 8  # problems told of one file


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What `verify_evidence` found.

    Attributes:
        checked: what was done, one sentence each.
        problems: what is wrong: file, place, what stands there and what should; none where the
            folder is sound.
        unchecked: what could not be looked at, and what it would take.
    """

    checked: list[str]
    problems: list[str]
    unchecked: list[str]

    @property
    def sound(self) -> bool:
        """Nothing is wrong in what was checked."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "sound": self.sound,
            "checked": list(self.checked),
            "problems": list(self.problems),
            "unchecked": list(self.unchecked),
        }


@dataclass(kw_only=True)
class Findings:
    """A verification that is going on."""

    checked: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)

    def add(self, name: str, problems: Iterable[str]) -> bool:
        """Note what is wrong with a file, the first few of many; True where nothing is."""
        count = 0
        for problem in problems:
            count += 1
            if count <= _MOST:
                self.problems.append(f"{shown(name)}: {problem}")
        if count > _MOST:
            self.problems.append(f"{shown(name)}: and {count - _MOST} more")
        return count == 0

    def result(self) -> Verification:
        """What was found."""
        return Verification(checked=self.checked, problems=self.problems, unchecked=self.unchecked)


def shown(text: str, most: int = 200) -> str:
    """A text of unknown origin as it may be printed: one line, no control characters, short."""
    text = text if text.isprintable() else repr(text)[1:-1]
    return text if len(text) <= most else text[: most - 3] + "..."
