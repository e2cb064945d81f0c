"""Global motion: by how many pixels the picture moves between two frames."""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.functional._check import (
    check_channels,
    check_frames,
    check_mask,
    check_number,
    check_rollouts,
)
from wmscore.functional._chunks import frame_chunks, is_one_run
from wmscore.functional.reasons import Reason
from wmscore.ops import correlation_peak, cross_power, edge_orientation, shift_refine

__all__ = ["MOTION_MIN_SIDE", "PhaseShift", "global_motion", "phase_shift"]

MOTION_MIN_SIDE = 8
"""Pixels of a side; nothing is left of less to compare."""
_BY_CHANCE = 18.0  # the largest peak of unlike frames, times the root of their pixels
_FARTHEST = 0.9  # pixels from the whole shift
_HIGHEST_BOUND = 0.6  # of it, for frames of a few pixels


class PhaseShift(NamedTuple):
    """Global shift of frames, from :func:`phase_shift` or :func:`global_motion`.

    Attributes:
        shift: ``[..., 2]`` float64, (dy, dx) in pixels: the content moves down and to the right by
            so much, ``following[y, x] ~ frame[y - dy, x - dx]``. NaN where undefined.
        peak: ``[...]`` float64 in [0, 1], how much of the edges moves so: the peak of the
            correlation, about 1 for equal frames and the share of the area that keeps its edges for
            others, less between whole shifts (0.7 to 0.9 for half a pixel). NaN for frames that are
            not finite or not there.
        reason: ``[...]`` uint8, a :class:`Reason`: DEFINED; NO_PEAK where the peak is below the
            bound (cuts, and frames without edges); NON_FINITE; TOO_SMALL for sides below 8; and
            NO_FRAME where :func:`global_motion` was told that a frame does not exist.
    """

    shift: Tensor
    peak: Tensor
    reason: Tensor


def phase_shift(
    frames: Tensor,
    following: Tensor,
    *,
    window: str | None = "hann",
    max_shift: float | None = None,
    min_peak: float | None = None,
) -> PhaseShift:
    """Shift of the whole picture between two frames, to a hundredth of a pixel.

    Three steps. The luma of each frame becomes its orientation, the unit vector along the gradient,
    so that a pixel votes by its area, not by its contrast: plain phase correlation of SpriteWorld
    finds the sprites in one step of three, this always finds the background. The orientations are
    correlated (partly whitened, low-passed), and the peak is the shift in whole pixels. Around it,
    robust least squares on the overlap alone find the rest. The overlap carries its own window, and
    pixels that do something else have no say, so neither the window nor what stands still on the
    screen (a weapon, a frame around the picture) pulls the result to zero, as long as most edges
    belong to the scene. An offset of brightness does not
    matter; a fade by a tenth costs a twentieth of a pixel, and where the contrast halves the shift
    is hardly better than one of whole pixels.

    Measured: sub-pixel shifts within 6 pixels of photographs, 8 bits, crops of 120 x 160: median
    error 0.0005, 95 % within 0.004 pixels; of 64 x 64: 0.001 and 0.015. A textured, static tenth of
    the picture: median 0.002.

    Args:
        frames: ``[..., C, H, W]``, ``uint8`` (0..255) or floating point (0..1), of 1 channel (luma)
            or 3 (RGB).
        following: the frames after them, of the same shape, dtype and device.
        window: ``"hann"``, or None for pictures that leave at one side and come in at the other:
            circular shifts then have a peak of 1.
        max_shift: largest shift to look for, as a fraction of the height for dy and of the width
            for dx; None: up to half of them, the most that can be told.
        min_peak: bound of the peak in 0..1; None: ``18 / sqrt(H W)``, at most 0.6, which unlike
            frames seldom reach.

    Returns:
        A :class:`PhaseShift` of ``[...]`` values.

    Raises:
        ValueError: shapes or devices differ, a frame is empty, C is neither 1 nor 3, or an option
            is out of range.
        TypeError: not tensors, dtypes differ or are not supported, or an option has another type.
        RuntimeError: an argument requires a gradient.

    Source:
        Fitch, Kadyrov, Christmas and Kittler, "Orientation correlation", BMVC 2002, on Kuglin and
        Hines, "The phase correlation image alignment method", 1975; refined as in Baker and
        Matthews, "Lucas-Kanade 20 years on: a unifying framework", IJCV 2004.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> frame = torch.rand(3, 40, 40, generator=generator)
        >>> moved = frame.roll((2, -3), (1, 2))  # 2 down, 3 to the left
        >>> phase_shift(frame, moved).shift.round(decimals=2).tolist()
        [2.0, -3.0]
    """
    check_frames(frames=frames, following=following)
    check_channels("frames", frames, (1, 3))
    reach = _reach(frames, window, max_shift)
    bound = peak_bound(frames, min_peak)
    if _is_too_small(frames):
        return _undefined(frames, frames.shape[:-3])
    pieces = [
        _shifts(_prepared(a, window is not None), _prepared(b, window is not None), reach)
        for a, b in frame_chunks(frames, following, size=frames_at_once(frames))
    ]
    return _result(_join(pieces, frames).reshape(*frames.shape[:-3], 3), bound)


