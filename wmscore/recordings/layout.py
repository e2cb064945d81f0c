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
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wmscore.manifest import Panel

__all__ = ["Layout", "Shard", "clean_drafts", "lock_shard"]

# As `wmscore.files` names them: a dot, the file's name, and something random.
_DRAFT = re.compile(
    r"\.(recording|asked|panel|truth-\d+|(rollouts|part)-(?P<part>\d+))"
    r"\.(json|log|safetensors)\.\w+\.(json|log|safetensors)"
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


class Layout:
    """Rows and file names of a recording's parts."""

    def __init__(self, panel: Panel, batch_size: int) -> None:
        """Cut the rows of `panel` into parts of `batch_size`."""
        self.batch_size, self.seeds = batch_size, len(panel.seeds)
        self.rows = list(panel.rows())
        self.parts = -(-len(self.rows) // batch_size)

    def rows_of(self, part: int) -> list[tuple[int, int]]:
        """(scenario index, seed) pairs of a part."""
        return self.rows[part * self.batch_size : (part + 1) * self.batch_size]

    def parts_of(self, shard: Shard) -> range:
        """The parts that a shard makes."""
        return range(shard.index, self.parts, shard.count)

    def first_part(self, scenario: int) -> int:
        """The first part with rows of a scenario; its truth is rendered along with it."""
        return scenario * self.seeds // self.batch_size

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


@contextlib.contextmanager
def lock_shard(folder: Path, shard: Shard) -> Iterator[None]:
    """Let no second process make the same parts at the same time; a killed one lets go.

    Raises:
        ValueError: another process is at it.
    """
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        yield
        return
    path = folder / f".shard-{shard.index}-of-{shard.count}.lock"
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"shard: another process is recording {shard.index}/{shard.count} into {folder}"
            ) from None
        except OSError:  # a network file system without locks
            yield
            return
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
