"""What one generated frame shows in the place of each object of the reference, as numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from wmscore.functional._chunks import piece_elements
from wmscore.functional.appearance.maps import (
    behind,
    core_slots,
    describe,
    low_passed,
    ring_slots,
)
from wmscore.functional.appearance.photometric import compensate
from wmscore.functional.appearance.search import Found, search
from wmscore.functional.label_ids import slot_maps
from wmscore.functional.references import Encoder, encode
from wmscore.ops import label_pool

__all__ = ["Encode", "Evidence", "frame_evidence", "gather_evidence"]

Encode = Callable[[Tensor], Tensor]
"""From frames ``[F, C, H, W]`` float32 to a feature map ``[F, D, h, w]``."""

_PIXEL_VALUES = 2  # temporaries of a pixel, in units of those that a piece is meant for
_SEARCHED = 10  # objects of a frame, the largest ones, that are looked for elsewhere
_SEARCH_SIDE = 40  # cells of the shorter side in which the whole frame is searched
_DISPLACED = 1e-5  # squared error that a displacement by one pixel has to save


class Evidence(NamedTuple):
    """Per frame and object slot; float32, ``[F, N]`` unless said otherwise; NaN without pixels.

    Attributes:
        area: int64, pixels of the object in the reference.
        core: int64, those away from its edge, over which all below is pooled.
        shown: ``[F, N, D]`` mean descriptor of the generated pixels in the object's place.
        itself: ``[F, N, D]`` of the reference pixels.
        ground: ``[F, N, D]`` of the background that the reference lets expect behind the object.
        carried: ``[F, N, D]`` of the generated pixels that carry its label outside other objects.
        carried_area: int64, how many these are.
        pixels_itself: mean squared difference of the generated pixels to the reference's.
        pixels_ground: to the background behind.
        contrast: of the reference's pixels to the background behind.
        surroundings: of generated to reference pixels, in a ring of background around the object.
        elsewhere: see :class:`wmscore.functional.appearance.search.Found`.
        again: the same.
    """

    area: Tensor
    core: Tensor
    shown: Tensor
    itself: Tensor
    ground: Tensor
    carried: Tensor
    carried_area: Tensor
    pixels_itself: Tensor
    pixels_ground: Tensor
    contrast: Tensor
    surroundings: Tensor
    elsewhere: Tensor
    again: Tensor


def gather_evidence(
    preds: Tensor,
    target: Tensor,
    target_labels: Tensor,
    ids: Tensor,
    index: Tensor,
    radius: int,
    preds_labels: Tensor | None,
    encoder: Encoder | None,
) -> Evidence:
    """Evidence ``[B, T, N, ...]`` of all frames, a few of them at a time.

    Arguments are those of :func:`wmscore.functional.appearance.identity_from_appearance`.
    """
    rows, steps, _, height, width = preds.shape
    objects = ids.shape[1]
    at_once = max(1, piece_elements(preds.device) // (_PIXEL_VALUES * height * width))
    slot_ids = torch.arange(1, objects + 1, device=ids.device).where(ids > 0, 0)
    encoding = None if encoder is None else _encoding(encoder)
    lines = []
    reach = _largest_extent(target_labels, ids, index, at_once)
    for row in range(0, rows, max(1, at_once // steps)):
        some = slice(row, row + max(1, at_once // steps))
        which, line = index[some], []
        for first in range(0, steps, at_once):
            then = slice(first, first + at_once)
            shape = preds[some, then].shape[:2]
            found = frame_evidence(
                _as_float(preds[some, then]),
                _as_float(target[:, then].index_select(0, which)),
                _small(slot_maps(target_labels[:, then].index_select(0, which), ids[some])),
                slot_ids[some].repeat_interleave(shape[1], 0),
                radius,
                reach[some, then].flatten(0, 1),
                carried=(
                    None
                    if preds_labels is None
                    else _small(slot_maps(preds_labels[some, then], ids[some]))
                ),
                encode=encoding,
            )
            line.append([value.reshape(*shape, *value.shape[1:]) for value in found])
        lines.append([torch.cat(parts, 1) for parts in zip(*line, strict=True)])
    return Evidence(*(torch.cat(parts) for parts in zip(*lines, strict=True)))


def frame_evidence(
    preds: Tensor,
    target: Tensor,
    slots: Tensor,
    ids: Tensor,
    radius: int,
    reach: Tensor,
    *,
    carried: Tensor | None = None,
    encode: Encode | None = None,
) -> Evidence:
    """Compare frames in the place of each object.

    Args:
        preds: generated frames ``[F, C, H, W]`` float32 in [0, 1].
        target: reference frames.
        slots: ``[F, H, W]`` uint8, slot 1..N of the object of each reference pixel; 0 = background.
        ids: ``[F, N]`` int64, 1..N.
        radius: displacement in pixels that is still in place.
        reach: ``[F, N]`` float32, pixels, the object's largest extent so far.
        carried: ``[F, H, W]`` uint8, slots carried along the generated frames.
        encode: adds its features to the descriptor.
    """
    side = min(preds.shape[-2:])
    background = slots == 0
    clear = background & (ring_slots(slots, 0, max(1, side // 32)) == 0)
    compensated = compensate(preds, target, clear.float()).frames
    shown, itself = low_passed(compensated), low_passed(target)
    here = _aligned(shown, itself, slots, ids, radius)
    ground = behind(itself, background[:, None].float())

    core = core_slots(slots)
    codes = [describe(frames) for frames in (here, itself, ground)]
    pairs = ((here, itself), (here, ground), (itself, ground))
    errors = torch.stack([(a - b).square().sum(1) for a, b in pairs], 1)
    means = [label_pool(code, core, ids)[0] for code in codes]
    values, core_area = label_pool(errors, core, ids)
    _, area = label_pool(preds[:, :0], slots, ids)
    ring = ring_slots(slots, 1, max(2, side // 16))
    surroundings, _ = label_pool(errors[:, :1], ring, ids)

    if carried is None:
        followed, followed_area = torch.full_like(means[0], torch.nan), torch.zeros_like(area)
    else:
        free = carried.where(background | (carried == slots), 0)
        followed, followed_area = label_pool(describe(shown), core_slots(free), ids)
    if encode is not None:
        empty = behind(target, background[:, None].float())
        coded = [_unit(encode(frames.clamp(0, 1))) for frames in (compensated, target, empty)]
        means = [
            torch.cat([mean, label_pool(code, core, ids)[0]], 2)
            for mean, code in zip(means, coded, strict=True)
        ]
        if carried is not None:
            followed = torch.cat([followed, label_pool(coded[0], core_slots(free), ids)[0]], 2)
        else:
            followed = torch.full_like(means[0], torch.nan)

    cells = max(1, round(side / _SEARCH_SIDE))
    some = _largest(area, _SEARCHED)  # [F, K]
    names = ids.gather(1, some)
    is_object = (slots[:, None] == names[..., None, None]) & (names > 0)[..., None, None]
    found = search(
        avg_pool2d(shown, cells),
        avg_pool2d(itself, cells),
        avg_pool2d(ground, cells),
        avg_pool2d(is_object.float(), cells),
        near=max(1, round(radius / cells)),
        reach=reach.gather(1, some) / cells,
    )
    nowhere = torch.full_like(reach, -1)
    found = Found(*(nowhere.scatter(1, some, value) for value in found))
    pixels_itself, pixels_ground, contrast = values.unbind(2)
    return Evidence(
        area=area,
        core=core_area,
        shown=means[0],
        itself=means[1],
        ground=means[2],
        carried=followed,
        carried_area=followed_area,
        pixels_itself=pixels_itself,
        pixels_ground=pixels_ground,
        contrast=contrast,
        surroundings=surroundings[..., 0],
        elsewhere=found.elsewhere,
        again=found.again,
    )


def _largest_extent(labels: Tensor, ids: Tensor, index: Tensor, at_once: int) -> Tensor:
    """Longer side of each object's box, the largest up to each step, ``[B, T, N]`` float32."""
    steps = labels.shape[1]
    extents = []
    for row in range(0, len(ids), max(1, at_once // steps)):
        some = slice(row, row + max(1, at_once // steps))
        line = []
        for first in range(0, steps, at_once):
            part = slot_maps(
                labels[:, first : first + at_once].index_select(0, index[some]), ids[some]
            )
            sides = [_lengths(part, ids.shape[1]), _lengths(part.mT, ids.shape[1])]
            shape = (-1, min(at_once, steps - first), ids.shape[1])
            sides = [side.view(shape) for side in sides]
            line.append(torch.maximum(*sides))
        extents.append(torch.cat(line, 1).cummax(1).values)
    return torch.cat(extents).float()


def _lengths(slots: Tensor, objects: int) -> Tensor:
    """From the first to the last row ``y`` of each object in ``[F, Y, X]``, ``[F, N]``."""
    frames, rows, _ = slots.shape
    row = torch.arange(rows, device=slots.device)
    mark = (slots * rows + row[:, None]).flatten(1)
    marked = slots.new_zeros(frames, (objects + 1) * rows, dtype=torch.bool)
    marked = marked.scatter(1, mark, True).view(frames, objects + 1, rows)[:, 1:]
    stop = (row + 1).where(marked, 0).amax(-1)
    start = row.where(marked, rows).amin(-1)
    return (stop - start).clamp(min=0)


def _largest(area: Tensor, most: int) -> Tensor:
    """Slots of the largest areas of ``[F, N]``; of equal ones the first."""
    count = area.shape[1]
    place = torch.arange(count, device=area.device)
    return (area * count + (count - 1 - place)).topk(min(most, count), dim=1).indices


def _small(slots: Tensor) -> Tensor:
    return slots.to(torch.uint8)  # label_pool takes no more than 255 objects anyway


def _as_float(frames: Tensor) -> Tensor:
    """``[B, T, C, H, W]`` as ``[B * T, C, H, W]`` float32 in [0, 1]."""
    frames = frames.flatten(0, 1)
    return frames.float() / 255 if frames.dtype == torch.uint8 else frames.float()


def _encoding(encoder: Encoder) -> Encode:
    def last(frames: Tensor) -> Tensor:
        return encode(encoder, frames, "frames")[-1].to(frames.device)

    return last


def _unit(features: Tensor) -> Tensor:
    features = features.float()
    return features / features.square().sum(1, keepdim=True).sqrt().clamp(min=1e-6)


def _aligned(shown: Tensor, itself: Tensor, slots: Tensor, ids: Tensor, radius: int) -> Tensor:
    """Generated frames, each object's place taken from where they agree most with the reference.

    Displacements by up to ``radius`` pixels; the background stays.
    """
    side = 2 * radius + 1
    height, width = shown.shape[-2:]
    wide = pad(shown, (radius,) * 4, mode="replicate")
    errors = [
        (wide[..., y : y + height, x : x + width] - itself).square().sum(1)
        for y in range(side)
        for x in range(side)
    ]
    mean, _ = label_pool(torch.stack(errors, 1), slots, ids)  # [F, N, moves]
    move = torch.arange(side * side, device=slots.device)
    far = (move // side - radius).square() + (move % side - radius).square()
    best = (mean + _DISPLACED * far).nan_to_num(torch.inf).argmin(2)  # [F, N]
    best = pad(best, (1, 0), value=side * side // 2)  # the background stays
    stride = wide.shape[-1]
    row = torch.arange(height, device=slots.device)[:, None] * stride
    place = row + torch.arange(width, device=slots.device)
    chosen = best.gather(1, slots.flatten(1).long()).view_as(slots)
    place = place + chosen // side * stride + chosen % side
    place = place.flatten(1)[:, None].expand(-1, shown.shape[1], -1)
    return wide.flatten(2).gather(2, place).view_as(shown)
