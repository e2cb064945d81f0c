"""`postmortem.md`: what failed first, where, why as far as known, what would settle it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from wmscore.actions import action_sentences, takes_no_actions
from wmscore.attribution import Diagnosis, first_failure
from wmscore.comparison import Report
from wmscore.comparison.report import rolled_out
from wmscore.evidence.accumulation import accumulation_lines
from wmscore.evidence.causes import cause_lines, diagnose_all
from wmscore.evidence.companions import companion_lines
from wmscore.evidence.comparison import comparison_lines
from wmscore.evidence.markdown import markdown_table
from wmscore.evidence.shape import shape_lines
from wmscore.evidence.stress import stress_lines
from wmscore.evidence.table import (
    action_table,
    codec_lines,
    conversion_lines,
    horizon_table,
    summary_table,
    unjudged,
    unmatched_rows,
)
from wmscore.evidence.traces import Trace
from wmscore.ladder import Ladder
from wmscore.scores import Scores

__all__ = ["postmortem"]


def postmortem(
    results: Sequence[Scores],
    traces: Sequence[Trace],
    *,
    roles: dict[str, str],
    report: Report | None = None,
    diagnoses: Sequence[Diagnosis] | None = None,
    ladder: Ladder | None = None,
) -> str:
    """The postmortem as Markdown, one section per judged model.

    Args:
        results: all models of the comparison, anchors included.
        traces: the traces kept beside it.
        roles: model name -> "truth", "ceiling" or "floor" for the anchors.
        report: the models' differences (`compare_models`); left out where not given.
        diagnoses: of the judged models; made of `results` where not given.
        ladder: how they stand up to stress, where that was measured.
    """
    panel = results[0].panel
    shown = rolled_out(results) or list(results)
    anchors = [(roles[scores.model], scores) for scores in results if scores.model in roles]
    lines = [f"# Postmortem: {panel.name}", ""]
    lines += [
        (
            f"{len(panel.scenarios)} scenarios x {len(panel.seeds)} seeds x "
            f"{panel.contract.horizon} steps. Panel fingerprint `{panel.fingerprint}`."
        ),
        "",
        *markdown_table(*summary_table(shown, roles)),
        "",
        *unmatched_rows(shown),
        (
            "Axis columns: median [quartiles] over rows of the mean score over defined steps, "
            "1 = perfect. Usable horizon per scenario (median over seeds):"
        ),
        "",
        *markdown_table(*horizon_table(shown)),
        *companion_lines(results),
    ]
    head, body = action_table(shown, roles)
    if body:
        lines += ["", "Response to actions (see `actions.json`):", "", *markdown_table(head, body)]
    text = [*unjudged(panel), *conversion_lines(results), *codec_lines(results)]
    lines += ["", *text] if text else []
    lines += comparison_lines(report) if report is not None else []
    found = {d.model: d for d in diagnoses or diagnose_all(results, roles)}
    for scores in rolled_out(results):
        if scores.model not in roles:
            lines += ["", *_section(scores, traces, anchors, found[scores.model])]
            lines += accumulation_lines(scores, results)
    lines += stress_lines(ladder) if ladder is not None else []
    lines += ["", "## Not defined", ""]
    lines += [
        f"- {scores.model}, {axis}: " + ", ".join(f"{n} x {why}" for why, n in undefined.items())
        for scores in results
        for axis, curve in scores.axes.items()
        if (undefined := curve.undefined())
    ] or ["Every score is defined at every step."]
    return "\n".join(lines) + "\n"


def _without_actions(scores: Scores) -> list[str]:
    """What can be said of a model that takes no actions, where the panel gates on a response."""
    text = (
        "- **First failure:** n/a, the panel gates on action_response and the model takes no "
        "actions: it has no usable horizon here, and is not ranked. A panel without that gate "
        "(`wmscore score --panel`) gives it one, and all others too. Each axis alone:"
    )
    lines = [text]
    horizon, sound = scores.horizon, scores.fault == 0
    for a, spec in enumerate(scores.panel.axes):
        rows = horizon.axis_defined[a] & sound
        if not bool(rows.any()):
            continue
        failed = int((rows & ~horizon.axis_censored[a]).sum())
        steps = horizon.axis_steps[a][rows].double().mean()
        lines.append(
            f"  - {spec.axis}: fails in {failed} of {int(rows.sum())} rows; usable for "
            f"{float(steps):.1f} of {scores.panel.contract.horizon} steps on average."
        )
    return lines


def _section(
    scores: Scores,
    traces: Sequence[Trace],
    anchors: Sequence[tuple[str, Scores]],
    diagnosis: Diagnosis,
) -> list[str]:
    panel, failure = scores.panel, first_failure(scores)
    lines = [f"## {scores.model}", ""]
    known = bool(scores.horizon.defined.any())
    if failure is None and not known and takes_no_actions(scores):
        lines += _without_actions(scores)
    elif failure is None and not known:
        why = ", ".join(f"{n} x {kind}" for kind, n in scores.faults().items()) or "no gate defined"
        lines.append(f"- **First failure:** not determined, no row has a horizon: {why}.")
    elif failure is None:
        lines.append("- **First failure:** none within the horizon.")
    else:
        s = failure
        lines.append(
            f"- **First failure:** {s.axis} at step {s.step} of scenario `{s.scenario}`, seed "
            f"{s.seed}: score {s.score:.3f}, below {s.threshold} for {s.patience} defined steps."
        )
        for role, anchor in anchors:
            value = float(anchor.axes[s.axis].values[s.row, s.step - 1])
            lines.append(f"  - The {role} (`{anchor.model}`) scores {value:.3f} there.")
        lines.append(_recovery(scores, s.row))
        ended = int((scores.horizon.defined & ~scores.horizon.censored).sum())
        lines.append(
            f"- **How common:** {ended} of {len(scores)} rows end within {panel.contract.horizon} "
            f"steps; median usable horizon {scores.horizon_text()}."
        )
    lines += shape_lines(scores)
    curves = torch.cat([curve.values.nan_to_num(-1.0) for curve in scores.axes.values()], 1)
    distinct = len(torch.unique(curves, dim=0))
    if distinct < len(scores):
        lines.append(
            f"- **Independent evidence:** {distinct} of {len(scores)} rows are distinct; a model "
            "that does not use its seed repeats itself."
        )
    breaks = [(b, r) for r in range(len(scores)) if (b := scores.identity_break(r))]
    if breaks:
        (step, thing, event), row = min(breaks)
        index, seed = list(panel.rows())[row]
        lines.append(
            f"- **First object identity break:** object {thing} ({event}) at step {step} of "
            f"scenario `{panel.scenarios[index].id}`, seed {seed}; {len(breaks)} of "
            f"{len(scores)} rows have one."
        )
    lines += _identity_error(scores)
    response = action_sentences(scores)
    if response:
        lines += ["- **Response to actions:**", *(f"  - {text}." for text in response)]
    lines += [
        f"- **Warning:** {v}" for k, v in scores.provenance.items() if k.startswith("warning")
    ]
    lines += cause_lines(diagnosis)
    kept = [trace for trace in traces if trace.model == scores.model]
    lines += [f"- **Trace:** `traces/{t.name}.png`, `.safetensors`: {t.why}." for t in kept]
    return lines


def _recovery(scores: Scores, row: int) -> str:
    """Whether the first failure is for good, and how many of the rows that fail come back."""
    ended = [r for r in range(len(scores)) if scores.failing_axis(r) is not None]
    back = sum(scores.recovery(r) is not None for r in ended)
    found = scores.recovery(row)
    text = "that failure lasts to the end" if found is None else f"from step {found[0]} on"
    if found is not None:
        again = int(scores.horizon.failures[int(scores.horizon.axis[row]), row]) > 1
        until = "then it fails again" if again else "to the end"
        text += f" the score is back for {found[1]} defined steps, {until}"
    return f"- **Recovery:** {text}; {back} of the {len(ended)} rows that fail recover."


def _identity_error(scores: Scores) -> list[str]:
    """How far breaks that were told without labels are true, where true labels are there."""
    error = scores.identity_error()
    if error is None:
        return []
    n = error.counts()
    true = n["hit"] + n["off"] + n["missed"]
    found = (
        f"against true labels, {n['hit']} of {true} true breaks of objects are found within a step "
        f"({n['off']} at another step, {n['missed']} missed); {n['false']} of "
        f"{n['false'] + n['quiet']} objects that never break are called broken."
    )
    return [f"- **Error of identity without labels:** {found}"]
