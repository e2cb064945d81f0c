"""Rows of actions in small files beside a video: json, jsonl, csv, npy, npz."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wmscore.episodes.archives import open_archive
from wmscore.episodes.episode import EpisodeError

__all__ = ["ACTION_SUFFIXES", "read_action_rows"]

ACTION_SUFFIXES = (".jsonl", ".json", ".csv", ".npy", ".npz", ".safetensors")


def read_action_rows(
    path: Path, *, field: str = "actions", names: Sequence[str] | None = None
) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Read all rows of a file.

    A row is a name of `names` or a whole number (discrete), a list of numbers, or an object: with
    `field` in it that is the row; otherwise it has a number for each component. A .json is a list
    of rows, or an object with `field`; a .csv has a head, with the column `field` or one column
    per component; .npz and .safetensors hold the array `field`.

    Args:
        path: the file.
        field: where the rows are, see above.
        names: of the discrete actions in order, or of the components, which are then picked out of
            objects and columns by name. By default components come in the order of the file.

    Returns:
        `[N]` integers or `[N, A]` floats, and the components' names where the file says them.

    Raises:
        EpisodeError: the file cannot be read, or a row is of another kind than the first.
    """
    if path.suffix in (".npz", ".safetensors", ".npy"):
        return _array(path, field), None
    try:
        rows = _rows(path, field)
    except (OSError, ValueError) as error:
        raise EpisodeError(f"{path}: {error}") from None
    if not rows:
        raise EpisodeError(f"{path}: expected rows of actions, there are none")
    if isinstance(rows[0], dict):
        wanted = tuple(rows[0]) if names is None else tuple(names)
        rows = [_components(row, wanted, f"{path}: row {i}") for i, row in enumerate(rows)]
        return np.array(rows, dtype=np.float64), wanted
    if isinstance(rows[0], list):
        width = len(rows[0])
        for i, row in enumerate(rows):
            if not isinstance(row, list) or len(row) != width or not all(map(_is_number, row)):
                raise EpisodeError(f"{path}: row {i}: expected {width} numbers, got {row!r}")
        return np.array(rows, dtype=np.float64).reshape(len(rows), width), None
    numbers = []
    for i, row in enumerate(rows):
        if isinstance(row, str) and row in (names or ()):
            row = list(names or ()).index(row)
        if isinstance(row, bool) or not isinstance(row, int):
            known = f"one of {list(names)} or its number" if names else "a whole number"
            raise EpisodeError(f"{path}: row {i}: expected {known}, got {row!r}")
        numbers.append(row)
    return np.array(numbers, dtype=np.int64), None


def _array(path: Path, field: str) -> np.ndarray:
    try:
        if path.suffix == ".npy":
            return np.asarray(np.load(path, allow_pickle=False))
        archive = open_archive(path)
        if field not in archive.shapes:
            raise ValueError(f"expected an array {field!r}, got {list(archive.shapes)}")
        return archive.read(field, slice(None))
    except (OSError, ValueError) as error:
        raise EpisodeError(f"{path}: {error}") from None


def _rows(path: Path, field: str) -> list[Any]:
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            table = list(reader)
        for number, line in enumerate(table, start=2):
            if None in line or None in line.values():
                raise ValueError(f"line {number}: expected {len(reader.fieldnames or ())} values")
        read = [{name: _cell(text) for name, text in line.items()} for line in table]
    elif path.suffix == ".jsonl":
        read = []
        for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if text.strip():
                try:
                    read.append(json.loads(text))
                except ValueError as error:
                    raise ValueError(f"line {number}: not valid JSON: {error}") from None
    else:
        read = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(read, dict):
            if field not in read:
                raise ValueError(f"expected {field!r}, got {list(read)}")
            read = read[field]
        if not isinstance(read, list):
            raise ValueError(f"expected a list of rows, got {type(read).__name__}")
    return [row[field] if isinstance(row, dict) and field in row else row for row in read]


def _cell(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _components(row: Any, names: Sequence[str], where: str) -> list[float]:
    if not isinstance(row, dict):
        raise EpisodeError(f"{where}: expected an object with {list(names)}, got {row!r}")
    values = []
    for name in names:
        if not _is_number(row.get(name)):
            raise EpisodeError(f"{where}: expected a number {name!r}, got {row.get(name)!r}")
        values.append(float(row[name]))
    return values


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)  # true and false are 1 and 0: keys held or not
