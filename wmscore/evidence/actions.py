"""`actions.csv` and `actions.json`: what every action does, when it is answered, and by whom."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from wmscore.actions import action_records, action_summary
from wmscore.files import atomic_file
from wmscore.scores import Scores

__all__ = ["write_actions"]


def write_actions(folder: Path, results: Sequence[Scores]) -> None:
    """Write both files; one line per model and action, and one JSON object per model."""
    lines = [line for scores in results for line in action_records(scores)]
    if lines:
        path = folder / "actions.csv"
        with atomic_file(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(lines)
    models = [summary for scores in results if (summary := action_summary(scores)) is not None]
    with atomic_file(folder / "actions.json") as draft:
        text = json.dumps({"models": models}, indent=2, ensure_ascii=False, allow_nan=False)
        draft.write_text(text + "\n", encoding="utf-8")
