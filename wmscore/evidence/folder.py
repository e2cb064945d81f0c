"""One comparison, one folder: written aside, complete, then renamed into place."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from wmscore.attribution import Diagnosis
from wmscore.comparison import check_comparable
from wmscore.evidence.causes import diagnose_all
from wmscore.evidence.derived import write_derived
from wmscore.evidence.environment import environment
from wmscore.evidence.report import write_report
from wmscore.evidence.traces import Fetch, Trace, choose_traces, write_trace
from wmscore.files import atomic_folder, safe_name, sha256_file, write_json
from wmscore.ladder import Ladder
from wmscore.scores import Scores

__all__ = ["check_folder", "write_evidence"]


def write_evidence(
    folder: str | Path,
    results: Sequence[Scores],
    fetch: Fetch,
    *,
    roles: Mapping[str, str] | None = None,
    ladder: Ladder | None = None,
    diagnoses: Sequence[Diagnosis] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Trace]:
    """Write the evidence of a comparison, replacing an older folder only when complete.

    `manifest.json`, `seeds.json`, `metrics.csv` and `metrics.parquet` (whose columns
    `columns.csv` explains), `events.csv` (where objects were judged), `actions.csv` and
    `actions.json` (where the response to actions was), `curves.csv`, `survival.csv`,
    `comparison.json` (ranking and pairs), `attribution.json` (causes), `stress.csv` and
    `stress.json` (with a ladder), plots as PNG and SVG (`curves`, `measures`, `survival`,
    `actions`, `events`, `stress`; those with nothing to show are not there),
    `scores/<model>.safetensors`, at least two `traces/`, `postmortem.md`, `environment.json`,
    `checksums.json` over all, and `report.html`, the page to open.

    `verify_evidence` recomputes all of it from scores and traces.

    Args:
        folder: where to; an existing folder must be an evidence folder.
        results: scores of all models on one panel, anchors included.
        fetch: (model name, scenario index, seed) -> the row's rollouts, all branches, beside
            their reference. Called for the traces only.
        roles: model name -> "truth", "ceiling" or "floor" for the models that are anchors.
        ladder: how the models stand up to stress, where that was measured.
        diagnoses: causes of the judged models' failures; found from `results` where not given.
        progress: called with (parts done, parts in all): each trace, the tables with the plots, and
            the report.

    Returns:
        The traces that were kept.

    Raises:
        PanelMismatchError: results of different panels.
        ValueError: no results, one model twice, scores by different networks, or `folder` holds
            something else.
    """
    folder, anchors = Path(folder), dict(roles or {})
    _check(folder, results)
    traces = choose_traces(results, anchors=list(anchors))
    by_model = {scores.model: scores for scores in results}
    found = diagnose_all(results, anchors) if diagnoses is None else list(diagnoses)
    parts = len(traces) + 2

    def tell(done: int) -> None:
        if progress is not None:
            progress(done, parts)

    tell(0)
    with atomic_folder(folder) as draft:
        for scores in results:
            scores.save(draft / "scores" / f"{safe_name(scores.model)}.safetensors")
        for i, trace in enumerate(traces, 1):
            write_trace(draft / "traces", trace, by_model[trace.model], fetch)
            tell(i)
        write_derived(draft, results, roles=anchors, traces=traces, diagnoses=found, ladder=ladder)
        origin = "found" if diagnoses is None else "given"
        tell(parts - 1)
        write_json(draft / "environment.json", environment(results, anchors, origin))
        files = sorted(path for path in draft.rglob("*") if path.is_file())
        write_json(
            draft / "checksums.json",
            {path.relative_to(draft).as_posix(): sha256_file(path) for path in files},
        )
        write_report(draft)
    tell(parts)
    return traces


def check_folder(folder: str | Path) -> None:
    """Refuse a folder that holds anything but evidence, since writing replaces it whole.

    Raises:
        ValueError: it exists and holds other files than its `checksums.json` lists.
    """
    folder = Path(folder)
    if not folder.exists():
        return
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    listed: set[str] = set()
    if "checksums.json" in found:
        listed = {*json.loads((folder / "checksums.json").read_text("utf-8")), "checksums.json"}
    if not folder.is_dir() or found - listed:
        other = sorted(found - listed)[:3]
        raise ValueError(f"folder: {folder} holds more than evidence ({other}); choose another")


def _check(folder: Path, results: Sequence[Scores]) -> None:
    check_folder(folder)
    check_comparable(results)
    models = [scores.model for scores in results]
    if len({safe_name(model) for model in models}) < len(models):
        raise ValueError(f"results: expected each model once, under its own name, got {models}")
