"""Frames of a trace as small pictures for a page: lossy, of bounded size, outlines beside them."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from wmscore.extras import require
from wmscore.functional import IdentityState
from wmscore.functional.identity.over_time import is_break
from wmscore.plots.outline import outline_objects

__all__ = ["Pictures", "pictures"]

# Widest side in pixels and quality, tried in turn until a trace fits.
_LADDER = ((400, 86), (400, 70), (320, 60), (240, 50), (160, 40))
_BEFORE, _AFTER = 24, 48  # steps around the one to look at that a long rollout shows


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """What a page shows of a rollout, as data URLs.

    Attributes:
        steps: the steps that are shown, 0 = the given frame.
        generated: a picture for each of them.
        reference: likewise, or None where the trace has no reference.
        generated_lines: outlines of objects, to lie over it; "" where there are none.
        reference_lines: likewise.
        width: of a frame in pixels, as it was made.
        height: likewise.
        size: bytes of all.
        note: what was left out or changed, in words.
    """

    steps: list[int]
    generated: list[str]
    reference: list[str] | None
    generated_lines: list[str]
    reference_lines: list[str]
    width: int
    height: int
    size: int
    note: str


def pictures(tensors: dict[str, Tensor], step: int, budget: int) -> Pictures:
    """Pictures of a trace's frames within so many bytes, as large as the budget allows.

    Args:
        tensors: of a trace: `frames` `[T+1, C, H, W]`, and where they are there `reference`,
            `labels`, `reference_labels` and `identity.*`.
        step: the step to look at.
        budget: bytes; below what the smallest pictures take, fewer steps are shown.

    Raises:
        ValueError: the tensors are not those of a trace.
    """
    frames, reference = _video(tensors, "frames"), None
    if "reference" in tensors:
        reference = _video(tensors, "reference")
        if reference.shape[-2:] != frames.shape[-2:] or len(reference) < len(frames):
            raise ValueError(
                f"reference: expected at least {list(frames.shape)}, got {list(reference.shape)}"
            )
    steps = list(range(len(frames)))
    if len(steps) > _BEFORE + _AFTER + 1:
        steps = [s for s in steps if step - _BEFORE <= s <= step + _AFTER]
    lines = {
        name: _outlines(tensors, name, frames, steps) for name in ("labels", "reference_labels")
    }
    fixed = sum(len(url) for urls in lines.values() for url in urls)
    size, quality = _LADDER[0]
    made: dict[str, list[str]] = {}
    for size, quality in _LADDER:
        made = {"generated": [_picture(frames[s], size, quality) for s in steps]}
        if reference is not None:
            made["reference"] = [_picture(reference[s], size, quality) for s in steps]
        total = fixed + sum(len(url) for urls in made.values() for url in urls)
        if total <= budget:
            break
    kept = _nearest(steps, step, made, lines, budget)
    keep = [steps.index(s) for s in kept]
    made = {name: [urls[i] for i in keep] for name, urls in made.items()}
    lines = {name: [urls[i] for i in keep] if urls else [] for name, urls in lines.items()}
    last, (height, width) = len(frames) - 1, frames.shape[-2:]
    note = "" if len(kept) == last + 1 else f"Steps {kept[0]} to {kept[-1]} of {last} are shown. "
    if max(height, width) > size:
        note += f"Frames of {width} × {height} pixels are shown at most {size} wide. "
    return Pictures(
        steps=kept,
        generated=made["generated"],
        reference=made.get("reference"),
        generated_lines=lines["labels"],
        reference_lines=lines["reference_labels"],
        width=width,
        height=height,
        size=sum(len(url) for urls in [*made.values(), *lines.values()] for url in urls),
        note=note,
    )


def _video(tensors: dict[str, Tensor], name: str) -> Tensor:
    """`[T+1, 3, H, W]` uint8 of the commanded script, which is the first of several."""
    frames = tensors.get(name)
    if frames is not None and frames.dim() == 5:
        frames = frames[0]
    if frames is None or frames.dim() != 4 or frames.shape[1] not in (1, 3) or not frames.numel():
        shape = None if frames is None else list(frames.shape)
        raise ValueError(f"{name}: expected [T+1, 3, H, W] in a trace, got {shape}")
    if frames.dtype != torch.uint8:
        frames = frames.float().nan_to_num(0.0).mul(255).round().clamp(0, 255).to(torch.uint8)
    return frames.expand(-1, 3, -1, -1)


def _nearest(
    steps: list[int],
    step: int,
    made: dict[str, list[str]],
    lines: dict[str, list[str]],
    budget: int,
) -> list[int]:
    """A run of steps around the one to look at whose pictures fit; at least that one."""
    cost = [
        sum(len(urls[i]) for urls in [*made.values(), *lines.values()] if urls)
        for i in range(len(steps))
    ]
    middle = min(range(len(steps)), key=lambda i: abs(steps[i] - step))
    first = last = middle
    total = cost[middle]
    while True:
        # One before for each two after: a failure shows in what follows.
        ends = (
            [first - 1, last + 1]
            if (last - middle) > 2 * (middle - first)
            else [last + 1, first - 1]
        )
        ends = [i for i in ends if 0 <= i < len(steps) and total + cost[i] <= budget]
        if not ends:
            return steps[first : last + 1]
        total += cost[ends[0]]
        first, last = min(first, ends[0]), max(last, ends[0])


def _picture(frame: Tensor, widest: int, quality: int) -> str:
    """A frame as WebP; without loss where that is smaller, as of drawn worlds."""
    image = require("PIL.Image", "harness")
    picture = image.fromarray(frame.permute(1, 2, 0).contiguous().numpy())
    if max(picture.size) > widest:
        scale = widest / max(picture.size)
        size = tuple(max(1, round(side * scale)) for side in picture.size)
        picture = picture.resize(size, image.Resampling.BOX)
    data = _encoded(picture, quality=quality, method=2)
    if max(picture.size) <= 128:
        exact = _encoded(picture, lossless=True, quality=40, method=2)
        data = exact if len(exact) <= 2 * len(data) else data
    return _url(data)


def _outlines(tensors: dict[str, Tensor], name: str, like: Tensor, steps: list[int]) -> list[str]:
    """Lines around objects on nothing, a broken one marked in red; as in the strips."""
    generated = name == "labels"
    source = name
    if generated and name not in tensors and "identity.ids" in tensors:
        source = "reference_labels"  # where the objects should be
    labels = tensors.get(source)
    if labels is None:
        return []
    labels = labels[0] if labels.dim() == 4 else labels
    if labels.shape != (len(like), *like.shape[-2:]):
        return []
    scale = max(1, round(120 / labels.shape[-2]))
    large = labels[: len(like)].long().repeat_interleave(scale, -1).repeat_interleave(scale, -2)
    marked = None
    if "identity.ids" in tensors and "identity.state" in tensors:
        ids, state = tensors["identity.ids"], tensors["identity.state"]
        there = ids > 0
        found = is_break(state) | (state == IdentityState.SPAWN)
        marked = pad(found if generated else torch.zeros_like(found), (0, 0, 1, 0))[:, there]
        ids = ids[there]
    else:
        ids = torch.unique(large)
        ids = ids[ids > 0]
    if marked is not None and len(marked) != len(large):
        return []
    # What is the same on black and on white was drawn.
    shape = (len(large), 3, *large.shape[-2:])
    black = outline_objects(torch.zeros(shape, dtype=torch.uint8), large, ids, marked=marked)
    white = outline_objects(torch.full(shape, 255, dtype=torch.uint8), large, ids, marked=marked)
    drawn = (black == white).all(1, keepdim=True)
    layers = torch.cat([black.where(drawn, 0), drawn.to(torch.uint8) * 255], 1)
    return [_layer(layers[s]) if bool(drawn[s].any()) else "" for s in steps]


def _layer(layer: Tensor) -> str:
    image = require("PIL.Image", "harness")
    picture = image.fromarray(layer.permute(1, 2, 0).contiguous().numpy())
    return _url(_encoded(picture, lossless=True, quality=30, method=2))


def _encoded(picture: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, format="WEBP", **options)
    return file.getvalue()


def _url(data: bytes) -> str:
    return "data:image/webp;base64," + base64.b64encode(data).decode("ascii")
