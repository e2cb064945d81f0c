"""Diagnostic traces: the few rollouts that show where and how a model failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from wmscore.attribution import first_failure
from wmscore.evidence.tracefile import Trace, save_trace, trace_tensors
from wmscore.evidence.tracepictures import write_pictures
from wmscore.functional import Reason
from wmscore.rollouts import Rollouts
from wmscore.scorer import cover_ignored
from wmscore.scores import Scores

__all__ = ["Trace", "choose_traces", "write_trace"]

Fetch = Callable[[str, int, int], Rollouts]
# Rows without rollouts that could be looked at.
_ABSENT = (Reason.MISSING, Reason.MODEL_ERROR, Reason.WRONG_ANSWER, Reason.WRONG_SIZE)


def choose_traces(results: Sequence[Scores], *, anchors: Sequence[str] = ()) -> list[Trace]:
    """The most telling rows, at least two where the panel has two rows.

    For each judged model (not an anchor) its first failure and its first object identity break,
    in the order that the panel's `trace_to_save` asks for; if these are fewer than two, also the
    rows with the lowest scores, of judged models before anchors.
    """
    judged = [scores for scores in results if scores.model not in anchors]
    rest = [scores for scores in results if scores.model in anchors]
    failures = [t for scores in judged if (t := _failure(scores)) is not None]
    breaks = [t for scores in judged if (t := _identity_break(scores)) is not None]
    wanted = failures + breaks
    if results[0].panel.trace_to_save == "first_object_identity_break":
        wanted = breaks + failures
    chosen: dict[tuple[str, int], Trace] = {}
    for trace in wanted:
        chosen.setdefault((trace.model, trace.row), trace)
    for trace in [t for scores in [*judged, *rest] for t in _lowest(scores)]:
        if len(chosen) < 2:
            chosen.setdefault((trace.model, trace.row), trace)
    return list(chosen.values())


def write_trace(folder: Path, trace: Trace, scores: Scores, fetch: Fetch) -> None:
    """Write one trace: safetensors (all that was seen and scored), a PNG strip and an MP4.

    Boxes that the panel ignores are covered there too. Scripts beside the commanded one are kept
    where the panel has the axis action_response, which is told by them.
    """
    rollouts = fetch(trace.model, trace.scenario, trace.seed)
    rollouts = cover_ignored(rollouts, scores.panel.contract.observation)
    tensors = trace_tensors(rollouts, scores, trace.row)
    save_trace(folder / f"{trace.name}.safetensors", trace, scores.panel.fingerprint, tensors)
    write_pictures(folder, trace, tensors, scores.panel)


def _make(scores: Scores, row: int, step: int, why: str) -> Trace:
    s, seed = list(scores.panel.rows())[row]
    return Trace(
        model=scores.model,
        row=row,
        scenario=s,
        scenario_id=scores.panel.scenarios[s].id,
        seed=seed,
        step=step,
        why=why,
    )


def _failure(scores: Scores) -> Trace | None:
    failure = first_failure(scores)
    if failure is None:
        return None
    why = f"{failure.axis} {failure.score:.2f} < {failure.threshold} from step {failure.step} on"
    return _make(scores, failure.row, failure.step, why)


def _identity_break(scores: Scores) -> Trace | None:
    if scores.identity is None:
        return None
    steps = scores.identity.first_break
    row = int(torch.where(steps > 0, steps, steps.max() + 1).argmin())
    found = scores.identity_break(row)
    if found is None:
        return None
    step, thing, event = found
    return _make(scores, row, step, f"object {thing}: {event} at step {step}")


def _lowest(scores: Scores) -> list[Trace]:
    """Rows by their lowest score over axes and steps, most telling first."""
    worst = torch.stack([curve.values.nan_to_num(1.0) for curve in scores.axes.values()]).amin(0)
    low, steps = worst.min(1)
    absent = torch.tensor([int(reason) for reason in _ABSENT], dtype=scores.fault.dtype)
    there = (~torch.isin(scores.fault, absent)).nonzero().flatten().tolist()
    return [
        _make(scores, r, int(steps[r]) + 1, f"lowest score {float(low[r]):.2f}")
        for r in sorted(there, key=lambda r: float(low[r]))[:2]
    ]
