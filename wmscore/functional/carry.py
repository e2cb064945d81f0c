"""Labels of the first frame, carried along a video: objects without a segmenter or a simulator."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

from wmscore.functional._check import (
    LABEL_DTYPES,
    check_count,
    check_frames,
    check_ids,
    check_number,
    check_rollouts,
    check_tensor,
    check_whole,
)
from wmscore.functional._chunks import piece_elements
from wmscore.functional.overlap import LARGEST_ID, label_ids, slot_maps
from wmscore.functional.references import Encoder, encode
from wmscore.ops import label_pool, label_propagate

__all__ = ["CarriedLabels", "carry_labels"]

_SIDE = 40  # cells of the shorter side for the features without weights
_LENGTH = 6.0  # of the vector that colours are lifted to; the larger, the closer all cosines
_SURE_COSINE = 0.97


@dataclass(frozen=True)
class CarriedLabels:
    """Labels of each frame. See :func:`carry_labels`.

    Attributes:
        labels: ``[B, T + 1, H, W]`` int64, object ids, 0 = background; frame 0 as given.
        confidence: ``[B, T + 1, N]`` float64 in [0, 1], how sure it is that the object's label
            still lies on the object; 0 where it has no pixel left.
        ids: ``[B, N]`` int64, the objects; 0 = padding.
    """

    labels: Tensor
    confidence: Tensor
    ids: Tensor


@torch.no_grad()
def carry_labels(
    frames: Tensor,
    first: Tensor,
    *,
    ids: Tensor | None = None,
    encoder: Encoder | None = None,
    memory: int = 4,
    radius: int = 5,
    topk: int = 5,
    temperature: float = 0.02,
) -> CarriedLabels:
    r"""Carry labels of frame 0 along a video by the affinity of features nearby.

    TODO
    """
    check_frames(frames=frames)
    check_rollouts("frames", frames)
    rows, count, channels, height, width = frames.shape
    check_tensor("first", first)
    if first.dtype not in LABEL_DTYPES:
        raise TypeError(f"first must be an integer label map, got {first.dtype}")
    if first.shape != (rows, height, width):
        raise ValueError(
            f"first must have shape [B, H, W] = {(rows, height, width)} of the frames, "
            f"got {tuple(first.shape)}"
        )
    if first.device != frames.device:
        raise ValueError(f"first must be on {frames.device} like frames, got {first.device}")
    for name, value in (("memory", memory), ("topk", topk)):
        check_count(name, value)
    check_whole("radius", radius)
    check_number("temperature", temperature, low=0.0, low_is_allowed=False)
    if ids is None:
        ids = label_ids(first[:, None], first[:, None])
    else:
        check_ids(ids, first, LARGEST_ID)
    ids = ids.long()
    labels = ids.new_zeros(rows, count, height, width)
    confidence = torch.zeros(rows, count, ids.shape[1], dtype=torch.float64, device=frames.device)
    size = max(1, 2 * piece_elements(frames.device) // (count * height * width))
    for start in range(0, rows, size):
        some = slice(start, start + size)
        labels[some], confidence[some] = _carry(
            frames[some], first[some], ids[some], encoder, memory, radius, topk, temperature
        )
    return CarriedLabels(labels, confidence, ids)


def _carry(
    frames: Tensor,
    first: Tensor,
    ids: Tensor,
    encoder: Encoder | None,
    memory: int,
    radius: int,
    topk: int,
    temperature: float,
) -> tuple[Tensor, Tensor]:
    rows, count, _, height, width = frames.shape
    objects = ids.shape[1]
    maps = _features(frames.flatten(0, 1), encoder).unflatten(0, (rows, count))
    slots = slot_maps(first[:, None], ids)  # [B, H, W]
    shares = _shares(slots, objects, maps.shape[-2:])  # [B, N + 1, h, w]
    slot_ids = torch.arange(1, objects + 1, device=ids.device).where(ids > 0, 0)
    names = pad(ids, (1, 0))
    look, _ = label_pool(maps[:, 0], slots, slot_ids)
    labels = [first.long().where(slots > 0, 0)]
    sure = [(ids > 0).double()]
    past = [shares]
    for t in range(1, count):
        frames_of = sorted({0, *range(max(0, t - memory), t)})
        stack = torch.stack([past[i] for i in frames_of], 1)
        shares, cosine = label_propagate(
            maps[:, t], maps[:, frames_of], stack, radius, topk, temperature
        )
        past.append(shares)
        if t > memory + 1:
            past[t - memory - 1] = past[0]  # frees what no step needs any more
        wide = interpolate(shares, size=(height, width), mode="bilinear", align_corners=False)
        share, slots = wide.max(1)
        labels.append(names.gather(1, slots.flatten(1)).view_as(slots))
        seen, _ = label_pool(maps[:, t], slots, slot_ids)
        near = torch.nn.functional.cosine_similarity(seen, look, dim=2)
        certain, pixels = label_pool(
            torch.cat([share[:, None], interpolate(cosine[:, None], size=(height, width))], 1),
            slots, slot_ids,
        )
        sure.append(torch.stack([near, certain[..., 0], certain[..., 1]], -1))
    return torch.stack(labels, 1), sure


def _shares(slots: Tensor, objects: int, size: torch.Size) -> Tensor:
    """How much of each cell belongs to each slot, ``[B, N + 1, h, w]``."""
    slot = torch.arange(objects + 1, device=slots.device)[:, None, None]
    return interpolate((slots[:, None] == slot).float(), size=tuple(size), mode="area")


def _features(frames: Tensor, encoder: Encoder | None) -> Tensor:
    if encoder is not None:
        return encode(encoder, frames, "frames")[-1].float().to(frames.device)
    frames = frames.float() / 255 if frames.dtype == torch.uint8 else frames.float()
    height, width = frames.shape[-2:]
    cells = max(1, round(min(height, width) / _SIDE))
    means = avg_pool2d(frames, cells) - 0.5
    wide = pad(means, (1, 1, 1, 1), mode="replicate")
    h, w = means.shape[-2:]
    parts = []
    for y in range(3):
        for x in range(3):
            weight = 1.0 if (y, x) == (1, 1) else 0.5
            parts.append(weight * wide[..., y:y + h, x:x + w])
    patch = torch.cat(parts, 1)
    lift = (_LENGTH - patch.square().sum(1, keepdim=True)).clamp(min=0).sqrt()
    return torch.cat([patch, lift], 1)
