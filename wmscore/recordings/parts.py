"""One part of a recording on disk: its rollouts, its faults, and whether it is finished."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from wmscore.files import atomic_file
from wmscore.functional import Reason
from wmscore.recordings.layout import Layout
from wmscore.rollouts import Rollouts
from wmscore.rowfaults import RowFault

__all__ = [
    "has_room",
    "is_disk_full",
    "is_finished",
    "read_faults",
    "read_learned",
    "recorded_rows",
    "write_part",
    "write_report",
]

_FULL = (errno.ENOSPC, errno.EDQUOT)

Row = tuple[int, int]


def recorded_rows(folder: Path, part: int) -> list[Row]:
    """The rows in a part's rollouts, all branches of each; none of a broken file."""
    path = Layout.rollouts(folder, part)
    if not path.exists():
        return []
    try:
        with safe_open(path, "pt") as file:
            keys = [file.get_tensor(name).tolist() for name in ("scenario", "seed")]
    except (SafetensorError, OSError):
        return []
    return list(dict.fromkeys(zip(*keys, strict=True)))


def read_faults(folder: Path, part: int) -> list[RowFault]:
    """The faults that a part's report lists, without rows that have rollouts since."""
    path = Layout.report(folder, part)
    if not path.exists():
        return []
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))["faults"]
        faults = [RowFault(**{**line, "reason": Reason[line["reason"].upper()]}) for line in listed]
    except (ValueError, KeyError, TypeError):  # cut short by a crash, say: asked for again
        return []
    if not faults:
        return []
    answered = set(recorded_rows(folder, part))
    return [fault for fault in faults if (fault.scenario, fault.seed) not in answered]


def read_learned(folder: Path, part: int) -> list[dict[str, Any]]:
    """What a part's report says that the model had learned by then, in each run that asked for it.

    Nothing of a broken report.
    """
    path = Layout.report(folder, part)
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        found = {
            name: report[name]
            for name in ("number", "run", "made_by", "conversion_losses", "codec")
        }
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [*report.get("before", []), found]


def is_finished(folder: Path, part: int, rows: Sequence[Row]) -> bool:
    """Whether each row of a part has rollouts or a recorded fault."""
    faulty = {(fault.scenario, fault.seed) for fault in read_faults(folder, part)}
    return set(rows) <= {*recorded_rows(folder, part), *faulty}


def write_part(
    folder: Path,
    part: int,
    rollouts: Rollouts | None,
    report: Mapping[str, Any],
    faults: Sequence[RowFault],
    log: Sequence[str],
    *,
    again: bool = False,
) -> None:
    """Write a part; only its last file makes it finished.

    Args:
        folder: of the recording.
        part: its number.
        rollouts: of its rows, None where all are faults.
        report: what to tell of it besides its faults.
        faults: of its rows.
        log: tracebacks.
        again: it is finished already and gets better: a row must never be in neither file.
    """
    if again and rollouts is not None:
        rollouts.save(Layout.rollouts(folder, part), sync=True)
    write_report(folder, part, report, faults, log)
    if not again and rollouts is not None:
        rollouts.save(Layout.rollouts(folder, part), sync=True)


def write_report(
    folder: Path,
    part: int,
    report: Mapping[str, Any],
    faults: Sequence[RowFault],
    log: Sequence[str],
) -> None:
    """Write the log, where there is one, and the report of a part."""
    path = Layout.report(folder, part)
    if log:
        with atomic_file(path.with_suffix(".log")) as draft:
            draft.write_text("\n".join(log), encoding="utf-8", errors="backslashreplace")
    else:
        path.with_suffix(".log").unlink(missing_ok=True)
    lines = [
        {
            "scenario": fault.scenario,
            "seed": fault.seed,
            "reason": fault.reason.name.lower(),
            "error": fault.error,
            "message": fault.message,
        }
        for fault in faults
    ]
    with atomic_file(path) as draft:
        draft.write_text(json.dumps({**report, "faults": lines}, indent=2) + "\n", encoding="utf-8")


def is_disk_full(error: BaseException) -> bool:
    """Whether a write failed because the disk, or what one may use of it, is full."""
    return isinstance(error, OSError) and error.errno in _FULL


def has_room(folder: Path, size: int) -> bool:
    """Whether `size` bytes can be written now; asks the file system by reserving them."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            if hasattr(os, "posix_fallocate") and size:
                os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        if is_disk_full(error):
            return False
        raise
    return True
