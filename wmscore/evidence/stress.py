"""`stress.csv` and `stress.json`: how much each stress leaves of each model's usable horizon."""

from __future__ import annotations

import json
import math
from pathlib import Path

from wmscore.evidence.markdown import markdown_table
from wmscore.files import write_csv, write_json
from wmscore.ladder import Ladder, Rung

__all__ = ["read_stress", "rung_cell", "stress_lines", "stress_table", "write_stress"]


def write_stress(folder: Path, ladder: Ladder) -> None:
    """Write both files into an evidence folder."""
    lines = ladder.records()
    write_csv(folder / "stress.csv", list(lines[0]) if lines else ["model"], lines)
    write_json(folder / "stress.json", ladder.to_json())


def read_stress(folder: str | Path) -> Ladder | None:
    """The ladder of an evidence folder, or None where it has none.

    Raises:
        ValueError: the file is none; says which field.
    """
    path = Path(folder) / "stress.json"
    if not path.exists():
        return None
    try:
        return Ladder.from_json(json.loads(path.read_text("utf-8")))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def stress_table(ladder: Ladder) -> tuple[list[str], list[list[str]]]:
    """Head and lines of a table: what each rung leaves of each model's usable share."""
    names = list(ladder.models)
    head = ["stress", *names]
    body = []
    for place, rung in enumerate(next(iter(ladder.models.values())).rungs if names else ()):
        cells = [rung_cell(ladder.models[name].rungs[place]) for name in names]
        body.append([f"{rung.stressor} {rung.severity:g} {rung.unit}", *cells])
    return head, body


def rung_cell(rung: Rung) -> str:
    """What a rung leaves of the usable share; `*` where it breaks the model, `?` if unknown."""
    if rung.excluded is not None:
        return "-"
    if math.isnan(rung.relative):
        return "nothing to lose" if (rung.undecided or "").startswith("nothing to lose") else "n/a"
    return f"{rung.relative:.0%}" + {True: " *", False: "", None: " ?"}[rung.broken]


def stress_lines(ladder: Ladder) -> list[str]:
    """The section of the postmortem."""
    lines = ["", "## Stress", ""]
    lines += [
        (
            "What each stress leaves of the usable horizon, as a share of the clean panel's; "
            "* = less beyond chance (p < .05 over scenarios, corrected for all rungs); "
            "? = cannot be told."
        ),
        "",
        *markdown_table(*stress_table(ladder)),
        "",
        *(f"- {sentence}." for sentence in ladder.sentences()),
    ]
    lines += [f"- Excluded: {sentence}." for sentence in ladder.exclusions()]
    return lines
