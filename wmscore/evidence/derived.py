"""The files of an evidence folder that follow from scores, traces and the stress ladder alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from wmscore.attribution import Diagnosis
from wmscore.comparison import compare_models
from wmscore.evidence.actions import write_actions
from wmscore.evidence.causes import write_causes
from wmscore.evidence.comparison import write_comparison
from wmscore.evidence.curves import write_curve_table
from wmscore.evidence.events import write_events
from wmscore.evidence.postmortem import postmortem
from wmscore.evidence.stress import write_stress
from wmscore.evidence.survival import write_survival_table
from wmscore.evidence.table import write_metrics
from wmscore.evidence.traces import Trace
from wmscore.files import write_json
from wmscore.ladder import Ladder
from wmscore.plots import (
    drift_plot,
    events_plot,
    ladder_plot,
    measures_plot,
    response_matrix_plot,
    save_plot,
    survival_plot,
)
from wmscore.scores import Scores

__all__ = ["write_derived"]


def write_derived(
    draft: Path,
    results: Sequence[Scores],
    *,
    roles: Mapping[str, str],
    traces: Sequence[Trace],
    diagnoses: Sequence[Diagnosis],
    ladder: Ladder | None = None,
) -> None:
    """Write them all; the same bytes for the same results.

    Whoever verifies a folder writes them again from what it holds, and compares.

    Args:
        draft: the folder.
        results: scores of all models on one panel, in order.
        roles: of the anchors.
        traces: that are kept.
        diagnoses: of the judged models.
        ladder: how they stand up to stress, where that was measured.
    """
    panel, anchors = results[0].panel, dict(roles)
    present = {scores.model for scores in results}
    report = compare_models(results, roles={m: r for m, r in anchors.items() if m in present})
    panel.save(draft / "manifest.json")
    write_json(
        draft / "seeds.json",
        {
            "panel": panel.fingerprint,
            "seeds": list(panel.seeds),
            "rows": [{"scenario": panel.scenarios[s].id, "seed": seed} for s, seed in panel.rows()],
        },
    )
    write_metrics(draft, results)
    if any(scores.identity is not None for scores in results):
        write_events(draft / "events.csv", results)
    if any(scores.chance is not None for scores in results):
        write_actions(draft, results)
    write_curve_table(draft / "curves.csv", results, anchors)
    write_survival_table(draft / "survival.csv", results, anchors)
    write_comparison(draft / "comparison.json", report)
    write_causes(draft, diagnoses)
    if ladder is not None:
        write_stress(draft, ladder)
    _write_plots(draft, results, anchors, ladder)
    text = postmortem(
        results, traces, roles=anchors, report=report, diagnoses=diagnoses, ladder=ladder
    )
    (draft / "postmortem.md").write_text(text, encoding="utf-8")


def _write_plots(
    draft: Path, results: Sequence[Scores], roles: Mapping[str, str], ladder: Ladder | None
) -> None:
    """Each as PNG and SVG; those with nothing to show are not there."""
    figures = {
        "curves": drift_plot(results, roles),
        "measures": measures_plot(results, roles),
        "survival": survival_plot(results, roles),
        "actions": response_matrix_plot(results, roles),
        "events": events_plot(results, roles),
        "stress": None if ladder is None else ladder_plot(ladder),
    }
    for name, figure in figures.items():
        if figure is not None:
            save_plot(figure, draft / f"{name}.png", draft / f"{name}.svg")
