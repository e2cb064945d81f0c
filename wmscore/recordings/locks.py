"""One process at a time makes a part of a recording."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from wmscore.recordings.layout import Shard

__all__ = ["lock_shard"]

_LOCK = re.compile(r"\.shard-(\d+)-of-(\d+)\.lock")


@contextlib.contextmanager
def lock_shard(folder: Path, shard: Shard) -> Iterator[None]:
    """Let no second process make the same parts at the same time; a killed one lets go.

    Shards of another count may share parts too (0/1 all of them): they are looked at as well.

    Raises:
        ValueError: another process is at it.
    """
    path = folder / f".shard-{shard.index}-of-{shard.count}.lock"
    with contextlib.ExitStack() as stack:
        if _hold(stack, path, folder, shard):
            stack.callback(path.unlink, missing_ok=True)
            for other, number in _others(folder, path):
                if shard.overlaps(number):
                    _refuse_held(other, folder, number)
        yield


def _hold(stack: contextlib.ExitStack, path: Path, folder: Path, shard: Shard) -> bool:
    """Hold the lock of a shard as long as `stack` is open; False where there are no locks."""
    while True:
        file = stack.enter_context(path.open("a"))
        if not _lock(file, folder, shard):
            return False
        # Whoever had it may have removed the file just before: then it locks nothing any more.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return True


def _refuse_held(path: Path, folder: Path, shard: Shard) -> None:
    """Refuse to go on while another process holds a lock."""
    with contextlib.suppress(FileNotFoundError), path.open("r") as file:
        _lock(file, folder, shard)


def _others(folder: Path, own: Path) -> Iterator[tuple[Path, Shard]]:
    for path in folder.glob(".shard-*.lock"):
        found = _LOCK.fullmatch(path.name)
        if found and path != own:
            yield path, Shard(int(found[1]), int(found[2]))


def _lock(file: TextIO, folder: Path, shard: Shard) -> bool:
    """Lock a file that is open; False where there are no locks.

    Raises:
        ValueError: another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # not on this system
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(
            f"shard: another process is recording {shard.index}/{shard.count} into {folder}"
        ) from None
    except OSError:  # a network file system without locks
        return False
    return True
