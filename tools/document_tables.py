"""Tables in documents: each stands between `<!-- name -->` and `<!-- end -->`."""

from __future__ import annotations

import re

__all__ = ["Rows", "rows_of", "with_table"]

Rows = dict[str, list[str]]  # name of a row -> its other cells
_BLOCK = r"(<!-- {name} -->\n).*?(<!-- end -->)"


def rows_of(document: str, name: str) -> Rows:
    """The rows of a table as the document has it."""
    block = re.search(_BLOCK.format(name=name), document, re.DOTALL)
    if block is None:
        raise ValueError(f"the document has no table between <!-- {name} --> and <!-- end -->")
    lines = [line for line in block[0].splitlines() if line.startswith("| ")][2:]
    return {cells[0]: cells[1:] for line in lines if (cells := line.strip("| ").split(" | "))}


def with_table(document: str, name: str, table: str) -> str:
    """The document with another text for one of its tables."""
    rows_of(document, name)  # or there is no place for it
    pattern = re.compile(_BLOCK.format(name=name), re.DOTALL)
    return pattern.sub(lambda match: match[1] + table + "\n" + match[2], document)
