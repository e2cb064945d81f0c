"""Which row of a panel a clip answers: by its file name, or by an index beside the clips."""

from __future__ import annotations

import csv
import json
import math
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from wmscore.episodes.episode import EpisodeError, EpisodeKey
from wmscore.files import safe_name

__all__ = ["ROW_PATTERN", "SUFFIXES", "ClipEntry", "entries_by_name", "read_index", "row_name"]

SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v", ".gif")
"""Files that count as clips."""

ROW_PATTERN = "{scenario}_{seed}_{branch}"
"""Form of the names of clips that answer a panel's rows, by default."""

_PARTS = {"scenario": r"(?P<scenario>.+)", "seed": r"(?P<seed>-?\d+)", "branch": r"(?P<branch>\d+)"}


@dataclass(frozen=True, kw_only=True)
class ClipEntry:
    """A clip of a folder; the fields are the columns of an index, of which `file` is needed.

    Attributes:
        file: path of the clip, from the folder.
        id: unique name; the file's without its suffix by default.
        scenario: id of the panel's scenario; `id` by default.
        seed: the panel's seed; any by default.
        branch: which script; 0 = commanded.
        offset: seconds at which frame 0 is shown.
        start_frame: the same as a number of frames.
        prompt: what the model was told.
        script: file of a hand-timed action script, from the folder.
    """

    file: str
    id: str = ""
    scenario: str | None = None
    seed: int | None = None
    branch: int = 0
    offset: float | None = None
    start_frame: int | None = None
    prompt: str | None = None
    script: str | None = None

    @property
    def key(self) -> EpisodeKey:
        """The episode's key."""
        name = self.id or str(Path(self.file).with_suffix(""))
        return EpisodeKey(id=name, scenario=self.scenario, seed=self.seed, branch=self.branch)


def row_name(scenario_id: str, seed: int, branch: int) -> str:
    """The name of a row's clip and of the files that ask for it, which `ROW_PATTERN` reads.

    Example:
        >>> row_name("hall/3", 7, 0)
        'hall_3_7_0'
    """
    return ROW_PATTERN.format(scenario=safe_name(scenario_id), seed=seed, branch=branch)


def entries_by_name(folder: Path, pattern: str) -> tuple[list[ClipEntry], list[str]]:
    """Clips whose file names, without the suffix, have the form of `pattern`, and all others.

    Args:
        folder: where the clips are.
        pattern: with {scenario} and, if there are several, {seed} and {branch}. Without {seed} a
            clip answers every seed.

    Raises:
        ValueError: the pattern has no {scenario}, or other fields.
    """
    names = re.findall(r"\{(\w*)\}", pattern)
    if "scenario" not in names or set(names) - _PARTS.keys() or len(set(names)) < len(names):
        raise ValueError(
            f"pattern: expected {{scenario}} and at most {{seed}} and {{branch}} beside it, "
            f"got {pattern!r}"
        )
    form = re.compile(
        "".join(
            _PARTS[part[1:-1]] if part.startswith("{") else re.escape(part)
            for part in re.split(r"(\{\w+\})", pattern)
        )
    )
    entries, strays = [], []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or not path.is_file() or path.name.startswith("._"):
            continue  # "._x.mp4" holds what macOS knows of x.mp4
        relative = path.relative_to(folder)
        match = form.fullmatch(relative.with_suffix("").as_posix())
        if match is None:
            strays.append(relative.as_posix())
            continue
        found = match.groupdict()
        script = path.with_suffix(".actions.json")
        entries.append(
            ClipEntry(
                file=relative.as_posix(),
                scenario=found["scenario"],
                seed=None if found.get("seed") is None else int(found["seed"]),
                branch=int(found.get("branch") or 0),
                script=script.relative_to(folder).as_posix() if script.exists() else None,
            )
        )
    return entries, strays


def read_index(path: Path) -> list[ClipEntry]:
    """Read `clips.csv` or `clips.jsonl`; its columns are the fields of `ClipEntry`.

    Raises:
        EpisodeError: a line that cannot be read; names it.
    """
    lines: list[tuple[str, dict[str, Any]]] = []
    if path.suffix == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as file:  # spreadsheets begin with a mark
            reader = csv.DictReader(file)
            for row in reader:
                where = f"{path}, line {reader.line_num}"
                if None in row or None in row.values():
                    raise EpisodeError(
                        f"{where}: expected {len(reader.fieldnames or ())} values as in its head"
                    )
                lines.append((where, {name: text for name, text in row.items() if text != ""}))
    else:
        for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            try:
                data = json.loads(line)
            except ValueError as error:
                raise EpisodeError(f"{where}: not valid JSON: {error}") from None
            if not isinstance(data, dict):
                raise EpisodeError(f"{where}: expected an object, got {type(data).__name__}")
            lines.append((where, {k: v for k, v in data.items() if v is not None}))
    entries = [_entry(where, data) for where, data in lines]
    if not entries:
        raise EpisodeError(f"{path}: expected at least one clip, got none")
    return entries


_KINDS: dict[str, type] = {
    **dict.fromkeys(("file", "id", "scenario", "prompt", "script"), str),
    **dict.fromkeys(("seed", "branch", "start_frame"), int),
    "offset": float,
}


def _entry(where: str, data: dict[str, Any]) -> ClipEntry:
    known = [f.name for f in fields(ClipEntry)]
    if strange := sorted(set(data) - set(known)):
        raise EpisodeError(f"{where}: expected the columns {known}, got {strange} too")
    if "file" not in data:
        raise EpisodeError(f"{where}: expected a file, got none")
    values: dict[str, Any] = {}
    for name, value in data.items():
        try:
            values[name] = _KINDS[name](value)
            if isinstance(value, bool) or (_KINDS[name] is int and values[name] != float(value)):
                raise ValueError
            if name in ("branch", "offset", "start_frame") and not 0 <= values[name] < math.inf:
                raise ValueError
        except (TypeError, ValueError, OverflowError):
            least = "" if name not in ("branch", "offset", "start_frame") else " of at least 0"
            raise EpisodeError(
                f"{where}: {name}: expected {_KINDS[name].__name__}{least}, got {value!r}"
            ) from None
    if {"offset", "start_frame"} <= values.keys():
        raise EpisodeError(f"{where}: expected offset or start_frame, got both")
    return ClipEntry(**values)
