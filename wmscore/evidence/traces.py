"""Diagnostic traces: the few rollouts that show where and how a model failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import pad

from wmscore.attribution import first_failure
from wmscore.evidence.outline import outline_objects
from wmscore.evidence.strip import paint_labels, write_strip
from wmscore.evidence.video import write_video
from wmscore.files import safe_name
from wmscore.functional import IdentityState, Reason
from wmscore.functional.identity.over_time import is_break
from wmscore.rollouts import Rollouts
from wmscore.scorer import cover_ignored
from wmscore.scores import Scores
from wmscore.tensorfile import save_tensors

__all__ = ["Trace", "choose_traces", "write_trace"]

Fetch = Callable[[str, int, int], Rollouts]
_BEFORE, _AFTER = 3, 5
# Rows without rollouts that could be looked at.
_ABSENT = (Reason.MISSING, Reason.MODEL_ERROR, Reason.WRONG_ANSWER, Reason.WRONG_SIZE)


@dataclass(frozen=True, kw_only=True)
class Trace:
    """A row worth keeping, and why.

    Attributes:
        model: whose rollout.
        row: row of the panel.
        scenario: index of the scenario.
        scenario_id: its id.
        seed: its seed.
        step: the step to look at, 1-based.
        why: what happens there.
    """

    model: str
    row: int
    scenario: int
    scenario_id: str
    seed: int
    step: int
    why: str

    @property
    def name(self) -> str:
        """File name without ending."""
        return safe_name(f"{self.model}.{self.scenario_id}.seed{self.seed}")


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

    Boxes that the panel ignores are covered there too.
    """
    rollouts = fetch(trace.model, trace.scenario, trace.seed)
    rollouts = cover_ignored(rollouts, scores.panel.contract.observation)
    here = rollouts[rollouts.branch == 0]
    tensors: dict[str, Tensor] = {"frames": here.frames[0], "valid": here.valid[0]}
    tensors["actions"] = here.actions[0]
    if here.reference is not None:
        tensors["reference"] = here.reference[0]
    if here.labels is not None:
        tensors["labels"] = here.labels[0]
    if here.reference_labels is not None:
        tensors["reference_labels"] = here.reference_labels[0]
    for group in ("axes", "measures"):
        for name, curve in getattr(scores, group).items():
            tensors[f"curves.{group}.{name}"] = curve.values[trace.row]
    if scores.identity is not None:
        tensors["identity.ids"] = scores.identity.ids[trace.row]
        tensors["identity.state"] = scores.identity.state[trace.row]
        tensors["identity.iou"] = scores.identity.iou[trace.row]
        tensors["identity.other_id"] = scores.identity.other_id[trace.row]
        tensors["identity.confidence"] = scores.identity.confidence[trace.row]
    header = {"panel": scores.panel.fingerprint, "trace": asdict(trace)}
    save_tensors(folder / f"{trace.name}.safetensors", "trace", tensors, header)
    write_strip(
        folder / f"{trace.name}.png",
        _strip_rows(tensors),
        steps=range(max(0, trace.step - _BEFORE), min(here.horizon, trace.step + _AFTER) + 1),
        marked=trace.step,
        title=f"{trace.model} | {trace.scenario_id}, seed {trace.seed} | {trace.why}",
    )
    if "reference" in tensors:
        size = scores.panel.contract.observation
        fps = 10.0 if size is None else size.fps
        sides = [_as_uint8(tensors[name]) for name in ("reference", "frames")]
        write_video(folder / f"{trace.name}.mp4", *sides, fps=fps)


def _strip_rows(tensors: dict[str, Tensor]) -> list[tuple[str, Tensor]]:
    """Lines of the strip: frames with their objects outlined, the difference, and the labels."""
    frames = _as_uint8(tensors["frames"])
    rows = []
    if "reference" in tensors:
        reference = _as_uint8(tensors["reference"])
        change = (frames.short() - reference.short()).abs().to(torch.uint8)
        rows = [
            ("reference", _outlined(reference, tensors, "reference_labels")),
            ("generated", _outlined(frames, tensors, "labels")),
            ("difference", _enlarged(change)),
        ]
    else:
        rows = [("generated", _outlined(frames, tensors, "labels"))]
    for name in ("reference_labels", "labels"):
        if name in tensors:
            title = "generated labels" if name == "labels" else "reference labels"
            rows.append((title, _enlarged(paint_labels(tensors[name]))))
    return rows


def _outlined(frames: Tensor, tensors: dict[str, Tensor], name: str) -> Tensor:
    """Frames `[T+1, 3, H, W]` as they are shown; broken objects are marked on generated ones."""
    frames, is_generated = _enlarged(frames), name == "labels"
    if is_generated and name not in tensors and "identity.ids" in tensors:
        name = "reference_labels"  # where the objects should be
    if name not in tensors:
        return frames
    labels = _enlarged(tensors[name][:, None])[:, 0].long()
    if "identity.ids" not in tensors:
        ids = torch.unique(labels)
        return outline_objects(frames, labels, ids[ids > 0])
    ids, state = tensors["identity.ids"], tensors["identity.state"]
    marked = is_break(state) | (state == IdentityState.SPAWN)
    marked = pad(marked, (0, 0, 1, 0))  # the given frame is not judged
    there = ids > 0
    if not is_generated:
        marked = torch.zeros_like(marked)
    return outline_objects(frames, labels, ids[there], marked=marked[:, there])


def _enlarged(frames: Tensor) -> Tensor:
    """Frames `[T, C, H, W]` of about 120 pixels or more, so that lines are seen beside pixels."""
    scale = max(1, round(120 / frames.shape[-2]))
    return frames.repeat_interleave(scale, -1).repeat_interleave(scale, -2)


def _as_uint8(frames: Tensor) -> Tensor:
    """For looking at only, in three channels: undefined pixels are shown black."""
    if frames.shape[-3] == 1:
        frames = frames.expand(*frames.shape[:-3], 3, *frames.shape[-2:])
    if frames.dtype == torch.uint8:
        return frames
    return frames.float().nan_to_num(0.0).mul(255).round().clamp(0, 255).to(torch.uint8)


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
