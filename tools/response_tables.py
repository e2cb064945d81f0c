"""Tables of what `response_validity.py` found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from response_measures import SCORES

__all__ = ["Row", "tables"]

Row = dict[str, Any]


def tables(rows: Sequence[Row]) -> dict[str, str]:
    """All tables, by name."""
    places = list(dict.fromkeys((row["setting"], row["scripts"]) for row in rows))
    cells = {(row["setting"], row["scripts"], row["model"]): row for row in rows}
    models = list(dict.fromkeys(row["model"] for row in rows if row["model"]))
    made = {}
    for name, columns, chosen in (
        ("models", [*map(_score, SCORES), *_OF_PANEL], lambda row: True),
        ("delays", _OF_DELAY, lambda row: row["kind"] in ("truth", "delay")),
        ("gains", _OF_GAIN, lambda row: row["kind"] in ("truth", "gain")),
        ("wrong", _OF_WRONG, lambda row: row["kind"] in ("truth", "wrong")),
        ("floors", _OF_FLOOR, lambda row: row["kind"] == "floor"),
    ):
        for place in places:
            some = [cells[*place, m] for m in models if (*place, m) in cells]
            body = [
                [row["model"], *(cell(row) for _, cell in columns)] for row in some if chosen(row)
            ]
            made[f"{' '.join(place)} {name}"] = _table(["", *(h for h, _ in columns)], body)
    for place in places:
        last = cells.get((*place, ""), {})
        if "shares" in last:
            made[f"{' '.join(place)} noise"] = _noise(last)
    return made


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _noise(row: Row) -> str:
    head = ["share of noise", *(f"{s:g}" for s in row["shares"]), "ρ of means", "ρ per scenario"]
    body = [
        [
            score,
            *(_show(mean) for mean in row[score]["means"]),
            _show(row[score]["of the means"]),
            _show(row[score]["per scenario"]),
        ]
        for score in SCORES
    ]
    return _table(head, body)


def _show(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _interval(row: Row, score: str) -> str:
    cell = row[score]
    return f"{_show(cell['mean'])} [{_show(cell['low'])}, {_show(cell['high'])}]"


def _part(part: int, whole: int) -> str:
    return f"{part / whole:.3f} of {whole}" if whole else "–"


def _score(score: str) -> tuple[str, Any]:
    return score, lambda row: _interval(row, score)


def _below(score: str) -> tuple[str, Any]:
    return f"{score} below that of the ceiling", lambda row: _part(*row[score]["below the ceiling"])


_OF_PANEL = [
    ("of the ceiling", lambda row: _show(row["recovered"])),
    ("effects right", lambda row: _show(row["effects"], 2)),
    ("delay", lambda row: _show(row["delay"]["pooled"], 0)),
    ("polarity", lambda row: _show(row["polarity"], 0)),
    ("gain", lambda row: _show(row["gain"]["pooled"])),
    ("p of a lag", lambda row: _show(row["p_value"])),
    ("p of the scripts", lambda row: _show(row["script_p"])),
]
_OF_DELAY = [
    ("pooled", lambda row: _show(row["delay"]["pooled"], 0)),
    ("found", lambda row: _part(row["delay"]["defined"], row["rollouts"])),
    ("exact, of those found", lambda row: _part(row["delay"]["exact"], row["delay"]["defined"])),
    _score("agreement"),
]
_OF_GAIN = [
    ("pooled", lambda row: _show(row["gain"]["pooled"])),
    ("median of rollouts", lambda row: _show(row["gain"]["median"])),
    ("within 10 %", lambda row: _part(row["gain"]["near"], row["gain"]["defined"])),
    _score("agreement"),
]
_OF_WRONG = [
    *((head, cell) for s in SCORES for head, cell in (_score(s), _below(s))),
    ("polarity", lambda row: _show(row["polarity"], 0)),
    ("of rollouts", lambda row: _part(row["turned"], row["delay"]["defined"])),
    ("effects right", lambda row: _show(row["effects"], 2)),
]
_OF_FLOOR = [
    column
    for score in SCORES
    for column in (
        _score(score),
        (f"largest {score}", lambda row, score=score: _show(row[score]["largest"])),
    )
]
