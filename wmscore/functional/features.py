"""Distances between the features of generated and reference frames, reference features shared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from wmscore.functional._check import check_frames, check_tensor
from wmscore.functional._chunks import frame_chunks

__all__ = ["Compare", "Encoder", "feature_distances"]

# From the maps of n frames, of m reference frames, and which of the latter belongs to each of the
# former (`[n]` int64, None where they correspond one to one), to one value a frame: `[n, ...]`.
Compare = Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | None], Tensor]


class Encoder(Protocol):
    """Whatever turns frames into feature maps; `wmscore.networks` has those that come along."""

    @property
    def name(self) -> str:
        """What the features are, with all that changes them: network, layers, input size."""
        ...

    def encode(self, frames: Tensor) -> Sequence[Tensor]:
        """Features of frames `[n, C, H, W]`: one map `[n, D, h, w]` for each layer.

        An embedding of the whole frame is a map of one position, `[n, D, 1, 1]`.
        """
        ...

    def chunk_frames(self, frames: Tensor) -> int:
        """How many frames `[..., C, H, W]` to encode at a time, by the memory that is free."""
        ...


def feature_distances(
    preds: Tensor,
    target: Tensor,
    encoder: Encoder,
    compare: Compare,
    *,
    target_index: Tensor | None = None,
    chunk: int | None = None,
) -> Tensor:
    """Encode both and compare frame by frame; each reference frame is encoded once.

    Memory is bounded by the chunk: only the features of its frames are held.

    Args:
        preds: frames `[..., C, H, W]`, uint8 or floating in [0, 1]; `[B, ..., C, H, W]` with an
            index.
        target: frames of the same shape, or `[S, ..., C, H, W]` with an index.
        encoder: turns frames into feature maps.
        compare: turns two lists of maps into one value (or one map) for each frame.
        target_index: int64 `[B]`, the row of `target` for each row of `preds`: rollouts that share
            a reference share its features, so K rollouts cost K + 1 encodings instead of 2 K. On
            the host, or it is copied there.
        chunk: frames that are encoded at a time; the encoder knows by default.

    Returns:
        What `compare` gives, `[..., *]`, one for each frame of `preds`.

    Raises:
        TypeError: dtypes differ or are not supported.
        ValueError: shapes or devices differ, an index is out of range, or the encoder returns maps
            of another number of frames than it was given.
    """
    check_pair(preds, target, target_index)
    size = chunk or max(1, encoder.chunk_frames(preds))
    leading = preds.shape[:-3]
    pieces = []
    if target_index is None:
        for ours, theirs in frame_chunks(preds, target, size=size):
            own, other = encode(encoder, ours, "preds"), encode(encoder, theirs, "target")
            pieces.append(compare(own, other, None))
        return _join(pieces, leading, preds.device)
    plan = SharedPlan.of(target_index, leading[1:].numel(), preds.device)
    for references, groups in plan.chunks(size):
        other = encode(encoder, plan.frames(target, references), "target")
        for rows, which in groups:
            own = encode(encoder, plan.frames(preds, rows), "preds")
            pieces.append(compare(own, other, which))
    found = _join(pieces, torch.Size([leading.numel()]), preds.device)
    return found.index_select(0, plan.place).reshape(*leading, *found.shape[1:])


@dataclass(frozen=True, kw_only=True, eq=False)
class SharedPlan:
    """An order of frames in which those of one reference frame follow each other.

    All of it is computed on the host and copied to the device once.

    Attributes:
        steps: frames `T` in each row.
        order: `[B * T]` int64, flat positions of generated frames, by their reference frame.
        reference: `[B * T]` int64, which of `used` belongs to each frame of `order`.
        used: `[U]` int64, flat positions of the reference frames that are used, ascending.
        first: where the frames of each of `used` begin in `order`, and the end; on the host.
        place: `[B * T]` int64, where each generated frame went.
    """

    steps: int
    order: Tensor
    reference: Tensor
    used: Tensor
    first: list[int]
    place: Tensor

    @classmethod
    def of(cls, target_index: Tensor, steps: int, device: torch.device) -> SharedPlan:
        """Plan rows of `steps` frames, of which row b has the reference `target_index[b]`."""
        index = target_index.cpu()
        wanted = (index[:, None] * steps + torch.arange(steps)).flatten()
        order = wanted.argsort(stable=True)
        used, reference, counts = torch.unique_consecutive(
            wanted[order], return_inverse=True, return_counts=True
        )
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order))

        def there(value: Tensor) -> Tensor:
            return value.to(device, non_blocking=True)

        return cls(
            steps=steps,
            order=there(order),
            reference=there(reference),
            used=there(used),
            first=[0, *counts.cumsum(0).tolist()],
            place=there(place),
        )

    def chunks(self, size: int) -> Iterator[tuple[Tensor, list[tuple[Tensor, Tensor]]]]:
        """Reference frames, and the generated ones of each with the reference's place among them.

        At most `size` frames each; a reference frame is in one chunk only.
        """
        start, count = 0, len(self.first) - 1
        while start < count:
            stop = start + 1
            while stop < count and self.first[stop + 1] - self.first[start] <= size:
                stop += 1
            groups = []
            for low in range(self.first[start], self.first[stop], size):
                part = slice(low, min(low + size, self.first[stop]))
                groups.append((self.order[part], self.reference[part] - start))
            yield self.used[start:stop], groups
            start = stop

    def frames(self, frames: Tensor, places: Tensor) -> Tensor:
        """The frames at some flat positions, `[n, C, H, W]`, out of `[rows, ..., C, H, W]`."""
        if frames.dim() == 4:
            return frames[places]
        if frames.dim() == 5:
            return frames[places // self.steps, places % self.steps]
        return frames.flatten(1, -4)[places // self.steps, places % self.steps]


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
    if len(target_index):
        low, high = target_index.min().item(), target_index.max().item()
        if low < 0 or high >= len(target):
            raise ValueError(
                f"target_index must be in 0..{len(target) - 1}, the rows of target, "
                f"got {low}..{high}"
            )


def encode(encoder: Encoder, frames: Tensor, role: str) -> Sequence[Tensor]:
    """The maps of some frames; refuses an answer of another size."""
    maps = encoder.encode(frames)
    for layer, value in enumerate(maps):
        if value.dim() != 4 or len(value) != len(frames):
            raise ValueError(
                f"encoder {encoder.name}: expected maps [{len(frames)}, D, h, w] of the "
                f"{len(frames)} frames of {role}, got {list(value.shape)} in layer {layer}"
            )
    return maps


def _join(pieces: list[Tensor], leading: torch.Size, device: torch.device) -> Tensor:
    if not pieces:
        return torch.empty(leading, dtype=torch.float64, device=device)
    found = torch.cat(pieces)
    return found.reshape((*leading, *found.shape[1:]))
