"""The frames of a rollout beside those of its reference, around a step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wmscore.plots.figures import make_figure
from wmscore.plots.outline import outline_objects
from wmscore.rollouts import Rollouts

__all__ = ["filmstrip"]


def filmstrip(
    rollouts: Rollouts, step: int, *, row: int = 0, before: int = 2, after: int = 4
) -> Any:
    """Reference above, generated below, and where they differ, around one step.

    Objects are outlined where there are labels. The step to look at has a red frame.

    Args:
        rollouts: with their reference, as `replay` gives them.
        step: to look at; 0 = the given frame.
        row: which of the rollouts.
        before: steps shown before it.
        after: steps shown after it.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: no reference, or a step or row that is not there.

    Example:
        >>> filmstrip(replay_rows(panel, model, truth, [(0, 1)]), 8)       # doctest: +SKIP
    """
    if not -len(rollouts) <= row < len(rollouts):
        raise ValueError(f"row: expected one of {len(rollouts)} rollouts, got {row}")
    if not 0 <= step <= rollouts.horizon:
        raise ValueError(f"step: expected 0..{rollouts.horizon}, got {step}")
    if before < 0 or after < 0:
        raise ValueError(f"before, after: expected 0 or more, got {before}, {after}")
    one = rollouts[[row % len(rollouts)]]
    if one.reference is None or one.reference_index is None:
        raise ValueError("rollouts: expected a reference; add one with `with_reference(truth)`")
    place = int(one.reference_index[0])
    steps = range(max(0, step - before), min(rollouts.horizon, step + after) + 1)
    chosen = torch.tensor(steps)
    generated, reference = _bytes(one.frames[0][chosen]), _bytes(one.reference[place][chosen])
    change = (generated.short() - reference.short()).abs().to(torch.uint8)
    lines = [
        ("reference", _outlined(reference, one.reference_labels, place, chosen)),
        ("generated", _outlined(generated, one.labels, 0, chosen)),
        ("difference", change),
    ]
    high, wide = generated.shape[-2:]
    width = 1.6
    size = (width, width * high / wide + 0.12)
    figure, plots = make_figure(len(lines) * len(steps), columns=len(steps), size=size)
    for r, (name, frames) in enumerate(lines):
        for c, t in enumerate(steps):
            plot = plots[r * len(steps) + c]
            plot.imshow(frames[c].permute(1, 2, 0).contiguous().numpy(), interpolation="nearest")
            plot.set_xticks([])
            plot.set_yticks([])
            plot.grid(visible=False)
            marked = t == step
            plot.spines[:].set(visible=marked, color="#C00000", linewidth=2.5)
            if r == 0:
                colour = "#C00000" if marked else "black"
                plot.set_title(f"step {t}", fontsize=9, color=colour)
            if c == 0:
                plot.set_ylabel(name, fontsize=9)
    return figure


def _outlined(frames: Tensor, labels: Tensor | None, row: int, steps: Tensor) -> Tensor:
    """Frames `[N, 3, H, W]` large enough for lines, with the objects of their labels outlined."""
    scale = max(1, round(120 / frames.shape[-2]))
    if labels is None:
        return frames
    large = frames.repeat_interleave(scale, -1).repeat_interleave(scale, -2)
    maps = labels[row][steps].cpu().repeat_interleave(scale, -1).repeat_interleave(scale, -2).long()
    ids = torch.unique(maps)
    return outline_objects(large, maps, ids[ids > 0])


def _bytes(frames: Tensor) -> Tensor:
    """For looking at only, in three channels: undefined pixels are shown black."""
    frames = frames.cpu()
    if frames.shape[-3] == 1:
        frames = frames.expand(*frames.shape[:-3], 3, *frames.shape[-2:])
    if frames.dtype == torch.uint8:
        return frames
    return frames.float().nan_to_num(0.0).mul(255).round().clamp(0, 255).to(torch.uint8)
