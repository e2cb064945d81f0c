"""Tables: scrolling inside their own frame, sortable and filterable where asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wmscore.evidence.report.markup import Html, h

__all__ = ["Cell", "data_table"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell with more than its content.

    Attributes:
        content: what is shown.
        key: what it sorts by, where that is not the text; None sorts last.
        look: its class.
        left: whether it is text, set to the left.
    """

    content: object
    key: float | str | None = ""
    look: str = ""
    left: bool = False


def data_table(
    head: Sequence[object],
    body: Sequence[Sequence[object]],
    *,
    caption: str,
    sortable: bool = False,
    quiet: bool = True,
    look: str = "",
) -> Html:
    """A table whose first column names its rows.

    Args:
        head: names of the columns.
        body: the rows; a cell is a `Cell`, markup or text.
        caption: what it holds, a sentence.
        sortable: whether its columns can be sorted by.
        quiet: whether the caption is for screen readers only.
        look: class of the table.
    """
    text = [isinstance(cell, Cell) and cell.left for cell in body[0]] if body else []
    heads = [
        h(
            "th",
            h("button", content, h("span", class_="arrow", aria_hidden="true"), type="button")
            if sortable
            else content,
            scope="col",
            class_="left" if i < len(text) and text[i] else None,
        )
        for i, content in enumerate(head)
    ]
    return h(
        "div",
        h(
            "table",
            h("caption", caption, class_="sr" if quiet else None),
            h("thead", h("tr", *heads)),
            h("tbody", *(h("tr", *_cells(line)) for line in body)),
            class_=" ".join(filter(None, [look, "sortable" if sortable else ""])) or None,
        ),
        class_="scroll",
        tabindex="0",
        role="region",
        aria_label=caption,
    )


def _cells(line: Sequence[object]) -> list[Html]:
    cells = []
    for i, content in enumerate(line):
        cell = content if isinstance(content, Cell) else Cell(content=content)
        unknown = cell.key is None or cell.key != cell.key
        key = None if cell.key == "" else "" if unknown else cell.key
        look = " ".join(filter(None, [cell.look, "left" if cell.left else ""])) or None
        if i == 0:
            cells.append(h("th", cell.content, scope="row", class_=look, data_key=key))
        else:
            cells.append(h("td", cell.content, class_=look, data_key=key))
    return cells
