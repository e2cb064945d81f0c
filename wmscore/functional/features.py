"""Distances between the features of generated and reference frames, reference features shared."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from wmscore.functional._check import check_count, check_frames, check_tensor
from wmscore.functional._chunks import frame_chunks
from wmscore.functional._plan import SharedPlan
from wmscore.functional.references import Encoder, ReferenceFeatures, encode

__all__ = ["Compare", "Encoder", "check_pair", "encode", "feature_distances"]

# From the maps of n frames, of m reference frames, and which of the latter belongs to each of the
# former (`[n]` int64, None where they correspond one to one), to one value a frame: `[n, ...]`.
Compare = Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | None], Tensor]


def feature_distances(
    preds: Tensor,
    target: Tensor | ReferenceFeatures,
    encoder: Encoder,
    compare: Compare,
    *,
    target_index: Tensor | None = None,
    chunk: int | None = None,
    identical: float | None = None,
) -> Tensor:
    """Encode both and compare frame by frame; each reference frame is encoded once.

    Memory is bounded by the chunk: only the features of its frames are held.

    Args:
        preds: frames `[..., C, H, W]`, uint8 or floating in [0, 1]; `[B, ..., C, H, W]` with an
            index.
        target: frames of the same shape, or `[S, ..., C, H, W]` with an index; or such frames with
            the features of some of them kept.
        encoder: turns frames into feature maps.
        compare: turns two lists of maps into one value (or one map) for each frame.
        target_index: int64 `[B]`, the row of `target` for each row of `preds`: rollouts that share
            a reference share its features, so K rollouts cost K + 1 encodings instead of 2 K. On
            the host, or it is copied there.
        chunk: frames that are encoded at a time; the encoder knows by default.
        identical: the value of two frames that are equal, for instance 0 for a distance. Networks
            round differently in batches of different sizes, so that equal frames would not
            otherwise be known to be.

    Returns:
        What `compare` gives, `[..., *]`, one for each frame of `preds`; NaN where a frame holds NaN
        or infinite values.

    Raises:
        TypeError: dtypes differ or are not supported.
        ValueError: shapes or devices differ, an index is out of range, the encoder returns maps of
            another number of frames than it was given, or is not the one of the kept features.
    """
    frames = target.frames if isinstance(target, ReferenceFeatures) else target
    check_pair(preds, frames, target_index)
    if chunk is not None:
        check_count("chunk", chunk)
    if isinstance(target, ReferenceFeatures):
        target.check_encoder(encoder)
        kept = target.kept
    else:
        kept = 0

    def target_maps(theirs: Tensor, places: slice | Tensor, known: int) -> Sequence[Tensor]:
        if isinstance(target, ReferenceFeatures):
            return target.maps(encoder, theirs, places, known)
        return encode(encoder, theirs, "target")

    size = chunk or max(1, encoder.chunk_frames(preds))
    leading = preds.shape[:-3]
    pieces = []
    if target_index is None:
        start = 0
        for ours, theirs in frame_chunks(preds, frames, size=size):
            stop = start + len(ours)
            other = target_maps(theirs, slice(start, stop), min(max(kept - start, 0), len(ours)))
            value = compare(encode(encoder, ours, "preds"), other, None)
            pieces.append(_settled(value, ours, theirs, identical))
            start = stop
        return _join(pieces, leading, preds.device)
    plan = SharedPlan.of(target_index, leading[1:].numel(), preds.device, kept)
    for places, known, groups in plan.chunks(size):
        theirs = plan.frames(frames, places)
        other = target_maps(theirs, places, known)
        for rows, which in groups:
            ours = plan.frames(preds, rows)
            value = compare(encode(encoder, ours, "preds"), other, which)
            pieces.append(_settled(value, ours, theirs[which], identical))
    found = _join(pieces, torch.Size([leading.numel()]), preds.device)
    return found.index_select(0, plan.place).reshape(*leading, *found.shape[1:])


def check_pair(preds: Tensor, target: Tensor, target_index: Tensor | None) -> None:
    """Refuse frames that do not fit each other, or an index that does not fit them."""
    if target_index is None:
        check_frames(preds=preds, target=target)
        return
    check_frames(preds=preds)
    check_frames(target=target)
    check_tensor("target_index", target_index)
    if preds.dim() < 4 or preds.shape[1:] != target.shape[1:]:
        raise ValueError(
            "with target_index, preds [B, ..., C, H, W] and target [S, ..., C, H, W] must agree "
            f"after their first dim, got {tuple(preds.shape)} and {tuple(target.shape)}"
        )
    if preds.dtype != target.dtype or preds.device != target.device:
        raise TypeError(
            "preds and target must have one dtype and one device, got "
            f"{preds.dtype} on {preds.device} and {target.dtype} on {target.device}"
        )
    if target_index.dtype != torch.int64 or target_index.shape != preds.shape[:1]:
        raise ValueError(
            f"target_index must be int64 of shape {tuple(preds.shape[:1])}, one for each row of "
            f"preds, got {target_index.dtype} {tuple(target_index.shape)}"
        )
    rows = target_index.tolist()
    if rows and (min(rows) < 0 or max(rows) >= len(target)):
        raise ValueError(
            f"target_index must be in 0..{len(target) - 1}, the rows of target, "
            f"got {min(rows)}..{max(rows)}"
        )


def _settled(value: Tensor, ours: Tensor, theirs: Tensor, identical: float | None) -> Tensor:
    """Values of frames that need no network: equal ones, and those that are not finite."""
    each = (-1, *[1] * (value.dim() - 1))
    if identical is not None:
        same = (ours == theirs).flatten(1).all(1)
        # Where the network itself gave NaN, frames that are equal do not make it right.
        value = value.masked_fill(same.view(each) & ~value.isnan(), identical)
    if ours.is_floating_point():
        finite = (ours.isfinite() & theirs.isfinite()).flatten(1).all(1)
        value = value.masked_fill(~finite.view(each), torch.nan)
    return value


def _join(pieces: list[Tensor], leading: torch.Size, device: torch.device) -> Tensor:
    if not pieces:
        return torch.empty(leading, dtype=torch.float64, device=device)
    found = torch.cat(pieces)
    return found.reshape((*leading, *found.shape[1:]))
