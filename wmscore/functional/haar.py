"""HaarPSI: perceptual similarity per frame, with colour and without weights to download."""

from __future__ import annotations

from itertools import product
from math import exp

import torch
from torch import Tensor

from wmscore.functional._check import check_frames
from wmscore.functional._chunks import call_frames, frame_chunks, join_pieces
from wmscore.functional.reasons import Reason
from wmscore.ops import HAARPSI_ALPHA, FrameHaarpsi, frame_haarpsi

__all__ = ["haarpsi", "haarpsi_name", "haarpsi_reason"]

_SMALLEST_SIDE = 16  # the coarsest window at half size
_SUBSAMPLED_SIDE = 128  # smaller frames are not halved unless that is asked for


def haarpsi(
    preds: Tensor, target: Tensor, *, subsample: bool | None = None, shift: int = 0
) -> Tensor:
    r"""Haar wavelet-based perceptual similarity index per frame, with chroma.

    .. math:: \mathrm{HaarPSI} = \frac{1}{\alpha^2} \operatorname{logit}^2
        \frac{\sum_{k,i} w_{k,i} \, \sigma(\alpha s_{k,i})}{\sum_{k,i} w_{k,i}},
        \quad \alpha = 4.2, \; C = 30

    over the pixels i and the maps k = vertical, horizontal, chroma. :math:`s` compares the
    magnitudes of the Haar responses of luma at the two finest scales, or the local means of I and
    Q; :math:`w` is the larger response at the third scale, so that structure counts and flat
    regions do not. See :func:`wmscore.ops.frame_haarpsi` for each term. The definition, its
    constants and its borders are those of the authors' code. ``piq.haarpsi`` has other digits in
    the colour matrix: it differs by about 1e-5, and by up to 1e-3 for frames that lost their
    colour.

    The authors always halve the frames first, for the viewing distance of photographs. World
    models also work on frames of 64 pixels, where nothing of that remains, so by default frames
    with a side below 128 are not halved. This rule is ours, and the two scores are not comparable:
    :func:`haarpsi_name` says which one it is.

    With ``shift`` = r, the score is the best over all displacements of ``preds`` by up to r pixels
    in both directions. All displacements compare the same part of ``target``, the frame without a
    margin of r pixels. Above the plain score it tells misregistration from a change of appearance.

    Args:
        preds: generated frames ``[..., C, H, W]``, ``uint8`` (0..255) or floating point (0..1), of
            1 channel (luma alone) or 3 (RGB).
        target: reference frames, of the same shape, dtype and device.
        subsample: halve the frames first; ``None`` means where both sides are 128 or more, before
            a margin is cut off.
        shift: largest displacement in pixels, 0 or more. Takes ``(2 shift + 1)^2`` passes.

    Returns:
        ``[...]`` float64 in [0, 1], higher is better, 1 for identical frames (exactly) and for two
        black ones. NaN where what is compared is smaller than 16 x 16 pixels or holds NaN or
        infinite values; :func:`haarpsi_reason` says which.

    Raises:
        ValueError: shapes or devices differ, a frame is empty or has neither 1 nor 3 channels, or
            shift is negative.
        TypeError: not tensors, dtypes differ or are not supported, or an option has another type.
        RuntimeError: an argument requires a gradient.

    Source:
        Reisenhofer, Bosse, Kutyniok and Wiegand, "A Haar wavelet-based perceptual similarity index
        for image quality assessment", Signal Processing: Image Communication 61, 2018.

    Example:
        >>> frames = torch.arange(3 * 32 * 32, dtype=torch.uint8).view(3, 32, 32)
        >>> haarpsi(frames, frames).item()
        1.0
    """
    check_frames(preds=preds, target=target)
    if preds.shape[-3] not in (1, 3):
        raise ValueError(
            f"haarpsi needs frames of 1 channel (luma) or 3 (RGB), got {preds.shape[-3]}"
        )
    height, width = preds.shape[-2:]
    halve = _subsamples(height, width, subsample)
    if _is_too_small(height, width, shift):
        return preds.new_full(preds.shape[:-3], torch.nan, dtype=torch.float64)
    size = call_frames("frame_haarpsi", preds, target)
    scores = [_best_score(p, t, halve, shift) for p, t in frame_chunks(preds, target, size=size)]
    return join_pieces(scores, preds)


