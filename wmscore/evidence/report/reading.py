"""The files of an evidence folder, as a report needs them."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from wmscore.evidence.report.models import Model, look, view
from wmscore.files import sha256_file
from wmscore.manifest import Panel
from wmscore.scores import Scores

__all__ = ["REPORT", "Curves", "Evidence", "StepCurve", "read_evidence"]

REPORT = "report.html"
_SUMS = "checksums.json"


@dataclass(frozen=True, kw_only=True)
class StepCurve:
    """Values at the steps 1..T: the middle and the ends of a band."""

    middle: list[float]
    low: list[float]
    high: list[float]
    unit: str = "1"


# (model, kind, name) -> curve; kind is "score" or "measure".
Curves = dict[tuple[str, str, str], StepCurve]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """An evidence folder, read.

    Attributes:
        folder: where it is.
        panel: the contract.
        models: longest mean usable horizon first, companions last.
        looks: class of each model's line.
        curves: of `curves.csv`.
        survival: of `survival.csv`, share still usable.
        comparison: `comparison.json`, or None.
        attribution: `attribution.json`, or None.
        stress: `stress.json`, or None.
        environment: `environment.json`, or None.
        manifest: text of `manifest.json`.
        postmortem: text of `postmortem.md`.
        files: of all files but the report and the checksums, SHA-256 and size in bytes.
        changed: files whose bytes are not those of `checksums.json`, or that it does not list.
        gone: files that it lists and that are not there.
    """

    folder: Path
    panel: Panel
    models: list[Model]
    looks: dict[str, str]
    curves: Curves
    survival: dict[str, StepCurve]
    comparison: dict[str, Any] | None
    attribution: dict[str, Any] | None
    stress: dict[str, Any] | None
    environment: dict[str, Any] | None
    manifest: str
    postmortem: str
    files: dict[str, tuple[str, int]]
    changed: list[str]
    gone: list[str]

    @property
    def judged(self) -> list[Model]:
        """The models under test."""
        return [model for model in self.models if model.judged]

    @property
    def rolled(self) -> list[Model]:
        """The models that have rollouts, so a usable horizon; all where there are none."""
        return [model for model in self.models if not model.companion] or self.models

    def key(self, name: str) -> int:
        """Place of a model in the report."""
        return [model.name for model in self.models].index(name)

    def paths(self, pattern: str) -> list[Path]:
        """The folder's own files that match, in order."""
        return sorted(
            p for p in self.folder.glob(pattern) if _relative(self.folder, p) in self.files
        )


def read_evidence(folder: str | Path) -> Evidence:
    """Read the files of an evidence folder; scores one model after the other.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds no scores, or a file is not what it should be; says which.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"folder: {folder} is no evidence folder")
    sizes = _files(folder)
    names = [name for name in sizes if name.startswith("scores/") and name.endswith(".safetensors")]
    if not names:
        raise ValueError(f"folder: {folder}: expected scores/*.safetensors, found none")
    comparison = _json(folder, "comparison.json", sizes)
    roles = _roles(comparison)
    models: list[Model] = []
    panel: Panel | None = None
    for name in names:
        scores = Scores.load(folder / name)
        if panel is not None and scores.panel.fingerprint != panel.fingerprint:
            raise ValueError(
                f"{folder / name}: expected scores on panel {panel.name!r} as the others"
            )
        panel = scores.panel
        models.append(view(scores, roles))
    assert panel is not None
    models.sort(key=lambda m: (m.companion, m.rank, m.name))
    listed = _json(folder, _SUMS, sizes) or {}
    sums = {n: (sha256_file(folder / n), s) for n, s in sizes.items() if n not in (REPORT, _SUMS)}
    return Evidence(
        folder=folder,
        panel=panel,
        models=models,
        looks=look(models),
        curves=_curves(folder / "curves.csv") if "curves.csv" in sizes else {},
        survival=_survival(folder / "survival.csv") if "survival.csv" in sizes else {},
        comparison=comparison,
        attribution=_json(folder, "attribution.json", sizes),
        stress=_json(folder, "stress.json", sizes),
        environment=_json(folder, "environment.json", sizes),
        manifest=_text(folder, "manifest.json", sizes),
        postmortem=_text(folder, "postmortem.md", sizes),
        files=sums,
        changed=[n for n, (value, _) in sums.items() if listed and listed.get(n) != value],
        gone=[n for n in listed if n not in sizes and n != REPORT],
    )


def _files(folder: Path) -> dict[str, int]:
    """Sizes of the folder's files by relative path.

    Links are left out: what they lead to is not in the folder, and would be shown as if it were.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        linked = any((folder / part).is_symlink() for part in [*inside.parents, inside])
        if not linked and path.is_file() and not path.name.startswith("."):
            found[inside.as_posix()] = path.stat().st_size
    return found


def _relative(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def _text(folder: Path, name: str, there: dict[str, int]) -> str:
    if name not in there:
        return ""
    return (folder / name).read_text(encoding="utf-8", errors="replace")


def _json(folder: Path, name: str, there: dict[str, int]) -> dict[str, Any] | None:
    if name not in there:
        return None
    try:
        data = json.loads((folder / name).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{folder / name}: expected JSON, got {error}") from None
    if not isinstance(data, dict):
        raise ValueError(f"{folder / name}: expected a JSON object, got {type(data).__name__}")
    return cast(dict[str, Any], data)


def _roles(comparison: dict[str, Any] | None) -> dict[str, str]:
    roles = (comparison or {}).get("roles")
    known = ("truth", "ceiling", "floor")
    if not isinstance(roles, dict):
        return {}
    return {str(name): role for name, role in roles.items() if role in known}


def _curves(path: Path) -> Curves:
    curves: Curves = {}
    with _csv(path) as lines:
        for line in lines:
            key = (line["model"], line["kind"], line["name"])
            curve = curves.setdefault(key, StepCurve(middle=[], low=[], high=[], unit=line["unit"]))
            curve.middle.append(_value(line["median"]))
            curve.low.append(_value(line["lower_quartile"]))
            curve.high.append(_value(line["upper_quartile"]))
    return curves


def _survival(path: Path) -> dict[str, StepCurve]:
    found: dict[str, StepCurve] = {}
    with _csv(path) as lines:
        for line in lines:
            curve = found.setdefault(line["model"], StepCurve(middle=[1.0], low=[1.0], high=[1.0]))
            curve.middle.append(_value(line["usable"]))
            curve.low.append(_value(line["usable_low"]))
            curve.high.append(_value(line["usable_high"]))
    return found


@contextmanager
def _csv(path: Path) -> Iterator[Iterator[dict[str, str]]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            yield csv.DictReader(file)
    except (csv.Error, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: expected the CSV file of an evidence folder: {error}") from None


def _value(text: str) -> float:
    return float(text) if text else math.nan
