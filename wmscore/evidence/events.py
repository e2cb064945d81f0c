"""`events.csv`: what happened to which object, at which step, in every rollout of every model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wmscore.files import write_csv
from wmscore.scores import Scores

__all__ = ["write_events"]

_COLUMNS = (
    "scenario",
    "seed",
    "model",
    "object_id",
    "event",
    "first_step",
    "last_step",
    "steps",
    "recovered",
    "other_id",
    "confidence",
    "cause",
)


def write_events(path: Path, results: Sequence[Scores]) -> None:
    """Write one line per event, by scenario, seed, model and step; a header alone for none."""
    order = {scores.model: i for i, scores in enumerate(results)}
    rows = list(results[0].panel.rows())
    ids = [scenario.id for scenario in results[0].panel.scenarios]
    lines = []
    for scores in results:
        for event in scores.events():
            scenario, seed = rows[int(event["row"])]
            key = (event["row"], order[scores.model], event["first_step"], event["object_id"])
            about = {"scenario": ids[scenario], "seed": seed, "model": scores.model}
            lines.append((key, about | {k: v for k, v in event.items() if k != "row"}))
    lines.sort(key=lambda line: line[0])
    write_csv(path, _COLUMNS, (line for _, line in lines))
