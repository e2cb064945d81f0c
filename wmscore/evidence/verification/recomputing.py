"""Everything that follows from scores, made again and compared with what the folder holds."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import Tensor

from wmscore.actions import takes_no_actions
from wmscore.attribution import Diagnosis
from wmscore.evidence.causes import diagnose_all, read_causes
from wmscore.evidence.derived import write_derived
from wmscore.evidence.report import write_report
from wmscore.evidence.tracefile import KeptTrace, Trace
from wmscore.evidence.tracepictures import write_pictures
from wmscore.evidence.verification.alike import SLACK, differences
from wmscore.evidence.verification.findings import Findings, shown
from wmscore.functional import Reason, UsableHorizon
from wmscore.ladder import Ladder
from wmscore.scorer import panel_horizon
from wmscore.scores import Curve, Scores

__all__ = ["check_derived", "check_horizons", "check_report", "same_values"]


def check_horizons(name: str, scores: Scores, findings: Findings, *, exact: bool) -> None:
    """Usable horizons and faults of every row, again from the stored curves."""
    shown = _shown(scores)
    if shown is None:
        findings.unchecked.append(
            f"{name}: horizons: no curve says which steps are there, so that they cannot be "
            "recomputed"
        )
        return
    fault, horizon = panel_horizon(
        scores.panel,
        scores.axes,
        shown,
        scores.fault,
        takes_actions=not takes_no_actions(scores),
    )
    parts: list[tuple[str, Tensor, Tensor]] = [("fault", scores.fault, fault)]
    parts += [
        (f"horizon.{f.name}", getattr(scores.horizon, f.name), getattr(horizon, f.name))
        for f in fields(UsableHorizon)
    ]
    for curves in (scores.axes, scores.measures):
        for key, curve in curves.items():
            # What is undefined has a reason, and what has one is undefined.
            parts.append((f"{key}.reason", curve.reason != 0, curve.values.isnan()))
    for key, stored, found in parts:
        findings.add(name, _unlike(scores, key, stored, found, exact))


def _shown(scores: Scores) -> Tensor | None:
    """`[R, T]` bool, steps that both rollout and reference have; None where no curve says."""
    curve: Curve | None = next(
        (scores.measures[key] for key in ("brightness", "motion") if key in scores.measures), None
    )
    if curve is None:
        of_commanded = ("perceptual_drift", "latent_drift", "identity_persistence")
        curve = next((scores.axes[axis] for axis in of_commanded if axis in scores.axes), None)
    return None if curve is None else curve.reason != int(Reason.NO_FRAME)


def _unlike(scores: Scores, key: str, stored: Tensor, found: Tensor, exact: bool) -> Iterator[str]:
    """A sentence for each row in which two tensors with rows differ."""
    if stored.shape != found.shape:
        yield f"{key}: expected shape {tuple(found.shape)}, got {tuple(stored.shape)}"
        return
    apart = ~same_values(stored, found, 0.0 if exact else SLACK)
    rows = len(scores)
    of_axes = apart.dim() == 2 and apart.shape[0] == len(scores.panel.axes) != rows
    by_row = apart.T if of_axes or (key.startswith("horizon.") and apart.dim() == 2) else apart
    keys = list(scores.panel.rows())
    for row in by_row.reshape(rows, -1).any(1).nonzero()[:, 0].tolist():
        s, seed = keys[row]
        where = by_row.reshape(rows, -1)[row].nonzero()[0, 0]
        sides = [
            (t.T if by_row is not apart else t).reshape(rows, -1)[row, where].item()
            for t in (stored, found)
        ]
        yield (
            f"{key} of scenario {scores.panel.scenarios[s].id!r}, seed {seed}: stored {sides[0]}, "
            f"recomputed {sides[1]}"
        )


def same_values(one: Tensor, other: Tensor, slack: float) -> Tensor:
    """Where two tensors of one shape hold the same, NaN like NaN; `slack` relative to 1 or more."""
    same = (one == other) | ((one != one) & (other != other))
    if slack and one.is_floating_point() and other.is_floating_point():
        close = (one - other).abs() <= slack * one.abs().clamp_min(1)
        same = same | close
    return same


def check_derived(
    folder: Path,
    files: Mapping[str, os.stat_result],
    results: Sequence[Scores],
    findings: Findings,
    *,
    environment: Mapping[str, Any],
    traces: Sequence[Trace],
    stored: Mapping[str, KeptTrace],
    ladder: Ladder | None,
    exact: bool,
) -> None:
    """Tables, plots, postmortem and pictures of traces, made again.

    Args:
        folder: the evidence folder.
        files: that are in it.
        results: its scores, in order.
        findings: what is found.
        environment: its `environment.json`.
        traces: that it should hold.
        stored: that it does hold, by name.
        ladder: of its `stress.json`.
        exact: whether this machine makes the same bytes.
    """
    roles = {name: role for name, role in environment["roles"].items() if role != "model"}
    with tempfile.TemporaryDirectory() as place:
        draft = Path(place)
        diagnoses = _diagnoses(folder, files, results, roles, environment, findings)
        write_derived(
            draft, results, roles=roles, traces=traces, diagnoses=diagnoses, ladder=ladder
        )
        for trace in traces:
            if trace.name in stored:
                kept = stored[trace.name].load()
                pictures = draft / "traces"
                write_pictures(pictures, kept.trace, kept.tensors, results[0].panel)
        made = {p.relative_to(draft).as_posix(): p for p in draft.rglob("*") if p.is_file()}
        sound = 0
        for name, path in sorted(made.items()):
            if name not in files:
                findings.add(name, ["missing"])
            else:
                sound += findings.add(name, differences(folder / name, path, exact=exact))
    expected = {*made, "environment.json", "checksums.json", "report.html"}
    expected |= {f"scores/{_file(scores)}" for scores in results}
    expected |= {f"traces/{trace.name}.safetensors" for trace in traces}
    for name in files.keys() - expected:
        findings.add(name, ["no file of this evidence: nothing in the folder leads to it"])
    if exact:
        findings.checked.append(
            f"{sound} tables, plots and texts made again from scores and traces, byte for byte"
        )
    else:
        findings.checked.append(
            f"tables and texts made again from scores and traces, numbers up to {SLACK:g}"
        )
        findings.unchecked.append(
            "plots and pictures: this machine is not the one that drew them, or has other "
            "versions (environment.json), so that they are checked by their hashes only"
        )


def _diagnoses(
    folder: Path,
    files: Mapping[str, os.stat_result],
    results: Sequence[Scores],
    roles: Mapping[str, str],
    environment: Mapping[str, Any],
    findings: Findings,
) -> list[Diagnosis]:
    if environment.get("diagnoses") == "given" and "attribution.json" in files:
        findings.unchecked.append(
            "attribution.json: made with signals that are not in the folder, so that its causes "
            "cannot be found again"
        )
        return read_causes(folder)
    return diagnose_all(results, roles)


def _file(scores: Scores) -> str:
    from wmscore.files import safe_name

    return f"{safe_name(scores.model)}.safetensors"


def check_report(
    folder: Path, files: Mapping[str, os.stat_result], findings: Findings, *, exact: bool
) -> None:
    """`report.html`, made again from the folder's other files."""
    if "report.html" not in files:
        findings.add("report.html", ["missing"])
        return
    if not exact:
        return
    with tempfile.TemporaryDirectory(dir=_beside(folder)) as place:
        copy = Path(place) / folder.resolve().name
        for name in files:
            if name != "report.html":
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                _link(folder / name, copy / name)
        try:
            made = write_report(copy)
        except Exception as error:  # of whatever the other files hold
            findings.add("report.html", [f"cannot be made again: {shown(str(error))}"])
            return
        if findings.add("report.html", differences(folder / "report.html", made, exact=True)):
            findings.checked.append("report.html made again from the folder's files")


def _beside(folder: Path) -> str | None:
    """Where links to the folder's files can be made, or None for the system's place."""
    parent = folder.resolve().parent
    return str(parent) if os.access(parent, os.W_OK) else None


def _link(source: Path, path: Path) -> None:
    try:
        os.link(source, path)
    except OSError:
        shutil.copyfile(source, path)
