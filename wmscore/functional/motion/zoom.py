"""Zoom and roll: how the picture grows and turns between two frames, beside its shift."""

from __future__ import annotations

from math import log, pi
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, pad

from wmscore.functional._check import check_channels, check_frames, check_mask, check_rollouts
from wmscore.functional._chunks import frame_chunks
from wmscore.functional.motion.shift import frames_at_once, peak_bound
from wmscore.functional.reasons import Reason
from wmscore.ops import correlation_peak, cross_power, edge_orientation

__all__ = ["ZoomRoll", "global_similarity", "zoom_roll"]

_SMALLEST_SIDE = 32  # pixels; spectra of less are too coarse for angles
_ANGLES = 180  # rows of the log-polar map, one a degree
_RADII = 96
_INNER = 0.03  # cycles per pixel; below lies the window, not the picture
_OUTER = 0.4
_MOST_ZOOM = 1.6
_MOST_ROLL = 45.0  # degrees
_ROUNDS = 12
_TUKEY = 3.75
_SLACK = 0.1  # pixels by which an edge may be off and still count
_DAMPING = 1e-4


class ZoomRoll(NamedTuple):
    """Similarity between two frames, from :func:`zoom_roll` or :func:`global_similarity`.

    With c the centre of the picture, what is at c + p in the frame is at ``c + shift + zoom R p``
    in the following one.

    Attributes:
        zoom: ``[...]`` float64, above 1 where the picture grows (the camera walks forward).
        roll_degrees: ``[...]`` float64, positive where the picture turns clockwise on the screen.
        shift: ``[..., 2]`` float64, (dy, dx) in pixels of the centre, as in
            :class:`~wmscore.functional.PhaseShift`.
        peak: ``[...]`` float64 in [0, 1], peak of the correlation once zoom and roll are undone; as
            in :class:`~wmscore.functional.PhaseShift`.
        reason: ``[...]`` uint8, a :class:`Reason`: DEFINED; NO_PEAK; NON_FINITE; TOO_SMALL for
            sides below 32; NO_FRAME. Where it is not DEFINED, zoom, roll and shift are NaN.
    """

    zoom: Tensor
    roll_degrees: Tensor
    shift: Tensor
    peak: Tensor
    reason: Tensor


