"""Labels of the first frame, carried along a video: objects without segmenter or simulator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, cosine_similarity, interpolate, pad

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
from wmscore.functional.label_ids import label_ids, slot_maps
from wmscore.functional.references import Encoder, encode
from wmscore.ops import label_pool, label_propagate
from wmscore.ops.label_overlap import LARGEST_ID

__all__ = ["CarriedLabels", "carry_labels"]

_SIDE = 64  # cells of the shorter side for the features without weights
_LENGTH = 6.0  # squared length of those features
_PEAK = 0.3  # share from which an object's best cell is taken for all its own
_DOUBT = 0.2  # change of look, in units of how features differ, that halves the confidence


@dataclass(frozen=True)
class CarriedLabels:
    """Labels of each frame. See :func:`carry_labels`.

    Attributes:
        labels: ``[B, T + 1, H, W]`` int64, object ids, 0 = background; frame 0 as it was given.
        confidence: ``[B, T + 1, N]`` float64 in [0, 1], how sure it is that the object's label
            still lies on the object, higher is surer; 0 where no pixel has it.
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
    memory: int = 2,
    radius: int = 7,
    topk: int = 5,
    temperature: float = 0.005,
) -> CarriedLabels:
    r"""Carry the labels of frame 0 along a video, by the affinity of features nearby.

    Frame by frame, each position takes the labels of the most alike positions within a square
    around it, in frame 0 and in the last ``memory`` frames (:func:`wmscore.ops.label_propagate`):
    the protocol of video object segmentation of STC and DINO. Each object's shares are divided by
    their largest, as there, which keeps small objects from melting into the background.

    Without an encoder a feature is the 3 x 3 patch of colours around a cell (one pixel up to a
    shorter side of 95; cells of 2, 3, ... pixels above), lifted to a sphere, on which the cosine is
    one less the squared difference of colours. It knows no more than colours: what is hidden for a
    while is rarely found again, and is then lost.

    The confidence is the smaller of two. One is the mean share of the label over its pixels. The
    other is

    .. math:: 2^{-(1 - \cos(e_t, e_0)) / (0.2 D)}

    with the mean features e of the object's pixels now and in frame 0, and D, the mean of
    1 - cos between the features of frame 0 and their mean: what is called different in this video.

    Args:
        frames: ``[B, T + 1, C, H, W]``, ``uint8`` or floating point in [0, 1].
        first: ``[B, H, W]`` integer labels of frame 0, ids in 1..32767, 0 = background; see
            :func:`labels_from_boxes` and :func:`labels_from_points`.
        ids: ``[B, N]`` distinct object ids of each row, 0 = padding; ``None`` finds them with one
            device sync. Labels that are not listed count as background.
        encoder: any :class:`Encoder`, say DINOv2; its last layer takes the colours' place. DINO's
            settings for it: ``memory=7, radius=12, topk=5, temperature=0.1``.
        memory: how many last frames are compared with, beside frame 0.
        radius: of the square, in positions of the feature map: how far an object moves per step.
        topk: how many positions give their labels, 1..16.
        temperature: of the softmax over their cosines, above 0.

    Returns:
        A :class:`CarriedLabels`. A frame that is not finite has no labels, and a confidence of 0;
        the frames after it are compared with those before it.

    Raises:
        ValueError: shapes or devices do not fit, an id or an option is out of range.
        TypeError: not tensors, or of the wrong dtype.

    Source:
        Jabri et al., "Space-time correspondence as a contrastive random walk", arXiv:2006.14613;
        Caron et al., "Emerging properties in self-supervised vision transformers" (DINO),
        arXiv:2104.14294, section 4.2.2.

    Example:
        >>> frames = torch.zeros(1, 4, 3, 32, 32, dtype=torch.uint8)
        >>> for t in range(4):  # a red square that moves to the right
        ...     frames[0, t, 0, 8:16, 4 + 3 * t : 12 + 3 * t] = 255
        >>> carried = carry_labels(frames, (frames[:, 0, 0] > 0).long() * 7)
        >>> (carried.labels == (frames[:, :, 0] > 0) * 7).all()
        tensor(True)
        >>> carried.confidence[0, :, 0].round(decimals=3)
        tensor([1., 1., 1., 1.], dtype=torch.float64)
    """
    check_frames(frames=frames)
    check_rollouts("frames", frames)
    rows, count, _, height, width = frames.shape
    _check_first(first, frames)
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
    # The feature maps of all frames of some rows are held: about 28 values for each pixel.
    size = max(1, 4 * piece_elements(frames.device) // (count * height * width))
    for start in range(0, rows, size):
        some = slice(start, start + size)
        labels[some], confidence[some] = _carry(
            frames[some], first[some], ids[some], encoder, memory, radius, topk, float(temperature)
        )
    return CarriedLabels(labels, confidence, ids)


def _check_first(first: Tensor, frames: Tensor) -> None:
    check_tensor("first", first)
    if first.dtype not in LABEL_DTYPES:
        raise TypeError(f"first must be an integer label map, got {first.dtype}")
    expected = (frames.shape[0], *frames.shape[3:])
    if first.shape != expected:
        raise ValueError(
            f"first must have shape [B, H, W] = {expected} of frame 0, got {tuple(first.shape)}"
        )
    if first.device != frames.device:
        raise ValueError(f"first must be on {frames.device} like frames, got {first.device}")


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
    """Labels ``[B, T + 1, H, W]`` and confidence ``[B, T + 1, N]`` of a few rows."""
    rows, count, _, height, width = frames.shape
    objects = ids.shape[1]
    maps = _features(frames.flatten(0, 1), encoder)
    maps = maps.view(rows, count, *maps.shape[1:])
    finite = maps.isfinite().flatten(2).all(2)  # [B, T + 1]
    maps = maps.nan_to_num(0.0, 0.0, 0.0)
    slots = slot_maps(first[:, None], ids)  # [B, H, W]
    slot_ids = torch.arange(1, objects + 1, device=ids.device).where(ids > 0, 0)
    names = pad(ids, (1, 0))
    look, _ = label_pool(maps[:, 0], slots, slot_ids)
    spread = _spread(maps[:, 0])
    past: list[Tensor | None] = [_shares(slots, objects, maps.shape[-2:])]
    labels = [first.long().where(slots > 0, 0)]
    confidence = [(ids > 0).double() * finite[:, :1]]
    for t in range(1, count):
        if t > memory + 1:
            past[t - memory - 1] = None  # no step needs it any more
        before = sorted({0, *range(max(0, t - memory), t)})
        shares, _ = label_propagate(
            maps[:, t],
            maps[:, before],
            torch.stack([share for i in before if (share := past[i]) is not None], 1),
            radius,
            topk,
            temperature,
            finite[:, before],
        )
        gone = ~(finite[:, t] & finite[:, before].any(1))
        shares = _peaked(shares.nan_to_num(0.0)).masked_fill(gone[:, None, None, None], 0)
        shares[:, 0].masked_fill_(gone[:, None, None], 1)
        past.append(shares)
        wide = interpolate(shares, size=(height, width), mode="bilinear", align_corners=False)
        share, slots = wide.max(1)
        labels.append(names.gather(1, slots.flatten(1)).view_as(slots))
        seen, pixels = label_pool(maps[:, t], slots, slot_ids)
        certain, _ = label_pool(share[:, None], slots, slot_ids)
        changed = (1 - cosine_similarity(seen, look, dim=2)).clamp(min=0) / (_DOUBT * spread)
        sure = torch.minimum(certain[..., 0], (-changed).exp2())
        confidence.append(sure.where(pixels > 0, 0).nan_to_num(0.0).clamp(0, 1).double())
    return torch.stack(labels, 1), torch.stack(confidence, 1)


def _peaked(shares: Tensor) -> Tensor:
    """Shares ``[B, L, h, w]`` in units of each label's largest, and again of sum 1."""
    shares = shares / shares.amax((2, 3), keepdim=True).clamp(min=_PEAK)
    return shares / shares.sum(1, keepdim=True).clamp(min=1e-6)


def _shares(slots: Tensor, objects: int, size: Sequence[int]) -> Tensor:
    """How much of each cell belongs to each slot, ``[B, N + 1, h, w]``."""
    slot = torch.arange(objects + 1, device=slots.device)[:, None, None]
    return interpolate((slots[:, None] == slot).float(), size=tuple(size), mode="area")


def _spread(maps: Tensor) -> Tensor:
    """How far features of ``[B, C, h, w]`` are from their mean, ``[B, 1]``: mean of 1 - cos."""
    flat = maps.flatten(2)
    cosine = cosine_similarity(flat, flat.mean(2, keepdim=True), dim=1)
    return (1 - cosine).mean(1, keepdim=True).clamp(min=1e-4)


def _features(frames: Tensor, encoder: Encoder | None) -> Tensor:
    """``[F, D, h, w]`` float32."""
    if encoder is not None:
        return encode(encoder, frames, "frames")[-1].float().to(frames.device)
    frames = frames.float() / 255 if frames.dtype == torch.uint8 else frames.float()
    cells = max(1, int(min(frames.shape[-2:]) / _SIDE + 0.5))
    means = avg_pool2d(frames, cells) - 0.5
    height, width = means.shape[-2:]
    wide = pad(means, (1, 1, 1, 1), mode="replicate")
    patch = torch.cat(
        [
            wide[..., y : y + height, x : x + width] * (1.0 if (y, x) == (1, 1) else 0.5)
            for y in range(3)
            for x in range(3)
        ],
        1,
    )
    # One more value gives all vectors one length, so that their cosine tells their distance.
    lift = (_LENGTH - patch.square().sum(1, keepdim=True)).clamp(min=0).sqrt()
    return torch.cat([patch, lift], 1)
