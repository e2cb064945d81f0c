"""A picture of a trace: reference, generated, difference and labels, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from wmscore.extras import require
from wmscore.files import atomic_file
from wmscore.plots.palette import palette

__all__ = ["write_strip"]

_GAP, _HEAD, _SIDE = 4, 18, 92


def write_strip(
    path: Path,
    rows: Sequence[tuple[str, Tensor]],
    *,
    steps: Sequence[int],
    marked: int,
    title: str,
) -> None:
    """Write a PNG with one line per (name, `[T+1, 3, H, W]` uint8) and one column per step.

    Args:
        path: where to.
        rows: names and frames.
        steps: the steps to show, 0 = the initial observation.
        marked: the step that gets a red frame.
        title: a line of text above.
    """
    image, draw = require("PIL.Image", "harness"), require("PIL.ImageDraw", "harness")
    height, width = rows[0][1].shape[-2:]
    scale = max(1, round(120 / height))
    cell_h, cell_w = height * scale, width * scale
    size = (
        _SIDE + len(steps) * (cell_w + _GAP),
        2 * _HEAD + len(rows) * (cell_h + _GAP),
    )
    canvas = image.new("RGB", size, "white")
    pen = draw.Draw(canvas)
    pen.text((_GAP, 3), title, fill="black")
    for c, step in enumerate(steps):
        x = _SIDE + c * (cell_w + _GAP)
        pen.text((x, _HEAD + 3), f"step {step}", fill="red" if step == marked else "black")
        for r, (_, frames) in enumerate(rows):
            y = 2 * _HEAD + r * (cell_h + _GAP)
            pixels = frames[step].permute(1, 2, 0).contiguous().cpu().numpy()
            tile = image.fromarray(pixels).resize((cell_w, cell_h), image.Resampling.NEAREST)
            canvas.paste(tile, (x, y))
        if step == marked:
            pen.rectangle(
                (x - 2, 2 * _HEAD - 2, x + cell_w + 1, size[1] - 2), outline="red", width=2
            )
    for r, (name, _) in enumerate(rows):
        y = 2 * _HEAD + r * (cell_h + _GAP)
        pen.text((_GAP, y + 2), name.replace(" ", "\n"), fill="black")
    with atomic_file(path) as draft:
        canvas.save(draft, format="PNG")


def paint_labels(labels: Tensor) -> Tensor:
    """Label maps `[T, H, W]` as colours `[T, 3, H, W]` uint8: one hue per id, black = 0."""
    ids = labels.long().cpu()
    return palette(max(1, int(ids.max()) + 1))[ids].permute(0, 3, 1, 2)