def global_motion(
    frames: Tensor,
    *,
    valid: Tensor | None = None,
    window: str | None = "hann",
    max_shift: float | None = None,
    min_peak: float | None = None,
) -> PhaseShift:
    """:func:`phase_shift` of consecutive frames: step t is the move from frame t - 1 to frame t.

    Each frame is read and transformed once.

    Args:
        frames: rollouts ``[B, T + 1, C, H, W]``, as for :func:`phase_shift`.
        valid: bool ``[B, T + 1]``, frames that exist; None means all. A step needs both frames.
        window: as for :func:`phase_shift`.
        max_shift: as for :func:`phase_shift`.
        min_peak: as for :func:`phase_shift`.

    Returns:
        A :class:`PhaseShift` of ``[B, T]`` values.

    Raises:
        ValueError: another shape, a frame is empty, C is neither 1 nor 3, or an option is out of
            range.
        TypeError: not a tensor, a dtype that is not supported, or an option has another type.
        RuntimeError: an argument requires a gradient.

    Example:
        >>> frames = torch.rand(1, 1, 3, 32, 32).expand(2, 5, 3, 32, 32)
        >>> motion = global_motion(frames)
        >>> motion.shift.shape, motion.shift.abs().max().item()
        (torch.Size([2, 4, 2]), 0.0)
    """
    check_frames(frames=frames)
    check_rollouts("frames", frames)
    check_channels("frames", frames, (1, 3))
    rows, count = frames.shape[:2]
    if valid is not None:
        check_mask("valid", valid, (rows, count), frames.device, like="the frames")
    reach = _reach(frames, window, max_shift)
    bound = peak_bound(frames, min_peak)
    if _is_too_small(frames):
        found = _undefined(frames, torch.Size((rows, count - 1)))
    else:
        found = _result(_consecutive(frames, window is not None, reach), bound)
    if valid is None:
        return found
    valid = valid.expand(rows, count)
    absent = ~(valid[:, 1:] & valid[:, :-1])
    return PhaseShift(
        found.shift.masked_fill(absent[..., None], torch.nan),
        found.peak.masked_fill(absent, torch.nan),
        found.reason.masked_fill(absent, int(Reason.NO_FRAME)),
    )


