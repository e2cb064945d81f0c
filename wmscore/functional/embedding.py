"""Distances between frames in the features of any encoder, and embeddings of frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from wmscore.functional._check import check_frames
from wmscore.functional._chunks import frame_chunks, piece_elements
from wmscore.functional.features import check_pair, feature_distances
from wmscore.functional.reasons import Reason
from wmscore.functional.references import Encoder, ReferenceFeatures, encode
from wmscore.ops import feature_distance

__all__ = ["embed", "feature_cosine", "feature_l2", "feature_reason"]

# From maps of one layer, and which of the second belongs to each of the first, to one value each.
_Distance = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def feature_cosine(
    preds: Tensor,
    target: Tensor | ReferenceFeatures,
    encoder: Encoder,
    *,
    target_index: Tensor | None = None,
    chunk: int | None = None,
) -> Tensor:
    r"""Cosine distance of features per frame, averaged over positions, then over layers.

    .. math:: \frac{1}{L} \sum_l \frac{1}{H_l W_l} \sum_{hw}
        \left(1 - \frac{\langle p_{lhw}, t_{lhw} \rangle}{|p_{lhw}| |t_{lhw}|}\right)

    computed as half the squared distance of the unit vectors; identical frames give exactly 0. A
    zero vector, as of a position where all units are silent, has the distance 0 to
    another zero vector and 1/2 to any other, as in LPIPS. For a class token or a pooled map this is
    the distance of DreamSim (Fu et al. 2023, arXiv:2306.09344), with its network as the encoder.

    Args:
        preds: generated frames ``[..., C, H, W]``, ``uint8`` (0..255) or floating point (0..1);
            ``[B, ..., C, H, W]`` with an index.
        target: reference frames of the same shape, or ``[S, ..., C, H, W]`` with an index; or a
            :class:`ReferenceFeatures` of them, for use in many calls.
        encoder: any :class:`Encoder`, such as ``wmscore.networks.ModuleEncoder``.
        target_index: ``[B]`` int64, the row of ``target`` for each row of ``preds``: each
            reference frame is then encoded once, however many rollouts share it.
        chunk: frames that are encoded at a time; by default as many as the encoder says.

    Returns:
        ``[...]`` float64 on the frames' device, in [0, 2], lower is better; differentiable.
        NaN where a frame of the pair or its features are not finite; :func:`feature_reason` says
        which.

    Raises:
        ValueError: shapes or devices do not fit, an index is out of range, or the encoder refuses
            the frames or returns features of another number.
        TypeError: not tensors, or dtypes differ or are not supported.

    Example:
        >>> class Colour:  # the simplest encoder: the mean colour of the frame
        ...     name = "colour"
        ...     def encode(self, frames):
        ...         return [frames.double().mean((2, 3), keepdim=True)]
        ...     def chunk_frames(self, frames):
        ...         return 64
        >>> red, grey = torch.zeros(3, 8, 8), torch.ones(3, 8, 8)
        >>> red[0] = 1
        >>> feature_cosine(red, grey, Colour())  # 1 - 1 / sqrt(3)
        tensor(0.4226, dtype=torch.float64)
    """
    return _distances(preds, target, encoder, _cosine, target_index, chunk)


def feature_l2(
    preds: Tensor,
    target: Tensor | ReferenceFeatures,
    encoder: Encoder,
    *,
    target_index: Tensor | None = None,
    chunk: int | None = None,
) -> Tensor:
    r"""Root mean square difference of features per frame, averaged over layers.

    .. math:: \frac{1}{L} \sum_l \sqrt{\frac{1}{D_l H_l W_l} \sum_{dhw}
        (p_{ldhw} - t_{ldhw})^2}

    It is in the features' own unit, per dimension, so that it does not grow with the number of
    dimensions; of several layers the one with the largest numbers counts most. The square, for one
    layer, is the token error of MIND (arXiv:2602.08025).

    Args:
        preds: as in :func:`feature_cosine`, like all others.
        target: reference frames.
        encoder: any :class:`Encoder`.
        target_index: which row of ``target`` belongs to each row of ``preds``.
        chunk: frames that are encoded at a time.

    Returns:
        ``[...]`` float64 on the frames' device, 0 or more, 0 for identical features, lower is
        better; differentiable. NaN where a frame of the pair or its features are not finite.

    Raises:
        ValueError: as :func:`feature_cosine`.
        TypeError: as :func:`feature_cosine`.

    Example:
        >>> class Pixels:
        ...     name = "pixels"
        ...     def encode(self, frames):
        ...         return [frames.double()]
        ...     def chunk_frames(self, frames):
        ...         return 64
        >>> feature_l2(torch.full((3, 8, 8), 0.75), torch.full((3, 8, 8), 0.5), Pixels())
        tensor(0.2500, dtype=torch.float64)
    """
    return _distances(preds, target, encoder, _root_mean_square, target_index, chunk)


def feature_reason(
    values: Tensor,
    preds: Tensor,
    target: Tensor | ReferenceFeatures,
    *,
    target_index: Tensor | None = None,
) -> Tensor:
    """Say why distances of :func:`feature_cosine` or :func:`feature_l2` are NaN.

    Args:
        values: what the function returned, ``[...]``.
        preds: the frames it was given.
        target: the reference frames it was given.
        target_index: the index it was given.

    Returns:
        ``[...]`` uint8, a :class:`Reason`: NON_FINITE where a frame of the pair is not finite,
        NON_FINITE_FEATURES where only the features are not, DEFINED elsewhere.
    """
    frames = target.frames if isinstance(target, ReferenceFeatures) else target
    check_pair(preds, frames, target_index)
    reason = values.isnan().to(torch.uint8) * int(Reason.NON_FINITE_FEATURES)
    own, other = _finite(preds), _finite(frames)
    if own is None or other is None:
        return reason
    if target_index is not None:
        other = other[target_index.to(other.device)]
    return reason.masked_fill(~(own & other), int(Reason.NON_FINITE))


def embed(frames: Tensor, encoder: Encoder, *, chunk: int | None = None) -> Tensor:
    """One vector per frame: the encoder's last layer, averaged over positions.

    Args:
        frames: ``[..., C, H, W]``, ``uint8`` or floating point.
        encoder: any :class:`Encoder`.
        chunk: frames that are encoded at a time; by default as many as the encoder says.

    Returns:
        ``[..., D]`` float32 (float64 where the features are) on the frames' device; NaN for frames
        that are not finite. Without frames D is unknown and 0.

    Raises:
        ValueError: a frame is empty, or the encoder refuses the frames or returns features of
            another number.
        TypeError: not a tensor, or its dtype is not supported.

    Example:
        >>> class Colour:
        ...     name = "colour"
        ...     def encode(self, frames):
        ...         return [frames.double()]
        ...     def chunk_frames(self, frames):
        ...         return 64
        >>> embed(torch.rand(2, 5, 3, 8, 8), Colour()).shape
        torch.Size([2, 5, 3])
    """
    check_frames(frames=frames)
    size = chunk or max(1, encoder.chunk_frames(frames))
    pieces = []
    for (piece,) in frame_chunks(frames, size=size):
        last = encode(encoder, piece, "frames")[-1]
        wide = last if last.dtype == torch.float64 else last.float()
        pieces.append(wide.mean((2, 3)).to(frames.device))
    if not pieces:
        return frames.new_empty(*frames.shape[:-3], 0, dtype=torch.float32)
    vectors = torch.cat(pieces).reshape(*frames.shape[:-3], -1)
    finite = _finite(frames)
    return vectors if finite is None else vectors.masked_fill(~finite.unsqueeze(-1), torch.nan)


def _cosine(preds: Tensor, target: Tensor, index: Tensor | None) -> Tensor:
    return feature_distance(preds, target, index) / 2


def _root_mean_square(preds: Tensor, target: Tensor, index: Tensor | None) -> Tensor:
    square = feature_distance(preds, target, index, normalize=False) / preds.shape[1]
    # Its gradient is 0 where the features are equal; the root's own would be infinite there.
    return square.where(square > 0, 1).sqrt().where(square > 0, square)


def _distances(
    preds: Tensor,
    target: Tensor | ReferenceFeatures,
    encoder: Encoder,
    distance: _Distance,
    target_index: Tensor | None,
    chunk: int | None,
) -> Tensor:
    """Mean over layers; undefined where frames or features are not finite.

    The network may live on another device than the frames, which is where the index and the
    results are.
    """

    def compare(own: Sequence[Tensor], other: Sequence[Tensor], which: Tensor | None) -> Tensor:
        index = None if which is None else which.to(own[0].device)
        layers = [distance(p, t, index) for p, t in zip(own, other, strict=True)]
        return torch.stack(layers).mean(0).to(preds.device)

    found = feature_distances(
        preds,
        target,
        encoder,
        compare,
        target_index=target_index,
        chunk=chunk,
        identical=0.0,
    )
    return found.masked_fill(~found.isfinite(), torch.nan)


def _finite(frames: Tensor) -> Tensor | None:
    """Which frames are finite, ``[...]``; None for integers, which all are."""
    if not frames.is_floating_point():
        return None
    size = piece_elements(frames.device) // frames.shape[-3:].numel()
    pieces = [piece.isfinite().flatten(1).all(1) for (piece,) in frame_chunks(frames, size=size)]
    leading = frames.shape[:-3]
    return torch.cat(pieces).reshape(leading) if pieces else frames.new_ones(leading).bool()