def haarpsi_name(height: int, width: int, *, subsample: bool | None = None, shift: int = 0) -> str:
    """Name which of the scores :func:`haarpsi` gives with these arguments, for tables and reports.

    Args:
        height: of the frames, in pixels.
        width: of the frames, in pixels.
        subsample: as given to :func:`haarpsi`.
        shift: as given to :func:`haarpsi`.

    Returns:
        ``haarpsi`` for the authors' score, ``haarpsi_full`` for frames that are not halved, each
        with ``_shift<r>`` if the best displacement counts.

    Raises:
        ValueError: shift is negative.
        TypeError: an option has another type.

    Example:
        >>> haarpsi_name(256, 256), haarpsi_name(64, 64, shift=1)
        ('haarpsi', 'haarpsi_full_shift1')
    """
    _check_shift(shift)
    name = "haarpsi" if _subsamples(height, width, subsample) else "haarpsi_full"
    return f"{name}_shift{shift}" if shift else name


def haarpsi_reason(scores: Tensor, height: int, width: int, *, shift: int = 0) -> Tensor:
    """Say why scores of :func:`haarpsi` are NaN.

    Args:
        scores: what :func:`haarpsi` returned, ``[...]`` float64.
        height: of the frames, in pixels.
        width: of the frames, in pixels.
        shift: as given to :func:`haarpsi`.

    Returns:
        ``[...]`` uint8, a :class:`Reason`: TOO_SMALL for all of them, or NON_FINITE where a score
        is NaN and DEFINED elsewhere.

    Raises:
        ValueError: shift is negative.
        TypeError: shift is not an int.
    """
    if _is_too_small(height, width, shift):
        return torch.full_like(scores, int(Reason.TOO_SMALL), dtype=torch.uint8)
    return scores.isnan().to(torch.uint8) * int(Reason.NON_FINITE)


def _best_score(preds: Tensor, target: Tensor, subsample: bool, shift: int) -> Tensor:
    """Best score of a few frames ``[n, C, H, W]`` over all displacements, ``[n]``."""
    height, width = (side - 2 * shift for side in preds.shape[-2:])
    still = target[..., shift : shift + height, shift : shift + width]
    best = None
    for top, left in product(range(2 * shift + 1), repeat=2):
        moved = preds[..., top : top + height, left : left + width]
        score = _score(FrameHaarpsi(*frame_haarpsi(moved, still, subsample).unbind(-1)))
        best = score if best is None else torch.maximum(best, score)  # which keeps NaN
    assert best is not None
    return best


def _score(sums: FrameHaarpsi) -> Tensor:
    """The squared logit of ``σ(α) - loss / weight``, over α²: exactly 1 where the loss is 0.

    A weight of 0 comes from two black frames, which are equal.
    """
    loss = torch.where(sums.weight == 0, sums.loss, sums.loss / sums.weight)
    fall = torch.log1p(-loss * (1 + exp(-HAARPSI_ALPHA))) - torch.log1p(
        loss * (1 + exp(HAARPSI_ALPHA))
    )
    return (1 + fall / HAARPSI_ALPHA) ** 2


def _subsamples(height: int, width: int, subsample: bool | None) -> bool:
    if subsample is None:
        return min(height, width) >= _SUBSAMPLED_SIDE
    if not isinstance(subsample, bool):
        raise TypeError(f"subsample must be a bool or None, got {type(subsample).__name__}")
    return subsample


def _is_too_small(height: int, width: int, shift: int) -> bool:
    _check_shift(shift)
    return min(height, width) - 2 * shift < _SMALLEST_SIDE


def _check_shift(shift: int) -> None:
    if isinstance(shift, bool) or not isinstance(shift, int):
        raise TypeError(f"shift must be an int, got {type(shift).__name__}")
    if shift < 0:
        raise ValueError(f"shift must be 0 or more, got {shift}")
