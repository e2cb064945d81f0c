"""Tables as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["markdown_table"]


def markdown_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table; line breaks in cells become spaces."""
    rule = ["---"] * len(head)
    lines = ["| " + " | ".join(cells) + " |" for cells in [head, rule, *body]]
    return [line.replace("\n", " ") for line in lines]
