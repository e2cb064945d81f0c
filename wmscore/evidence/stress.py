"""`stress.csv` and `stress.json`: how much each stress leaves of each model's usable horizon."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from wmscore.files import atomic_file
from wmscore.ladder import Ladder

__all__ = ["read_stress", "write_stress"]


def write_stress(folder: Path, ladder: Ladder) -> None:
    """Write both files into an evidence folder."""
    lines = ladder.records()
    with atomic_file(folder / "stress.csv") as draft, draft.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(lines[0]) if lines else ["model"])
        writer.writeheader()
        writer.writerows(lines)
    text = json.dumps(ladder.to_json(), indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_file(folder / "stress.json") as draft:
        draft.write_text(text + "\n", encoding="utf-8")


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
