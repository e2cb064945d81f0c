"""One comparison, one folder: written aside, complete, then renamed into place."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from wmscore.attribution import Diagnosis
from wmscore.comparison import check_comparable, compare_models
from wmscore.evidence.actions import write_actions
from wmscore.evidence.causes import diagnose_all, write_causes
from wmscore.evidence.comparison import write_comparison
from wmscore.evidence.curves import write_curve_table, write_curves, write_measures
from wmscore.evidence.events import write_events
from wmscore.evidence.postmortem import postmortem
from wmscore.evidence.stress import write_stress
from wmscore.evidence.survival import write_survival, write_survival_table
from wmscore.evidence.table import write_metrics
from wmscore.evidence.traces import Fetch, Trace, choose_traces, write_trace
from wmscore.files import atomic_folder, safe_name, sha256_file
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
) -> list[Trace]:
    """Write the evidence of a comparison, replacing an older folder only when complete.

    `manifest.json`, `seeds.json`, `metrics.csv`, `events.csv` (where objects were judged),
    `actions.csv` and `actions.json` (where the response to actions was),
    `attribution.json` (causes), `stress.csv` and `stress.json` (with a ladder),
    `curves.csv`, `curves.png`, `measures.png`, `survival.csv`, `survival.png`, `comparison.json`
    (ranking and pairs),
    `scores/<model>.safetensors`, at least two `traces/`, `postmortem.md`, `environment.json`, and
    `checksums.json` over all.

    Args:
        folder: where to; an existing folder must be an evidence folder.
        results: scores of all models on one panel, anchors included.
        fetch: (model name, scenario index, seed) -> the row's rollouts, all branches, beside
            their reference. Called for the traces only.
        roles: model name -> "truth", "ceiling" or "floor" for the models that are anchors.
        ladder: how the models stand up to stress, where that was measured.
        diagnoses: causes of the judged models' failures; found from `results` where not given.

    Returns:
        The traces that were kept.

    Raises:
        PanelMismatchError: results of different panels.
        ValueError: no results, one model twice, scores by different networks, or `folder` holds
            something else.
    """
    folder, anchors = Path(folder), dict(roles or {})
    _check(folder, results)
    panel = results[0].panel
    traces = choose_traces(results, anchors=list(anchors))
    present = {scores.model for scores in results}
    report = compare_models(results, roles={m: r for m, r in anchors.items() if m in present})
    by_model = {scores.model: scores for scores in results}
    found = list(diagnoses or diagnose_all(results, anchors))
    with atomic_folder(folder) as draft:
        panel.save(draft / "manifest.json")
        _write_json(
            draft / "seeds.json",
            {
                "panel": panel.fingerprint,
                "seeds": list(panel.seeds),
                "rows": [
                    {"scenario": panel.scenarios[s].id, "seed": seed} for s, seed in panel.rows()
                ],
            },
        )
        write_metrics(draft / "metrics.csv", results)
        if any(scores.identity is not None for scores in results):
            write_events(draft / "events.csv", results)
        if any(scores.chance is not None for scores in results):
            write_actions(draft, results)
        for scores in results:
            scores.save(draft / "scores" / f"{safe_name(scores.model)}.safetensors")
        for trace in traces:
            write_trace(draft / "traces", trace, by_model[trace.model], fetch)
        write_curve_table(draft / "curves.csv", results, anchors)
        write_curves(draft / "curves.png", results, anchors)
        write_measures(draft / "measures.png", results, anchors)
        write_survival_table(draft / "survival.csv", results, anchors)
        write_survival(draft / "survival.png", results, anchors)
        write_comparison(draft / "comparison.json", report)
        write_causes(draft, found)
        if ladder is not None:
            write_stress(draft, ladder)
        text = postmortem(
            results, traces, roles=anchors, report=report, diagnoses=found, ladder=ladder
        )
        (draft / "postmortem.md").write_text(text, encoding="utf-8")
        _write_json(draft / "environment.json", _environment(results))
        files = sorted(path for path in draft.rglob("*") if path.is_file())
        _write_json(
            draft / "checksums.json",
            {path.relative_to(draft).as_posix(): sha256_file(path) for path in files},
        )
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


def _environment(results: Sequence[Scores]) -> dict[str, object]:
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "scores": {scores.model: scores.provenance for scores in results},
    }


def _write_json(path: Path, data: object) -> None:
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
