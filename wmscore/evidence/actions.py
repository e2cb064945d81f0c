"""`actions.csv` and `actions.json`: what every action does, when it is answered, and by whom."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wmscore.actions import action_records, action_summary
from wmscore.files import write_csv, write_json
from wmscore.scores import Scores

__all__ = ["write_actions"]


def write_actions(folder: Path, results: Sequence[Scores]) -> None:
    """Write both files; one line per model and action, and one JSON object per model."""
    lines = [line for scores in results for line in action_records(scores)]
    if lines:
        write_csv(folder / "actions.csv", list(lines[0]), lines)
    models = [summary for scores in results if (summary := action_summary(scores)) is not None]
    write_json(folder / "actions.json", {"models": models})
