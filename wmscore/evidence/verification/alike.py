"""Two versions of a file compared value by value, in words."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wmscore.evidence.verification.findings import shown
from wmscore.extras import require

__all__ = ["SLACK", "differences", "value_differences"]

SLACK = 1e-6
"""Relative difference of numbers that another machine may make."""

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\binf\b|\bnan\b)")
_GONE = "nothing"


def differences(stored: Path, found: Path, *, exact: bool) -> Iterator[str]:
    """What differs between a stored file and the one that was made again, one sentence each.

    Args:
        stored: of the folder; it may hold anything.
        found: made again.
        exact: every byte must be the same; otherwise numbers may differ by `SLACK`, and pictures,
            which other versions of libraries draw otherwise, are not compared.
    """
    size, expected = stored.stat().st_size, found.stat().st_size
    if size > 4 * expected + 2**20:
        yield f"expected about {expected:,} bytes, got {size:,}; it was not read"
        return
    old, new = stored.read_bytes(), found.read_bytes()
    if old == new:
        return
    compare = _BY_SUFFIX.get(found.suffix)
    if compare is None:
        if exact:
            yield "not as made again from the scores and traces"
        return
    try:
        told = list(compare(old, new, exact))
    except Exception as error:  # of whatever a foreign file makes a reader say
        told = [f"cannot be read: {shown(str(error))}"]
    yield from told
    if exact and not told:
        yield "the same values, but other bytes than made again"


def _csv(old: bytes, new: bytes, exact: bool) -> Iterator[str]:
    stored, made = ([*csv.reader(io.StringIO(_text(raw), newline=""))] for raw in (old, new))
    head = made[0]
    if stored[:1] != made[:1]:
        yield f"expected the columns {shown(str(head))}, got {shown(str(stored[:1]))}"
        return
    keys = [i for i, name in enumerate(head) if name in _KEYS]
    for n, (line, other) in enumerate(itertools.zip_longest(stored[1:], made[1:]), start=2):
        if line is None or other is None or len(line) != len(other):
            yield f"line {n}: stored {_line(line)}, recomputed {_line(other)}"
            continue
        where = ", ".join(f"{head[i]} {shown(other[i])}" for i in keys)
        for name, cell, value in zip(head, line, other, strict=True):
            if not _same(cell, value, exact):
                yield (
                    f"line {n} ({where}), column {name}: stored {shown(cell)!r}, recomputed "
                    f"{shown(value)!r}"
                )


_KEYS = ("scenario", "seed", "model", "kind", "name", "step", "action", "object_id", "stressor")


def _line(cells: list[str] | None) -> str:
    return _GONE if cells is None else repr(shown(",".join(cells), 80))


def _json(old: bytes, new: bytes, exact: bool) -> Iterator[str]:
    yield from value_differences(json.loads(_text(old)), json.loads(_text(new)), exact=exact)


def value_differences(old: Any, new: Any, *, exact: bool) -> Iterator[str]:
    """What differs between stored and recomputed plain data, one sentence for each value."""
    yield from _values(old, new, "", exact)


def _values(old: Any, new: Any, where: str, exact: bool) -> Iterator[str]:
    if isinstance(new, dict) and isinstance(old, dict):
        for key in dict.fromkeys((*new, *old)):
            if key not in old or key not in new:
                told = ("there", "not recomputed") if key in old else ("missing", "recomputed")
                yield f"{where}{shown(str(key))}: {' and '.join(told)}"
            else:
                yield from _values(old[key], new[key], f"{where}{shown(str(key))}.", exact)
    elif isinstance(new, list) and isinstance(old, list) and len(new) == len(old):
        for i, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _values(one, other, f"{where}{i}.", exact)
    elif type(old) is not type(new) or not _same(str(old), str(new), exact):
        place = where.removesuffix(".") or "value"
        yield f"{place}: stored {shown(str(old))!r}, recomputed {shown(str(new))!r}"


def _lines(old: bytes, new: bytes, exact: bool) -> Iterator[str]:
    pairs = itertools.zip_longest(_text(old).split("\n"), _text(new).split("\n"))
    for n, (line, other) in enumerate(pairs, start=1):
        if line is None or other is None or not _same(line, other, exact):
            told = [_GONE if t is None else repr(shown(t, 120)) for t in (line, other)]
            yield f"line {n}: stored {told[0]}, recomputed {told[1]}"


def _parquet(old: bytes, new: bytes, exact: bool) -> Iterator[str]:
    arrow, parquet = require("pyarrow", "harness"), require("pyarrow.parquet", "harness")
    stored, made = (parquet.read_table(arrow.BufferReader(raw)) for raw in (old, new))
    if not stored.schema.equals(made.schema, check_metadata=True):
        yield "expected the columns, types and panel of metrics.csv, got others"
        return
    if stored.num_rows != made.num_rows:
        yield f"expected {made.num_rows} rows, got {stored.num_rows}"
        return
    for name in made.column_names:
        pairs = zip(stored[name].to_pylist(), made[name].to_pylist(), strict=True)
        for n, (one, other) in enumerate(pairs):
            if not _same(str(one), str(other), exact):
                yield f"row {n}, column {name}: stored {one!r:.80}, recomputed {other!r:.80}"


_BY_SUFFIX = {".csv": _csv, ".json": _json, ".md": _lines, ".parquet": _parquet}


def _text(raw: bytes) -> str:
    return raw.decode("utf-8")


def _same(old: str, new: str, exact: bool) -> bool:
    """Whether two texts say the same; unless exact, up to rounding of the numbers in them."""
    if old == new:
        return True
    if exact or _NUMBER.sub("#", old) != _NUMBER.sub("#", new):
        return False
    pairs = zip(_NUMBER.findall(old), _NUMBER.findall(new), strict=True)
    return all(
        one == other or math.isclose(float(one), float(other), rel_tol=SLACK, abs_tol=SLACK)
        for one, other in pairs
    )