def zoom_roll(frames: Tensor, following: Tensor, *, min_peak: float | None = None) -> ZoomRoll:
    """Zoom, roll and shift of the whole picture between two frames.

    Fourier and Mellin: the sizes of the spectra of two frames do not depend on their shift, and on
    a log-polar grid roll and zoom are shifts of them, which a correlation finds. The following
    frame is turned and scaled back, a correlation of orientations finds the shift, and robust least
    squares of all four (as in :func:`wmscore.ops.shift_refine`) on the pixels finish. They start
    from the log-polar estimate and from no zoom and no roll, and the better peak counts.

    Measured, on photographs of 8 bits, a step of up to 5 % zoom, half a degree and a pixel (median
    and 9 of 10): at 64 x 64, zoom within 0.004 and 0.034 %, roll within 0.002 and 0.02 degrees; at
    120 x 160, 0.001 and 0.004 %, 0.0005 and 0.002 degrees. At 0.8 to 1.25, 20 degrees and 128 x
    128: 0.007 and 0.09 %, 0.002 and 0.03 degrees. These are of flat pictures: what a camera passes
    at different distances grows by different amounts, and the result is one zoom for all.

    Args:
        frames: ``[..., C, H, W]``, ``uint8`` (0..255) or floating point (0..1), of 1 channel (luma)
            or 3 (RGB).
        following: the frames after them, of the same shape, dtype and device.
        min_peak: bound of the peak in 0..1; None: as in :func:`wmscore.functional.phase_shift`.

    Returns:
        A :class:`ZoomRoll` of ``[...]`` values. Zooms of 0.7 to 1.4 and rolls of up to 30 degrees
        are found; beyond 1.6 and 45 nothing is looked for.

    Raises:
        ValueError: shapes or devices differ, a frame is empty, C is neither 1 nor 3, or min_peak is
            out of range.
        TypeError: not tensors, dtypes differ or are not supported, or min_peak is not a number.
        RuntimeError: an argument requires a gradient.

    Source:
        Reddy and Chatterji, "An FFT-based technique for translation, rotation and scale-invariant
        image registration", IEEE Transactions on Image Processing 5, 1996; Baker and Matthews,
        "Lucas-Kanade 20 years on: a unifying framework", IJCV 2004.

    Example:
        >>> frame = torch.rand(3, 48, 48, generator=torch.Generator().manual_seed(0))
        >>> still = zoom_roll(frame, frame)
        >>> round(still.zoom.item(), 4), round(abs(still.roll_degrees.item()), 4)
        (1.0, 0.0)
    """
    check_frames(frames=frames, following=following)
    check_channels("frames", frames, (1, 3))
    bound = peak_bound(frames, min_peak)
    shape = frames.shape[:-3]
    if min(frames.shape[-2:]) < _SMALLEST_SIDE:
        nan = frames.new_full((*shape, 5), torch.nan, dtype=torch.float64)
        return _result(nan, bound, Reason.TOO_SMALL)
    size = max(1, frames_at_once(frames) // 8)
    pieces = [_similarity(a, b) for a, b in frame_chunks(frames, following, size=size)]
    if not pieces:
        pieces = [frames.new_empty((0, 5), dtype=torch.float64)]
    return _result(torch.cat(pieces).reshape(*shape, 5), bound, Reason.NON_FINITE)


def global_similarity(
    frames: Tensor, *, valid: Tensor | None = None, min_peak: float | None = None
) -> ZoomRoll:
    """:func:`zoom_roll` of consecutive frames: step t is the move from frame t - 1 to frame t.

    Args:
        frames: rollouts ``[B, T + 1, C, H, W]``, as for :func:`zoom_roll`.
        valid: bool ``[B, T + 1]``, frames that exist; None means all. A step needs both frames.
        min_peak: as for :func:`zoom_roll`.

    Returns:
        A :class:`ZoomRoll` of ``[B, T]`` values.

    Raises:
        ValueError: another shape, a frame is empty, C is neither 1 nor 3, or min_peak is out of
            range.
        TypeError: not a tensor, a dtype that is not supported, or min_peak is not a number.
        RuntimeError: an argument requires a gradient.
    """
    check_frames(frames=frames)
    check_rollouts("frames", frames)
    rows, count = frames.shape[:2]
    if valid is not None:
        check_mask("valid", valid, (rows, count), frames.device, like="the frames")
    found = zoom_roll(frames[:, :-1], frames[:, 1:], min_peak=min_peak)
    if valid is None:
        return found
    valid = valid.expand(rows, count)
    absent = ~(valid[:, 1:] & valid[:, :-1])
    return ZoomRoll(
        found.zoom.masked_fill(absent, torch.nan),
        found.roll_degrees.masked_fill(absent, torch.nan),
        found.shift.masked_fill(absent[..., None], torch.nan),
        found.peak.masked_fill(absent, torch.nan),
        found.reason.masked_fill(absent, int(Reason.NO_FRAME)),
    )


def _result(found: Tensor, bound: float, otherwise: Reason) -> ZoomRoll:
    """Values of log zoom, roll in radians, dy, dx and peak ``[..., 5]``."""
    peak = found[..., 4]
    reason = torch.zeros_like(peak, dtype=torch.uint8).masked_fill(
        peak < bound, int(Reason.NO_PEAK)
    )
    reason = reason.masked_fill(peak.isnan(), int(otherwise))
    values = found.masked_fill((reason != 0)[..., None], torch.nan)
    return ZoomRoll(
        values[..., 0].exp(), values[..., 1] * (180 / pi), values[..., 2:4], peak, reason
    )


def _similarity(frames: Tensor, following: Tensor) -> Tensor:
    """`[n, 5]` float64 of frames ``[n, C, H, W]``: log zoom, roll, dy, dx, peak."""
    field, luma = edge_orientation(frames, True)
    of_following, after = edge_orientation(following, True)
    is_finite = (field.sum((1, 2, 3)) + of_following.sum((1, 2, 3))).isfinite()
    coarse = _log_polar_shift(luma, after)
    # Of the smoothed frame, like that of the one that is moved back.
    field, _ = edge_orientation((luma / 255)[:, None], True)
    fine = _finer(after)
    best = None
    for start in (coarse, torch.zeros_like(coarse)):
        found = _refined(luma, fine, _with_shift(field, fine, start))
        found = torch.cat([found, _peak(field, fine, found)[:, None]], 1)
        if best is None:
            best = found
        else:
            best = torch.where((found[:, 4] > best[:, 4])[:, None], found, best)
    assert best is not None
    return torch.where(is_finite[:, None], best, torch.nan)


def _log_polar_shift(luma: Tensor, following: Tensor) -> Tensor:
    """Log zoom and roll ``[n, 2]`` float64 from the sizes of the spectra."""
    height, width = luma.shape[1:]
    device, dtype = luma.device, luma.dtype
    window = torch.outer(
        *(
            torch.hann_window(side + 2, False, dtype=dtype, device=device)[1:-1]
            for side in (height, width)
        )
    )
    angle = torch.arange(_ANGLES, dtype=dtype, device=device) * (pi / _ANGLES)
    step = log(_OUTER / _INNER) / (_RADII - 1)
    radius = _INNER * torch.exp(step * torch.arange(_RADII, dtype=dtype, device=device))
    fy, fx = torch.sin(angle)[:, None] * radius, torch.cos(angle)[:, None] * radius
    # Spectra of twice the size, so that between their values one can interpolate. Their centre is
    # at element `side`; the grid is -1..1 over 0..2 side - 1.
    grid = torch.stack(
        [
            (2 * width * (fx + 0.5)) / (2 * width - 1) * 2 - 1,
            (2 * height * (fy + 0.5)) / (2 * height - 1) * 2 - 1,
        ],
        -1,
    )
    maps = []
    for frames in (luma, following):
        mean = (frames * window).sum((1, 2), keepdim=True) / window.sum()
        spectrum = torch.fft.fft2((frames - mean) * window, s=(2 * height, 2 * width))
        size = torch.fft.fftshift(spectrum.abs().add(1e-3).log(), dim=(1, 2))[:, None]
        polar = grid_sample(size, grid.expand(len(size), -1, -1, -1), align_corners=True)[:, 0]
        # Without the fall over radii, which all pictures share; angles are periodic.
        polar = polar - polar.mean(1, keepdim=True)
        maps.append(polar * torch.hann_window(_RADII + 2, False, dtype=dtype, device=device)[1:-1])
    spectra = [torch.view_as_real(torch.fft.fft2(x.to(torch.complex64))) for x in maps]
    power, _ = cross_power(*spectra)
    surface = torch.fft.irfft2(torch.view_as_complex(power), s=(_ANGLES, _RADII))
    whole, _ = correlation_peak(surface, round(_MOST_ROLL), int(log(_MOST_ZOOM) / step))
    # A larger picture has a smaller spectrum.
    return torch.stack([whole[:, 1] * -step, whole[:, 0] * (pi / _ANGLES)], 1).double()


def _with_shift(field: Tensor, fine: Tensor, start: Tensor) -> Tensor:
    """Append the whole shift (dy, dx) of the centre to log zoom and roll, ``[n, 4]``."""
    none = torch.zeros_like(start)
    surface, _ = _surface(field, fine, torch.cat([start, none], 1))
    height, width = field.shape[1:3]
    shift, _ = correlation_peak(surface, height // 2, width // 2)
    # A shift of the turned picture, in terms of the picture that was not.
    matrix = _matrix(start)
    return torch.cat([start, (matrix @ shift.double()[:, :, None])[:, :, 0]], 1)


def _peak(field: Tensor, fine: Tensor, found: Tensor) -> Tensor:
    surface, total = _surface(field, fine, found)
    value = torch.where(total == 0, 0, surface[:, 0, 0] * surface[0].numel() / total)
    return value.double().clamp(0, 1)


def _surface(field: Tensor, fine: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
    """Correlation of orientations with those of the following frame, moved back."""
    height, width = field.shape[1:3]
    moved = _moved_back(fine, found, (height, width))
    other, _ = edge_orientation((moved / 255)[:, None], True)
    spectra = (torch.view_as_real(torch.fft.fft2(torch.view_as_complex(x))) for x in (field, other))
    power, total = cross_power(*spectra)
    return torch.fft.irfft2(torch.view_as_complex(power), s=(height, width)), total


def _matrix(found: Tensor) -> Tensor:
    """``zoom R`` in (y, x), ``[n, 2, 2]``; a positive roll turns x towards y, down the screen."""
    zoom, roll = found[:, 0].exp(), found[:, 1]
    cos, sin = zoom * roll.cos(), zoom * roll.sin()
    return torch.stack([cos, sin, -sin, cos], 1).reshape(-1, 2, 2)


def _moved_back(fine: Tensor, found: Tensor, size: tuple[int, int]) -> Tensor:
    """A frame at ``c + shift + zoom R p`` for each pixel c + p, from its finer copy."""
    (yy, yx), (xy, xx) = (row.unbind(1) for row in _matrix(found).unbind(1))
    # affine_grid takes (x, y) in units of half the picture.
    half_y, half_x = ((side - 1) / 2 for side in size)
    of_x = [xx, xy * (half_y / half_x), found[:, 3] / half_x]
    of_y = [yx * (half_x / half_y), yy, found[:, 2] / half_y]
    theta = torch.stack([*of_x, *of_y], 1).reshape(-1, 2, 3).to(fine.dtype)
    grid = affine_grid(theta, [len(fine), 1, *size], align_corners=True)
    return grid_sample(fine[:, None], grid, padding_mode="border", align_corners=True)[:, 0]


def _finer(frames: Tensor) -> Tensor:
    """Pixels and three between each two, ``[n, 4 H - 3, 4 W - 3]``, by six-point interpolation.

    Torch's own cubic interpolation takes small moves for half as much again.
    """
    for dim in (1, 2) * 2:
        padding = (0, 0, 2, 2) if dim == 1 else (2, 2, 0, 0)
        padded = pad(frames[:, None], padding, "replicate")[:, 0]
        count = frames.shape[dim] - 1
        points = [padded.narrow(dim, k, count) for k in range(6)]
        between = 150 * (points[2] + points[3]) - 25 * (points[1] + points[4])
        between = (between + 3 * (points[0] + points[5])) / 256
        sides = list(frames.shape)
        sides[dim] = 2 * sides[dim] - 1
        both = frames.new_empty(sides)
        both.movedim(dim, 0)[::2] = frames.movedim(dim, 0)
        both.movedim(dim, 0)[1::2] = between.movedim(dim, 0)
        frames = both
    return frames


def _refined(luma: Tensor, fine: Tensor, found: Tensor) -> Tensor:
    """Robust least squares of log zoom, roll, dy, dx, ``[n, 4]``."""
    height, width = luma.shape[1:]
    y, x = (
        torch.arange(side, dtype=luma.dtype, device=luma.device) - (side - 1) / 2
        for side in (height, width)
    )
    y = y[:, None]
    gy, gx = (torch.gradient(luma, dim=dim)[0] for dim in (1, 2))
    size = (gy * gy + gx * gx).sqrt()
    # How the value at a pixel answers to each of the four.
    answers = torch.stack([gy * y + gx * x, gy * x - gx * y, gy, gx], 1).flatten(2)  # [n, 4, HW]
    eye = torch.eye(4, dtype=torch.float64, device=luma.device)
    for _ in range(_ROUNDS):
        matrix = _matrix(found).to(luma.dtype)
        at_y = matrix[:, 0, 0, None, None] * y + matrix[:, 0, 1, None, None] * x
        at_x = matrix[:, 1, 0, None, None] * y + matrix[:, 1, 1, None, None] * x
        at_y = at_y + found[:, 2, None, None]
        at_x = at_x + found[:, 3, None, None]
        inside = (at_y.abs() < height / 2 - 2) & (at_x.abs() < width / 2 - 2)
        inside = inside & (y.abs() < height / 2 - 2) & (x.abs() < width / 2 - 2)
        residual = torch.where(inside, _moved_back(fine, found, (height, width)) - luma, 0)
        count = inside.sum((1, 2)).clamp(min=1)
        spread = residual.abs().sum((1, 2)) / count
        for _ in range(2):  # the mean of what stays
            bound = _TUKEY * spread[:, None, None] + _SLACK * size + 1e-9
            kept = inside * (1 - (residual / bound).square()).clamp(min=0).square()
            spread = (kept * residual.abs()).sum((1, 2)) / kept.sum((1, 2)).clamp(min=1e-9)
        weighted = answers * kept.flatten(1)[:, None]
        normal = (weighted @ answers.mT).double()
        right = (weighted @ residual.flatten(1)[:, :, None]).double()
        # Damped by each one's own scale, and never singular.
        scale = normal.diagonal(dim1=1, dim2=2)
        normal = normal + eye * (_DAMPING * scale + 1e-9)[:, :, None]
        change = torch.linalg.solve_ex(normal, right)[0][:, :, 0]
        change = torch.where(change.isfinite(), change, 0)
        change = torch.cat([change[:, :2].clamp(-0.1, 0.1), change[:, 2:].clamp(-2, 2)], 1)
        # What the frame would have to do is undone in the following one.
        moved = (_matrix(found) @ change[:, 2:, None])[:, :, 0]
        found = found - torch.cat([change[:, :2], moved], 1)
    return found
