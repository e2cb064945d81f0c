"""LPIPS: distance of learned features, per frame, over a network that is given."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from wmscore.functional.features import feature_distances
from wmscore.functional.references import Encoder, ReferenceFeatures
from wmscore.ops import feature_distance

__all__ = ["LpipsEncoder", "lpips", "lpips_map"]


class LpipsEncoder(Encoder, Protocol):
    """An encoder with the heads of LPIPS: `wmscore.networks.LpipsNetwork`."""

    overflows: int  # frames so far that were computed again by `wide`

    @property
    def heads(self) -> Sequence[Tensor | None]:
        """The weight of each channel, one tensor for each map; None for the plain sum."""
        ...

    @property
    def wide(self) -> LpipsEncoder | None:
        """The same network in a wider format, if this one is too narrow for some frames."""
        ...


def lpips(
    preds: Tensor,
    target: Tensor | ReferenceFeatures,
    network: LpipsEncoder,
    *,
    target_index: Tensor | None = None,
    chunk: int | None = None,
) -> Tensor:
    r"""Learned perceptual image patch similarity per frame: a distance.

    .. math:: d = \sum_l \frac{1}{H_l W_l} \sum_{hw} \sum_c w_{lc}
        \left( \frac{\hat y_{lchw}}{|\hat y_{lhw}| + \epsilon}
        - \frac{y_{lchw}}{|y_{lhw}| + \epsilon} \right)^2, \quad \epsilon = 10^{-10}

    over the taps l of the network. Values are those of lpips 0.1.4 with the same weights; that one
    expects frames in -1..1 unless it is told otherwise (``normalize=True``), this one in 0..1.
    torchmetrics puts its epsilon into the square root, :math:`\sqrt{|y|^2 + 10^{-8}}`.

    LPIPS was fitted to patches of 64 pixels. It accepts smaller frames (31 pixels for alex, 16 for
    vgg, 17 for squeeze), where nobody validated it, and it depends on resolution above.

    Args:
        preds: generated frames ``[..., 3, H, W]`` RGB, ``uint8`` (0..255) or floating point (0..1);
            another range is not noticed. ``[B, ..., 3, H, W]`` with an index.
        target: reference frames of the same shape, dtype and device, or ``[S, ..., 3, H, W]`` with
            an index; or :class:`ReferenceFeatures` of them.
        network: trunk and heads, :class:`wmscore.networks.LpipsNetwork`, on the frames' device.
        target_index: int64 ``[B]``, the row of ``target`` for each row of ``preds``: rollouts that
            share a reference share its features.
        chunk: frames that are encoded at a time; by default as many as suit the device.

    Returns:
        ``[...]`` float64, 0 or more (``version="0.1"`` rarely exceeds 1), lower is better, exactly
        0 for equal frames, NaN where a frame holds NaN or infinite values.

        Differentiable with respect to the frames; then a float16 network computes in float32.
        Frames whose float16 features overflow are computed again in float32: ``network.overflows``
        counts them, and a warning says how many there were.

    Raises:
        ValueError: shapes or devices differ, a frame has not 3 channels or is too small for the
            network, an index is out of range, or ``target`` holds features of another network.
        TypeError: not tensors, or dtypes differ or are not supported.

    Source:
        Zhang, Isola, Efros, Shechtman and Wang, "The unreasonable effectiveness of deep features as
        a perceptual metric", CVPR 2018, arXiv:1801.03924, equation 1.

    Example:
        >>> from wmscore.networks import LpipsNetwork
        >>> network = LpipsNetwork.random("alex", seed=0)  # `load` for the real one
        >>> frames = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
        >>> lpips(frames, frames, network)
        tensor([0., 0.], dtype=torch.float64)
    """
    return _distances(preds, target, network, target_index, chunk, spatial=False)


def lpips_map(
    preds: Tensor,
    target: Tensor | ReferenceFeatures,
    network: LpipsEncoder,
    *,
    target_index: Tensor | None = None,
    chunk: int | None = None,
) -> Tensor:
    """LPIPS at each pixel: the distances of each layer, enlarged bilinearly and added.

    As ``spatial=True`` of lpips. The mean over pixels is near :func:`lpips` but not equal to it:
    enlarging weighs the borders of a map differently.

    Args:
        preds: as in :func:`lpips`.
        target: as in :func:`lpips`.
        network: as in :func:`lpips`.
        target_index: as in :func:`lpips`.
        chunk: as in :func:`lpips`.

    Returns:
        ``[..., H, W]`` float64, 0 or more, lower is better; all of it 0 for equal frames, and NaN
        where a frame holds NaN or infinite values.

    Raises:
        ValueError: as :func:`lpips`.
        TypeError: as :func:`lpips`.
    """
    return _distances(preds, target, network, target_index, chunk, spatial=True)


def _distances(
    preds: Tensor,
    target: Tensor | ReferenceFeatures,
    network: LpipsEncoder,
    target_index: Tensor | None,
    chunk: int | None,
    *,
    spatial: bool,
) -> Tensor:
    frames = target.frames if isinstance(target, ReferenceFeatures) else target

    def distances(
        ours: Tensor, theirs: Tensor | ReferenceFeatures, by: LpipsEncoder, index: Tensor | None
    ) -> Tensor:
        def compare(own: Sequence[Tensor], other: Sequence[Tensor], which: Tensor | None) -> Tensor:
            layers = zip(own, other, by.heads, strict=True)
            values = [feature_distance(p, t, which, w, True, spatial) for p, t, w in layers]
            if spatial:
                values = [_enlarged(value, ours) for value in values]
            return torch.stack(values).sum(0)

        return feature_distances(
            ours, theirs, by, compare, target_index=index, chunk=chunk, identical=0.0
        )

    if not preds.shape[:-3].numel():
        shape = preds.shape[:-3] + (preds.shape[-2:] if spatial else ())
        return torch.empty(shape, dtype=torch.float64, device=preds.device)
    wide = network.wide
    if wide is None:
        return distances(preds, target, network, target_index)
    if torch.is_grad_enabled() and (preds.requires_grad or frames.requires_grad):
        # Gradients of single features are below what float16 holds.
        return distances(preds, frames, wide, target_index)
    values = distances(preds, target, network, target_index)
    leading = preds.shape[:-3]
    each = values.reshape(leading.numel(), -1)
    rows = (~each.isfinite().all(1)).nonzero()[:, 0]  # the one time that the host waits
    if not len(rows):
        return values
    again = torch.cat(
        [
            distances(
                _frames_at(preds, part), _frames_at(frames, part, target_index), wide, None
            ).reshape(len(part), -1)
            for part in torch.split(rows, chunk or wide.chunk_frames(preds))
        ]
    )
    overflows = int(again.isfinite().all(1).sum())
    if overflows:
        network.overflows += overflows
        warnings.warn(
            f"{overflows} of {len(each)} frames overflow float16 in {network.name}; they were "
            "computed in float32",
            RuntimeWarning,
            stacklevel=3,
        )
    return each.index_copy(0, rows, again).reshape(values.shape)


def _frames_at(frames: Tensor, places: Tensor, index: Tensor | None = None) -> Tensor:
    """Frames `[n, C, H, W]` at flat positions; with an index, those of the rows it leads to."""
    if frames.dim() == 3:
        return frames[None]
    if index is None:
        return frames[torch.unravel_index(places, frames.shape[:-3])]
    steps = frames.shape[1:-3]
    row, *step = torch.unravel_index(places, (len(index), *steps))
    return frames[(index.to(row.device)[row], *step)]


def _enlarged(value: Tensor, frames: Tensor) -> Tensor:
    """Distances `[n, h, w]` at the pixels of the frames, `[n, H, W]`."""
    size = frames.shape[-2:]
    return interpolate(value[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
