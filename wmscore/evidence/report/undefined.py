"""Evaluation faults and undefined values: what could not be judged, and why."""

from __future__ import annotations

from wmscore.evidence.report.markup import Html, h, join, label, name_of
from wmscore.evidence.report.numbers import count, share, words
from wmscore.evidence.report.reading import Evidence
from wmscore.evidence.report.table import Cell, data_table
from wmscore.functional import Reason

__all__ = ["undefined"]

_MESSAGES = 40


def undefined(evidence: Evidence) -> Html:
    """Section with a table of both and the messages of models."""
    body: list[list[object]] = []
    for model in evidence.models:
        name = Cell(content=label(evidence.looks[model.name], model.name), key=model.name.lower())
        steps = model.rows * evidence.panel.contract.horizon
        for kind, n in model.faults.items():
            fault = Cell(content="evaluation fault", left=True, look="bad")
            body.append([name, fault, *_why(kind), _many(n, model.rows, "row")])
        for axis, kinds in model.undefined.items():
            for kind, n in kinds.items():
                what = Cell(content=words(axis), left=True)
                body.append([name, what, *_why(kind), _many(n, steps, "value")])
    if not body:
        return h("p", "Every score of every model is defined at every step.", class_="empty good")
    table = data_table(
        ["model", "what", "reason", "in words", "how many"],
        body,
        caption="Evaluation faults and undefined values",
        sortable=True,
        look="undefined",
    )
    note = (
        "A row with a fault has no horizon: the evaluation failed there, not the model. Undefined "
        "values are left out, never counted as good or bad."
    )
    return join([h("p", note, class_="lead"), table, _messages(evidence)])


def _why(kind: str) -> tuple[Cell, Cell]:
    try:
        text = Reason[kind.upper()].description
    except KeyError:
        text = ""
    return Cell(content=words(kind), left=True), Cell(content=text, left=True, look="long")


def _many(n: int, of: int, what: str) -> Cell:
    text = [h("b", f"{n:,}"), h("small", f"{share(n / of) if of else ''} of {count(of, what)}")]
    return Cell(content=text, key=n)


def _messages(evidence: Evidence) -> Html | None:
    rows = list(evidence.panel.rows())
    lines = []
    for model in evidence.models:
        for row, text in model.messages.items():
            index, seed = rows[row]
            where = [
                name_of(model.name),
                " on ",
                name_of(evidence.panel.scenarios[index].id),
                f", seed {seed}: ",
            ]
            lines.append(h("li", *where, h("code", text[:500])))
    if not lines:
        return None
    left = len(lines) - _MESSAGES
    return h(
        "details",
        h("summary", f"What models said in rows that failed ({len(lines)})"),
        h("ul", *lines[:_MESSAGES]),
        h("p", f"{left} more are in metrics.csv.") if left > 0 else None,
        class_="block",
    )
