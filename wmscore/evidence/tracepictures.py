"""A trace to look at: a strip of its frames, and a video."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import pad

from wmscore.evidence.strip import paint_labels, write_strip
from wmscore.evidence.tracefile import Trace
from wmscore.evidence.video import write_video
from wmscore.functional import IdentityState
from wmscore.functional.identity.over_time import is_break
from wmscore.manifest import Panel
from wmscore.plots.outline import outline_objects

__all__ = ["write_pictures"]

_BEFORE, _AFTER = 3, 5


def write_pictures(folder: Path, trace: Trace, tensors: Mapping[str, Tensor], panel: Panel) -> None:
    """Write `<trace>.png` and, beside a reference, `<trace>.mp4`, from what a trace file holds."""
    horizon = len(tensors["frames"]) - 1
    write_strip(
        folder / f"{trace.name}.png",
        _strip_rows(tensors),
        steps=range(max(0, trace.step - _BEFORE), min(horizon, trace.step + _AFTER) + 1),
        marked=trace.step,
        title=f"{trace.model} | {trace.scenario_id}, seed {trace.seed} | {trace.why}",
    )
    if "reference" in tensors:
        size = panel.contract.observation
        fps = 10.0 if size is None else size.fps
        sides = [_as_uint8(tensors[name]) for name in ("reference", "frames")]
        write_video(folder / f"{trace.name}.mp4", *sides, fps=fps)


def _strip_rows(tensors: Mapping[str, Tensor]) -> list[tuple[str, Tensor]]:
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


def _outlined(frames: Tensor, tensors: Mapping[str, Tensor], name: str) -> Tensor:
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
