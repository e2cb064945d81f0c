"""What lies where in the folder of a recording, and which shard makes which part.

| file | what |
| --- | --- |
| `recording.json` | who was recorded, and how (`About`) |
| `asked.json` | the panel as it was asked for |
| `panel.json` | the panel with its initial frames frozen; once written it never changes |
| `truth-00024.safetensors` | true rollouts; 24 is the first scenario in it |
| `rollouts-00012.safetensors` | rows of part 12 |
| `part-00012.json`, `.log` | time and faults of part 12; tracebacks |

Part `i` holds the panel's rows `i * batch_size` and on, however many machines make them. A part is
finished when each of its rows is in its rollouts or among its faults; a row that is in both has
rollouts. Every file appears whole or not at all, so that this can be told at any time.
"""

from __future__ import annotations

import contextlib
import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wmscore.manifest import Panel

__all__ = ["Layout", "Shard", "clean_drafts"]

# As `wmscore.files` names them: a dot, the file's name, and something random. The last kind is of
# safetensors, which writes to a draft of its own beside ours.
_DRAFT = re.compile(
    r"\.(recording|asked|panel|truth-\d+|(rollouts|part)-(?P<part>\d+))"
    r"\.(json|log|safetensors)\.\w+\.(json|log|safetensors)|\.tmp\w{6}"
)
_OLD_DRAFT = 24 * 3600.0  # seconds after which no other shard can be writing it still


@dataclass(frozen=True)
class Shard:
    """A machine's share: the parts `i` with `i % count == index`."""

    index: int = 0
    count: int = 1

    @classmethod
    def of(cls, given: Sequence[int]) -> Shard:
        """Check a pair (index, count).

        Raises:
            ValueError: it is none with 0 <= index < count.
        """
        numbers = tuple(given)
        sound = len(numbers) == 2 and all(type(n) is int for n in numbers)
        if not sound or not 0 <= numbers[0] < numbers[1]:
            raise ValueError(
                f"shard: expected (index, count) with 0 <= index < count, got {numbers}"
            )
        return cls(*numbers)

    def overlaps(self, other: Shard) -> bool:
        """Whether there are parts that both make.

        Example:
            >>> Shard(0, 2).overlaps(Shard(2, 4)), Shard(0, 2).overlaps(Shard(1, 4))
            (True, False)
        """
        return (self.index - other.index) % math.gcd(self.count, other.count) == 0


class Layout:
    """Rows and file names of a recording's parts."""

    def __init__(self, panel: Panel, batch_size: int) -> None:
        """Cut the rows of `panel` into parts of `batch_size`."""
        self.batch_size, self.seeds = batch_size, list(panel.seeds)
        self.rows = list(panel.rows())
        self.parts = -(-len(self.rows) // batch_size)

    def rows_of(self, part: int) -> list[tuple[int, int]]:
        """(scenario index, seed) pairs of a part."""
        return self.rows[part * self.batch_size : (part + 1) * self.batch_size]

    def parts_of(self, shard: Shard) -> range:
        """The parts that a shard makes."""
        return range(shard.index, self.parts, shard.count)

    def part_of(self, scenario: int, seed: int) -> int | None:
        """The part with a row, or None where the panel does not have it."""
        if not 0 <= scenario < len(self.rows) // len(self.seeds) or seed not in self.seeds:
            return None
        return (scenario * len(self.seeds) + self.seeds.index(seed)) // self.batch_size

    def first_part(self, scenario: int) -> int:
        """The first part with rows of a scenario; its truth is rendered along with it."""
        return scenario * len(self.seeds) // self.batch_size

    @staticmethod
    def scenarios(rows: Sequence[tuple[int, int]]) -> list[int]:
        """The scenarios of some rows, each once."""
        return list(dict.fromkeys(s for s, _ in rows))

    @staticmethod
    def rollouts(folder: Path, part: int) -> Path:
        """The file with a part's rollouts."""
        return folder / f"rollouts-{part:05d}.safetensors"

    @staticmethod
    def report(folder: Path, part: int) -> Path:
        """The file with a part's time and faults; the log has the same name with `.log`."""
        return folder / f"part-{part:05d}.json"


def clean_drafts(folder: Path, layout: Layout, shard: Shard) -> None:
    """Remove what killed writes have left behind, but nothing that another shard writes now."""
    now, own = time.time(), layout.parts_of(shard)
    for draft in folder.glob(".*"):
        found = _DRAFT.fullmatch(draft.name)
        if found is None:
            continue
        mine = shard.count == 1 or (found["part"] is not None and int(found["part"]) in own)
        with contextlib.suppress(FileNotFoundError):
            if mine or now - draft.stat().st_mtime > _OLD_DRAFT:
                draft.unlink()
