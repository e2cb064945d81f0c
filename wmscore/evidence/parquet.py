"""`metrics.parquet`: the matched metric table with typed columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wmscore.extras import require
from wmscore.files import atomic_file

__all__ = ["write_parquet"]


def write_parquet(
    path: Path,
    columns: Sequence[str],
    lines: Sequence[Mapping[str, Any]],
    about: Mapping[str, str] | None = None,
) -> None:
    """Write records as Parquet: the same columns and lines as the CSV beside it, in its order.

    Integers are int64, truth values bool, numbers double, the rest text. What is empty there is
    null here; so is a whole column without a value, which is text.

    Args:
        path: where to; written whole or not at all.
        columns: names, in order.
        lines: records; "" or a missing key is undefined.
        about: text for the metadata of the file.

    Raises:
        ImportError: pyarrow is missing; it comes with the extra `harness`.
        TypeError: a column holds text beside numbers.

    Example:
        >>> import pandas                                                 # doctest: +SKIP
        >>> pandas.read_parquet("evidence/metrics.parquet")               # doctest: +SKIP
    """
    arrow, parquet = require("pyarrow", "harness"), require("pyarrow.parquet", "harness")
    arrays = []
    for name in columns:
        values = [None if line.get(name, "") == "" else line[name] for line in lines]
        kind = _kind(name, values)
        if kind == "double":
            values = [None if value is None else float(value) for value in values]
        arrays.append(arrow.array(values, getattr(arrow, _TYPES[kind])()))
    table = arrow.table(arrays, names=list(columns))
    table = table.replace_schema_metadata(dict(about or {}))
    with atomic_file(path) as draft:
        parquet.write_table(table, draft)


_TYPES = {"bool": "bool_", "integer": "int64", "double": "float64", "text": "string"}


def _kind(name: str, values: Sequence[Any]) -> str:
    """Of a column, by all that stands in it."""
    found = {type(value) for value in values if value is not None}
    if found == {bool}:
        return "bool"
    if found == {int}:
        return "integer"
    if found and found <= {int, float}:
        return "double"
    if found <= {str}:
        return "text"
    raise TypeError(f"column {name!r}: expected values of one kind, got {sorted(map(str, found))}")
