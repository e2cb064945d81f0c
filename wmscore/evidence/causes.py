"""`attribution.json`, and what the postmortem says of causes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import TypeAdapter

from wmscore.attribution import Diagnosis, diagnose
from wmscore.comparison.report import rolled_out
from wmscore.files import write_json
from wmscore.scores import Scores

__all__ = ["cause_lines", "diagnose_all", "read_causes", "write_causes"]


def diagnose_all(results: Sequence[Scores], roles: Mapping[str, str]) -> list[Diagnosis]:
    """Diagnoses of all judged models, from their scores and companions."""
    return [
        diagnose(scores, results, roles=roles)
        for scores in rolled_out(results)
        if scores.model not in roles
    ]


def write_causes(folder: Path, diagnoses: Sequence[Diagnosis]) -> None:
    """Write `attribution.json` into an evidence folder."""
    data = {"models": {found.model: found.to_json() for found in diagnoses}}
    write_json(folder / "attribution.json", data)


def read_causes(folder: str | Path) -> list[Diagnosis]:
    """The diagnoses of an evidence folder.

    Raises:
        ValueError: `attribution.json` is none; says which field.
    """
    path = Path(folder) / "attribution.json"
    try:
        models = json.loads(path.read_text("utf-8"))["models"]
        return [
            TypeAdapter(Diagnosis).validate_python(
                {
                    **{_FIELDS.get(key, key): value for key, value in found.items()},
                    "model": model,
                }
            )
            for model, found in models.items()
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: expected the causes of an evidence folder: {error}") from None


_FIELDS = {"for": "for_", "first_failure": "failure"}


def cause_lines(found: Diagnosis) -> list[str]:
    """Lines of the postmortem: the cause, for, against, and what would settle it."""
    weak = " (weak: close to its threshold)" if found.weak else ""
    lines = [f"- **Cause:** {found.cause}{weak}."]
    if found.cause == "undetermined" and found.candidates:
        lines.append(f"  Not excluded: {', '.join(found.candidates)}.")
    if found.for_:
        lines += ["  - For:", *(f"    - {text}" for text in found.for_)]
    if found.against:
        lines += ["  - Against:", *(f"    - {text}" for text in found.against)]
    if found.missing:
        lines.append(f"  - Not measured: {', '.join(found.missing)}.")
    if len(found.rows) > 1 or "undetermined" not in found.rows:
        counts = ", ".join(f"{cause} {n}" for cause, n in found.rows.items())
        lines.append(f"  - Over all rows: {counts}.")
    if found.settles:
        lines += ["- **What would settle it:**", *(f"  - {text}" for text in found.settles)]
    return lines
