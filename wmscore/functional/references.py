"""Encoders, and reference frames whose features are kept from call to call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from wmscore.functional._check import check_count, check_frames, check_number
from wmscore.functional._chunks import frame_chunks

__all__ = ["Encoder", "ReferenceFeatures", "encode"]


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


class ReferenceFeatures:
    """Reference frames with the features of as many of them as fit into a number of bytes.

    Stands for `target` where the same references are compared again and again: a validation set
    at each checkpoint, rollouts that arrive batch by batch. The maps of the leading frames are kept
    on their device; the others are encoded each time. Values are those without it, up to the
    rounding of an encoder whose results depend on its batch.

    Args:
        target: reference frames `[S, ..., C, H, W]`, or `[..., C, H, W]` for use without an index.
            They are kept, not copied: do not write into them.
        encoder: the only one whose calls these features serve.
        budget_bytes: what the kept maps may take.
        chunk: frames that are encoded at a time; the encoder knows by default.

    Attributes:
        frames: the reference frames.
        kept: how many of them have their features kept.
        nbytes: what these take.

    Raises:
        TypeError: `target` is no tensor of frames.
        ValueError: an argument is out of range, or `target` requires a gradient.

    Example:
        >>> from torch.nn.functional import avg_pool2d
        >>> class Means:
        ...     name = "means"
        ...     def encode(self, frames):
        ...         return [avg_pool2d(frames.float(), 4)]
        ...     def chunk_frames(self, frames):
        ...         return 2
        >>> target = torch.zeros(4, 3, 8, 8)  # of each frame 3 x 2 x 2 float32
        >>> ReferenceFeatures(target, Means(), budget_bytes=150)
        ReferenceFeatures(3 of 4 frames kept, 144 bytes, of means)
    """

    def __init__(
        self, target: Tensor, encoder: Encoder, *, budget_bytes: int, chunk: int | None = None
    ) -> None:
        check_frames(target=target)
        check_number("budget_bytes", budget_bytes, low=0)
        if chunk is not None:
            check_count("chunk", chunk)
        if target.requires_grad and torch.is_grad_enabled():
            raise ValueError("target must not require a gradient: its features are kept")
        self.frames = target
        self.count = target.shape[:-3].numel()
        self._encoder = _identity(encoder)
        self._maps: list[Tensor] = []
        self.kept = 0
        if self.count:
            self._keep(encoder, budget_bytes, chunk or max(1, encoder.chunk_frames(target)))

    @property
    def nbytes(self) -> int:
        """Bytes of the maps that are kept."""
        return sum(value.numel() * value.element_size() for value in self._maps)

    def __repr__(self) -> str:
        return (
            f"ReferenceFeatures({self.kept} of {self.count} frames kept, {self.nbytes} bytes, "
            f"of {self._encoder[0]})"
        )

    def check_encoder(self, encoder: Encoder) -> None:
        """Refuse another encoder than the one that made the features.

        Raises:
            ValueError: its name or its fingerprint differs.
        """
        given = _identity(encoder)
        if given != self._encoder:
            raise ValueError(
                f"target holds features of {' '.join(self._encoder)}, but the encoder is "
                f"{' '.join(given)}; make ReferenceFeatures anew for it"
            )

    def maps(
        self, encoder: Encoder, frames: Tensor, places: slice | Tensor, kept: int
    ) -> Sequence[Tensor]:
        """Maps of some frames, of which the first `kept` are taken from memory.

        Args:
            encoder: for the others.
            frames: `[n, C, H, W]`.
            places: of the frames among all, in flat order and ascending: a slice, or `[n]` int64.
            kept: how many of the places are below `self.kept`.
        """
        if kept == 0:
            return encode(encoder, frames, "target")
        if isinstance(places, slice):
            stored = [value[places.start : places.start + kept] for value in self._maps]
        else:
            stored = [value.index_select(0, places[:kept]) for value in self._maps]
        if kept == len(frames):
            return stored
        fresh = encode(encoder, frames[kept:], "target")
        return [torch.cat(pair) for pair in zip(stored, fresh, strict=True)]

    @torch.no_grad()
    def _keep(self, encoder: Encoder, budget: int, chunk: int) -> None:
        (first,) = next(frame_chunks(self.frames, size=1))
        samples = encode(encoder, first, "target")
        each = sum(value.numel() * value.element_size() for value in samples)
        self.kept = min(self.count, int(budget) // each)
        with torch.inference_mode(self.frames.is_inference()):  # gradients may pass them later
            self._maps = [
                torch.empty(
                    (self.kept, *value.shape[1:]),
                    dtype=value.dtype,
                    device=value.device,
                    memory_format=_format(value),
                )
                for value in samples
            ]
        start = 0
        for (frames,) in frame_chunks(self.frames, size=chunk):
            stop = min(start + len(frames), self.kept)
            if stop <= start:
                break
            fresh = encode(encoder, frames[: stop - start], "target")
            for place, value in zip(self._maps, fresh, strict=True):
                place[start:stop] = value
            start = stop


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


def _identity(encoder: Encoder) -> tuple[str, ...]:
    """Its name, and its fingerprint where it has one."""
    fingerprint = getattr(encoder, "fingerprint", None)
    return (encoder.name,) if fingerprint is None else (encoder.name, f"({fingerprint})")


def _format(value: Tensor) -> torch.memory_format:
    last = value.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format
