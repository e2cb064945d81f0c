"""Labels carried from frames that have them to one that has none, by features alike nearby."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from wmscore.ops._library import op

__all__ = ["MOST_NEIGHBOURS", "label_propagate"]

FEATURE_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
MOST_NEIGHBOURS = 16
_CHUNK = 1 << 23  # products that the torch function holds at a time


def check_propagate(
    query: Tensor,
    memory: Tensor,
    memory_labels: Tensor,
    radius: int,
    topk: int,
    temperature: float,
    use_memory: Tensor | None = None,
) -> None:
    """Refuse features, labels or settings that do not fit each other.

    Raises:
        TypeError: an argument is of the wrong type or dtype.
        ValueError: shapes or devices do not fit, or a setting is out of its range.
    """
    shapes = {
        "query": "[B, C, h, w]",
        "memory": "[B, M, C, h, w]",
        "memory_labels": "[B, M, L, h, w]",
    }
    given = (("query", query), ("memory", memory), ("memory_labels", memory_labels))
    for name, value in given:
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
        if value.dtype not in FEATURE_DTYPES:
            raise TypeError(f"{name} must be floating point, got {value.dtype}")
        if value.dim() != shapes[name].count(",") + 1:
            raise ValueError(f"{name} must have shape {shapes[name]}, got {tuple(value.shape)}")
        if value.device != query.device:
            raise ValueError(f"{name} must be on {query.device} like query, got {value.device}")
    if memory.dtype != query.dtype:
        raise TypeError(f"query and memory must have one dtype, got {query.dtype}, {memory.dtype}")
    batch, channels, *size = query.shape
    if memory.shape[0] != batch or memory.shape[2:] != (channels, *size):
        raise ValueError(
            f"memory must have shape [B, M, C, h, w] with the [B, C, h, w] = {tuple(query.shape)} "
            f"of query, got {tuple(memory.shape)}"
        )
    if memory_labels.shape[:2] != memory.shape[:2] or memory_labels.shape[3:] != tuple(size):
        raise ValueError(
            f"memory_labels must have the [B, M] and [h, w] of memory, {tuple(memory.shape)}, "
            f"got {tuple(memory_labels.shape)}"
        )
    for name, number, least, most in (
        ("radius", radius, 0, math.inf),
        ("topk", topk, 1, MOST_NEIGHBOURS),
    ):
        if isinstance(number, bool) or not isinstance(number, int):
            raise TypeError(f"{name} must be an int, got {type(number).__name__}")
        if not least <= number <= most:
            limits = f"at least {least}" if most == math.inf else f"{least}..{most}"
            raise ValueError(f"{name} must be {limits}, got {number}")
    if isinstance(temperature, bool) or not isinstance(temperature, int | float):
        raise TypeError(f"temperature must be a number, got {type(temperature).__name__}")
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be positive and finite, got {temperature}")
    if use_memory is None:
        return
    if not isinstance(use_memory, Tensor):
        raise TypeError(f"use_memory must be a torch.Tensor or None, got {use_memory!r}")
    if use_memory.dtype != torch.bool:
        raise TypeError(f"use_memory must be bool, got {use_memory.dtype}")
    if use_memory.shape != memory.shape[:2]:
        raise ValueError(
            f"use_memory must have shape [B, M] = {tuple(memory.shape[:2])}, "
            f"got {tuple(use_memory.shape)}"
        )
    if use_memory.device != query.device:
        raise ValueError(
            f"use_memory must be on {query.device} like query, got {use_memory.device}"
        )


@op(check_propagate)
def label_propagate(
    query: Tensor,
    memory: Tensor,
    memory_labels: Tensor,
    radius: int,
    topk: int,
    temperature: float,
    use_memory: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Labels of a frame as the mix of those that the most alike features nearby have.

    Each position of `query` is compared by the cosine with the positions of all M frames of
    `memory` within a square of `radius` around it. The `topk` most alike, with cosines `s`, have
    the weights softmax(s / temperature); the labels are their labels so weighted. This is the
    protocol of DINO (Caron et al. 2021, arXiv:2104.14294, §4.2.2; its `eval_video_segmentation.py`
    has radius 12, topk 5, temperature 0.1, the first frame and the last 7 as memory), after
    space-time correspondence (Jabri et al. 2020, arXiv:2006.14613, appendix). There all frames of
    equal cosine with the last of the topk count as well; here exactly `topk` do.

    Args:
        query: features `[B, C, h, w]`, floating, any strides. They are divided by their length
            here; a zero vector stays zero, and its cosine with any other is 0.
        memory: features `[B, M, C, h, w]` of frames with labels, of the same dtype; may be
            expanded.
        memory_labels: `[B, M, L, h, w]`, floating, any strides: how much each position belongs to
            each of L labels.
        radius: of the square, in positions, 0 or more: rows and columns that differ by no more. It
            is cut off at the borders.
        topk: 1..16. Where the square has fewer positions, all of them count.
        temperature: positive; the lower, the more the most alike position decides.
        use_memory: bool `[B, M]`, which frames of memory there are; None stands for all.

    Returns:
        The labels `[B, L, h, w]` and the mean cosine of the topk, so weighted, `[B, h, w]`, in
        -1..1, a measure of how sure they are; float32, or float64 for float64 features. Cosines are
        computed in that type. Where no frame of memory is there, both are NaN, as they are where
        any feature in the square is NaN, infinite, or of a length whose square overflows. Of equal
        cosines the earlier frame counts, then the upper row, then the left column. There is no
        gradient: which positions are chosen has none.

    Raises:
        TypeError: not tensors, or not of one of the dtypes; a setting of the wrong type.
        ValueError: shapes or devices do not fit, or a setting is out of its range.
        RuntimeError: an argument requires a gradient.

    Example:
        >>> memory = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).reshape(1, 1, 2, 1, 2)
        >>> labels = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).reshape(1, 1, 2, 1, 2)
        >>> moved = memory[:, 0].flip(-1)
        >>> label_propagate(moved, memory, labels, radius=1, topk=1, temperature=0.1)[0]
        tensor([[[[1., 0.]],
        <BLANKLINE>
                 [[0., 1.]]]])
    """
    kind = torch.float64 if query.dtype == torch.float64 else torch.float32
    batch, channels, height, width = query.shape
    frames, count = memory.shape[1], memory_labels.shape[2]
    labels = query.new_full((batch, count, height, width), torch.nan, dtype=kind)
    similarity = query.new_full((batch, height, width), torch.nan, dtype=kind)
    if labels.numel() == similarity.numel() == 0 or frames == 0:
        return labels, similarity
    reach = min(radius, max(height, width) - 1)
    side = 2 * reach + 1
    products = max(1, channels) * side**2 * width  # of one row with one frame
    at_once = min(batch, max(1, _CHUNK // products))
    rows = min(height, max(1, _CHUNK // (products * at_once)))
    margin = [reach] * 4
    usable = query.new_ones(batch, frames, dtype=torch.bool) if use_memory is None else use_memory
    inside = torch.nn.functional.pad(query.new_ones(height, width, dtype=torch.bool), margin)
    for start in range(0, batch, at_once):
        some = slice(start, start + at_once)
        now = _unit(query[some].to(kind), 1)
        before = torch.nn.functional.pad(_unit(memory[some].to(kind), 2), margin)
        their_labels = memory_labels[some].to(kind).movedim(1, 2).flatten(2)
        there = inside & usable[some, :, None, None]
        for top in range(0, height, rows):
            band = slice(top, min(top + rows, height))
            squares, seen = (
                x[..., top : band.stop + 2 * reach, :].unfold(-2, side, 1).unfold(-2, side, 1)
                for x in (before, there)
            )
            own = now[:, :, band, :, None, None]
            cosines = torch.stack([(own * squares[:, m]).sum(1) for m in range(frames)], dim=1)
            cosines = cosines.where(seen, -math.inf).movedim(1, 3).flatten(3)
            best, chosen = _largest(cosines, min(topk, cosines.shape[-1]))
            place = _place(chosen, top, reach, height, width)
            # A place that is chosen because there are too few has no weight: any other will do.
            place = place.where(best > -math.inf, place[..., :1]).clamp(
                0, frames * height * width - 1
            )
            labels[some, :, band], similarity[some, band] = _mix(
                best, place, their_labels, temperature
            )
    return labels, similarity


def _unit(vectors: Tensor, dim: int) -> Tensor:
    length = vectors.square().sum(dim, keepdim=True).sqrt()
    length = length + 0 * length  # NaN where it overflowed
    return vectors / length.where(length != 0, 1)


def _largest(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest values of the last dimension and where they are; of equal ones the first.

    NaN is larger than all, and -inf stands for nothing. (Of equal values `topk` takes any.)
    """
    best = []
    chosen = []
    for _ in range(count):
        value, index = values.max(-1, keepdim=True)
        values = values.scatter(-1, index, -math.inf)
        best.append(value)
        chosen.append(index)
    return torch.cat(best, -1), torch.cat(chosen, -1)


def _place(chosen: Tensor, top: int, reach: int, height: int, width: int) -> Tensor:
    """From an index into the squares of all frames to one into their positions."""
    side = 2 * reach + 1
    y = torch.arange(top, top + chosen.shape[1], device=chosen.device)[:, None, None]
    x = torch.arange(width, device=chosen.device)[:, None]
    frame, row, column = chosen // side**2, chosen // side % side, chosen % side
    return (frame * height + y + row - reach) * width + x + column - reach


def _mix(best: Tensor, place: Tensor, labels: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Labels and cosines, weighted; NaN where there is no cosine."""
    # In one order, and divided last: where all labels are 1, so is the mix, exactly.
    weight = ((best - best[..., :1]) / temperature).exp()
    total = weight[..., 0]
    cosine = weight[..., 0] * best[..., 0]
    mixed = weight[:, None, ..., 0] * _at(labels, place[..., 0])
    for k in range(1, best.shape[-1]):
        total = total + weight[..., k]
        cosine = cosine + (weight[..., k] * best[..., k]).where(best[..., k] > -math.inf, 0)
        mixed = mixed + weight[:, None, ..., k] * _at(labels, place[..., k])
    return mixed / total[:, None], (cosine / total).clamp(-1, 1)


def _at(labels: Tensor, place: Tensor) -> Tensor:
    """`[B, L, P]` at the places `[B, R, w]`: `[B, L, R, w]`."""
    count = labels.shape[1]
    found = labels.gather(2, place.flatten(1)[:, None].expand(-1, count, -1))
    return found.reshape(*found.shape[:2], *place.shape[1:])