def _consecutive(frames: Tensor, window: bool, reach: tuple[int, int]) -> Tensor:
    """`[B, T, 3]`: dy, dx and peak. Pieces share one frame with the piece before."""
    rows, count = frames.shape[:2]
    size = frames_at_once(frames)
    if is_one_run(frames):
        # All rollouts as one: the steps from one to the next are computed and left out.
        runs: tuple[Tensor, ...] = (frames.reshape(-1, *frames.shape[2:]),)
    else:
        runs = frames.unbind(0)
    # Filled in: small results that stay between large temporaries would scatter the heap.
    found = frames.new_zeros(len(runs), rows * count // max(1, len(runs)), 3, dtype=torch.float64)
    for run, of_run in zip(runs, found, strict=True):
        for start in range(0, len(run) - 1, size):
            field, luma = _prepared(run[start : start + size + 1], window)
            of_run[start + 1 : start + size + 1] = _shifts(
                (field[:-1], luma[:-1]), (field[1:], luma[1:]), reach
            )
    return found.view(rows, count, 3)[:, 1:]


def _prepared(frames: Tensor, window: bool) -> tuple[Tensor, Tensor]:
    """Spectrum of the orientations `[n, H, W, 2]`, and smoothed luma `[n, H, W]`."""
    field, luma = edge_orientation(frames, window)
    spectrum = torch.fft.fft2(torch.view_as_complex(field))
    return torch.view_as_real(spectrum), luma


def _shifts(
    frames: tuple[Tensor, Tensor], following: tuple[Tensor, Tensor], reach: tuple[int, int]
) -> Tensor:
    """`[n, 3]` float64: dy, dx and the peak."""
    power, total = cross_power(frames[0], following[0])
    height, width = frames[1].shape[1:]
    surface = torch.fft.irfft2(torch.view_as_complex(power), s=(height, width))
    whole, value = correlation_peak(surface, *reach)
    refined = shift_refine(frames[1], following[1], whole)
    # Farther than a peak of whole pixels can be off, the least squares went astray.
    astray = (refined[:, :2] - whole).abs().amax(1, keepdim=True) > _FARTHEST
    shift = torch.where(astray, whole.double(), refined[:, :2])
    share = torch.where(total == 0, 0, value * (height * width) / total).double().clamp(0, 1)
    return torch.cat([shift, share[:, None]], 1)


def _join(pieces: list[Tensor], frames: Tensor) -> Tensor:
    if not pieces:
        return torch.empty((0, 3), dtype=torch.float64, device=frames.device)
    return torch.cat(pieces)


def _result(found: Tensor, bound: float) -> PhaseShift:
    shift, peak = found[..., :2], found[..., 2]
    reason = torch.zeros_like(peak, dtype=torch.uint8)
    reason = reason.masked_fill(peak < bound, int(Reason.NO_PEAK))
    reason = reason.masked_fill(peak.isnan(), int(Reason.NON_FINITE))
    return PhaseShift(shift.masked_fill((reason != 0)[..., None], torch.nan), peak, reason)


def _undefined(frames: Tensor, shape: torch.Size) -> PhaseShift:
    return PhaseShift(
        frames.new_full((*shape, 2), torch.nan, dtype=torch.float64),
        frames.new_full(shape, torch.nan, dtype=torch.float64),
        frames.new_full(shape, int(Reason.TOO_SMALL), dtype=torch.uint8),
    )


def _is_too_small(frames: Tensor) -> bool:
    return min(frames.shape[-2:]) < MOTION_MIN_SIDE


def _reach(frames: Tensor, window: str | None, max_shift: float | None) -> tuple[int, int]:
    if window is not None and window != "hann":
        raise ValueError(f"window must be 'hann' or None, got {window!r}")
    height, width = frames.shape[-2:]
    if max_shift is None:
        return height // 2, width // 2
    check_number("max_shift", max_shift, low=0.0, high=1.0)
    return int(max_shift * height), int(max_shift * width)


def peak_bound(frames: Tensor, min_peak: float | None) -> float:
    """Peak below which two frames have nothing to do with each other."""
    if min_peak is None:
        height, width = frames.shape[-2:]
        return min(_HIGHEST_BOUND, _BY_CHANCE / sqrt(height * width))
    check_number("min_peak", min_peak, low=0.0, high=1.0)
    return float(min_peak)


def frames_at_once(frames: Tensor) -> int:
    """Frames in a piece: their spectra and surfaces, some 50 bytes a pixel, stay within bounds."""
    pixels = 1 << 18 if frames.device.type == "cpu" else 1 << 24
    return max(1, pixels // (frames.shape[-2] * frames.shape[-1]))
