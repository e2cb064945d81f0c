"""Global motion in four ops: orientation of edges, cross power, peak, sub-pixel refinement."""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from wmscore.ops._check import check_frames
from wmscore.ops._library import op

__all__ = ["correlation_peak", "cross_power", "edge_orientation", "shift_refine"]

_LUMA = (77 / 256, 150 / 256, 29 / 256)
_SOFT = 0.05  # levels of gradient below which an edge fades out
_SIGMA = 0.2  # cycles per pixel: standard deviation of the low-pass
_TIE = 1e-4  # loss of a peak at the far corner, so that of equal peaks the nearest counts
_ROUNDS = 8
_MARGIN = 3  # pixels at the edge that the interpolation needs beside its own
_TUKEY = 3.75  # of the mean absolute residual
_FIRST_SLACK, _LAST_SLACK = 0.25, 0.05  # pixels by which an edge may be off and still count
_DAMPING = 1e-4
_LONGEST_STEP, _FARTHEST = 0.7, 1.5  # pixels: of one round, of all


def _check_orientation(frames: Tensor, window: bool) -> None:
    check_frames(frames)
    if 0 in frames.shape[2:]:
        raise ValueError(f"frames must have at least one pixel, got {tuple(frames.shape)}")


@op(_check_orientation)
def edge_orientation(frames: Tensor, window: bool) -> tuple[Tensor, Tensor]:
    """Direction of the gradient of luma at each pixel, and luma smoothed, in one read.

    With luma `Y` in levels 0..255 and its gradient `g = (Y(x + 1) - Y(x - 1), Y(y + 1) - Y(y - 1))
    / 2`, the orientation is `g / sqrt(|g|² + 0.05²)`: of length 1 at any edge, strong or weak, and
    0 where nothing changes. Smoothed is Y under the binomial window 1 4 6 4 1 in both directions,
    the border repeated.

    Args:
        frames: `[N, C, H, W]`, uint8 in 0..255 or floating in 0..1, any strides; C is 1 or 3 (RGB).
        window: multiply by a Hann window (without its zeros), with differences to the border
            repeated; else take the frame as periodic.

    Returns:
        Orientations `[N, H, W, 2]` (x, y) and smoothed luma `[N, H, W]`: float64 for float64
        frames, else float32, kernels equal within 1e-5 and 1e-4. A NaN or infinite value makes the
        orientation beside it NaN.

    Raises:
        TypeError: not a tensor, or not of a supported dtype.
        ValueError: the shape is not `[N, C, H, W]` with C of 1 or 3, or a frame is empty.
        RuntimeError: the argument requires a gradient.

    Source:
        Fitch, Kadyrov, Christmas and Kittler, "Orientation correlation", BMVC 2002.

    Example:
        >>> ramp = torch.arange(4, dtype=torch.uint8).expand(1, 1, 4, 4)
        >>> edge_orientation(ramp, False)[0][0, 0, 1].round().tolist()
        [1.0, 0.0]
    """
    wide = torch.float64 if frames.dtype == torch.float64 else torch.float32
    levels = frames.to(wide) if frames.dtype == torch.uint8 else frames.to(wide) * 255
    if levels.shape[1] == 3:
        red, green, blue = levels.unbind(1)
        luma = _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue
    else:
        luma = levels[:, 0]
    mode = "replicate" if window else "circular"
    wide_luma = pad(luma[:, None], (1, 1, 1, 1), mode=mode)[:, 0]
    gx = (wide_luma[:, 1:-1, 2:] - wide_luma[:, 1:-1, :-2]) / 2
    gy = (wide_luma[:, 2:, 1:-1] - wide_luma[:, :-2, 1:-1]) / 2
    field = torch.stack([gx, gy], -1) / (gx * gx + gy * gy + _SOFT**2).sqrt()[..., None]
    if window:
        height, width = (_hann(side, wide, luma.device) for side in luma.shape[1:])
        field = field * (height[:, None] * width)[..., None]
    taps = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], dtype=wide, device=luma.device) / 16
    smooth = pad(luma[:, None], (2, 2, 2, 2), mode="replicate")
    smooth = conv2d(conv2d(smooth, taps.view(1, 1, 5, 1)), taps.view(1, 1, 1, 5))[:, 0]
    return field, smooth


def _hann(side: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Hann window of a side without its two zeros: no pixel is lost."""
    place = torch.arange(1, side + 1, dtype=torch.float64, device=device)
    return torch.sin(pi * place / (side + 1)).square().to(dtype)


def _check_alike(names: tuple[str, str], tensors: tuple[Tensor, Tensor], layout: str) -> None:
    for name, value in zip(names, tensors, strict=True):
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
        if value.dtype not in (torch.float32, torch.float64):
            raise TypeError(f"{name} must be float32 or float64, got {value.dtype}")
    first, second = tensors
    if first.dim() != len(layout.split(",")) or first.shape != second.shape or 0 in first.shape[1:]:
        raise ValueError(
            f"{names[0]} and {names[1]} must have one shape {layout} with at least one pixel, "
            f"got {tuple(first.shape)} and {tuple(second.shape)}"
        )
    if first.dtype != second.dtype or first.device != second.device:
        raise ValueError(
            f"{names[0]} and {names[1]} must have one dtype and device, got {first.dtype} on "
            f"{first.device} and {second.dtype} on {second.device}"
        )


def _check_power(spectrum: Tensor, following: Tensor) -> None:
    _check_alike(("spectrum", "following"), (spectrum, following), "[N, H, W, 2]")
    if spectrum.shape[3] != 2:
        raise ValueError(
            f"spectrum must have shape [N, H, W, 2] (real, imaginary), got {tuple(spectrum.shape)}"
        )


@op(_check_power)
def cross_power(spectrum: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
    """Cross power of two spectra, partly whitened and low-passed, as a half spectrum.

    `P = R / sqrt(|R|) exp(-|f|² / (2 0.2²))` with `R = following conj(spectrum)` and f in cycles
    per pixel. Whitened wholly (plain phase correlation), frequencies that hold nothing but noise
    would weigh like the others; not at all, the few strong ones would.

    Args:
        spectrum: spectra of complex fields, `[N, H, W, 2]` (real, imaginary), float32 or float64,
            frequency 0 first.
        following: those of the frames that follow, of the same shape, dtype and device.

    Returns:
        `[N, H, W // 2 + 1, 2]`, the half spectrum whose inverse real transform is the real part of
        the inverse transform of P, and `[N]`, the sum of |P| over all frequencies.

    Raises:
        TypeError: not tensors, or neither float32 nor float64.
        ValueError: shapes, dtypes or devices differ, or the shape is not `[N, H, W, 2]`.
        RuntimeError: an argument requires a gradient.

    Example:
        >>> power, total = cross_power(torch.ones(1, 1, 1, 2), torch.ones(1, 1, 1, 2))
        >>> power[..., 0].item() == total.item(), round(total.item(), 3)
        (True, 1.414)
    """
    height, width = spectrum.shape[1:3]
    a, b = (torch.view_as_complex(x.contiguous()) for x in (spectrum, following))
    fy, fx = (
        torch.fft.fftfreq(side, dtype=spectrum.dtype, device=spectrum.device)
        for side in (height, width)
    )
    gauss = torch.exp(-(fy[:, None].square() + fx.square()) / (2 * _SIGMA**2))
    product = b * a.conj()
    root = product.abs().sqrt()
    power = torch.where(root == 0, 0, product / root) * gauss
    half = power[..., : width // 2 + 1]
    mirrored = power.flip((1, 2)).roll((1, 1), (1, 2))[..., : width // 2 + 1]
    total = (root * gauss).sum((1, 2), dtype=torch.float64).to(spectrum.dtype)
    return torch.view_as_real((half + mirrored.conj()) / 2).contiguous(), total


def _check_peak(surface: Tensor, reach_y: int, reach_x: int) -> None:
    _check_alike(("surface", "surface"), (surface, surface), "[N, H, W]")
    for name, value in (("reach_y", reach_y), ("reach_x", reach_x)):
        if value < 0:
            raise ValueError(f"{name} must be 0 or more, got {value}")


@op(_check_peak)
def correlation_peak(surface: Tensor, reach_y: int, reach_x: int) -> tuple[Tensor, Tensor]:
    """Where a circular correlation is largest within reach, and how large.

    Of equal peaks the nearest to no shift counts: values are compared less a part of up to 1e-4
    that grows with the squared distance. Of those that are then equal, the first in memory.

    Args:
        surface: `[N, H, W]`, float32 or float64; shift (dy, dx) is at (dy mod H, dx mod W).
        reach_y: largest |dy|.
        reach_x: largest |dx|.

    Returns:
        The shift (dy, dx) in pixels, int64 `[N, 2]`, -H / 2 <= dy < H / 2, and the value there,
        `[N]`. A surface of NaN has the shift (0, 0) and the value NaN.

    Raises:
        TypeError: not a tensor, or neither float32 nor float64.
        ValueError: the shape is not `[N, H, W]`, or a reach is negative.
        RuntimeError: the argument requires a gradient.

    Example:
        >>> surface = torch.zeros(1, 4, 5)
        >>> surface[0, 3, 2] = 0.5
        >>> correlation_peak(surface, 2, 2)
        (tensor([[-1,  2]]), tensor([0.5000]))
    """
    height, width = surface.shape[1:]
    dy, dx = (_signed(side, surface.device) for side in (height, width))
    far = dy[:, None].square() + dx.square()
    share = 1 - far.to(surface.dtype) * (_TIE * 4 / (height * height + width * width))
    within = (dy.abs() <= reach_y)[:, None] & (dx.abs() <= reach_x)
    score = torch.where(within & ~surface.isnan(), surface * share, -torch.inf)
    best = score.flatten(1).max(1, keepdim=True).values
    count = height * width
    place = torch.arange(count, device=surface.device)
    index = torch.where(score.flatten(1) == best, place, count).min(1).values
    shift = torch.stack([dy[index // width], dx[index % width]], 1)
    return shift, surface.flatten(1).gather(1, index[:, None])[:, 0]


def _signed(side: int, device: torch.device) -> Tensor:
    place = torch.arange(side, device=device)
    return torch.where(place < (side + 1) // 2, place, place - side)


def _check_refine(luma: Tensor, following: Tensor, shift: Tensor) -> None:
    _check_alike(("luma", "following"), (luma, following), "[N, H, W]")
    if not isinstance(shift, Tensor) or shift.dtype != torch.int64:
        got = shift.dtype if isinstance(shift, Tensor) else type(shift).__name__
        raise TypeError(f"shift must be an int64 tensor, got {got}")
    if shift.shape != (len(luma), 2) or shift.device != luma.device:
        raise ValueError(
            f"shift must have shape {(len(luma), 2)} on {luma.device}, "
            f"got {tuple(shift.shape)} on {shift.device}"
        )


@op(_check_refine)
def shift_refine(luma: Tensor, following: Tensor, shift: Tensor) -> Tensor:
    """Sub-pixel shift near a whole one, by robust least squares over the part that both show.

    Eight rounds of Gauss and Newton on `following(p + shift + d) - luma(p) - o`, the offset o being
    the mean of the round before, with the gradient of `luma`, six-point Lagrange interpolation of
    `following`, a Hann window over the overlap, and Tukey's weights. A pixel has no say whose
    residual exceeds 3.75 mean absolute ones of the round before plus what an edge of its strength
    shows when off by 0.25 (at first) to 0.05 pixels. So what moves otherwise, or not at all, does
    not pull the result towards its own motion.

    Args:
        luma: smoothed luma `[N, H, W]` in levels, float32 or float64.
        following: that of the frames that follow, of the same shape, dtype and device.
        shift: whole shifts (dy, dx), int64 `[N, 2]`.

    Returns:
        `[N, 3]` float64: dy, dx, at most 1.5 pixels from the given shift, and the share of the
        weight that the pixels kept, 0..1. Kernels compute pixels as float32 and sums as float64:
        within 1e-3 pixels of the float64 function. The shift itself and a share of 0 where the
        overlap is too small; NaN where a pixel of it is NaN.

    Raises:
        TypeError: not tensors, or of other dtypes.
        ValueError: shapes, dtypes or devices differ.
        RuntimeError: an argument requires a gradient.

    Source:
        Baker and Matthews, "Lucas-Kanade 20 years on: a unifying framework", IJCV 2004, section
        3.2, with the weights of Beaton and Tukey, Technometrics 1974.

    Example:
        >>> x = torch.arange(32.0)
        >>> wave = (10 * torch.sin(x / 3) + 10 * torch.sin(x[:, None] / 4))[None]
        >>> moved = (10 * torch.sin((x - 0.25) / 3) + 10 * torch.sin(x[:, None] / 4))[None]
        >>> round(shift_refine(wave, moved, torch.zeros(1, 2, dtype=torch.int64))[0, 1].item(), 2)
        0.25
    """
    height, width = luma.shape[1:]
    a, b = luma.double(), following.double()
    row, col = (torch.arange(side, device=luma.device) for side in (height, width))
    weight = _overlap(row, shift[:, :1], height)[:, :, None] * _overlap(
        col, shift[:, 1:], width
    ).unsqueeze(1)
    edge = pad(a[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    gy = (edge[:, 2:, 1:-1] - edge[:, :-2, 1:-1]) / 2
    gx = (edge[:, 1:-1, 2:] - edge[:, 1:-1, :-2]) / 2
    size = (gy * gy + gx * gx).sqrt()
    all_weight = weight.sum((1, 2))
    step = torch.zeros(shift.shape, dtype=torch.float64, device=luma.device)
    residual = torch.where(weight > 0, _sampled(b, shift, step) - a, 0)
    spread = _ratio((weight * residual.abs()).sum((1, 2)), all_weight)
    offset = _ratio((weight * residual).sum((1, 2)), all_weight)
    for turn in range(_ROUNDS):
        residual = _sampled(b, shift, step) - a - offset[:, None, None]
        residual = torch.where(weight > 0, residual, 0)
        slack = max(_LAST_SLACK, _FIRST_SLACK / 2**turn)
        bound = _TUKEY * spread[:, None, None] + slack * size + 1e-9
        kept = weight * (1 - (residual / bound).square()).clamp(min=0).square()
        yy, xx, yx, y, x = (
            (kept * left * right).sum((1, 2))
            for left, right in ((gy, gy), (gx, gx), (gy, gx), (gy, residual), (gx, residual))
        )
        damping = _DAMPING * (yy + xx)
        yy, xx = yy + damping, xx + damping
        det = yy * xx - yx * yx
        change = torch.stack([_ratio(yx * x - xx * y, det), _ratio(yx * y - yy * x, det)], 1)
        step = (step + change.clamp(-_LONGEST_STEP, _LONGEST_STEP)).clamp(-_FARTHEST, _FARTHEST)
        all_kept = kept.sum((1, 2))
        spread = _ratio((kept * residual.abs()).sum((1, 2)), all_kept)
        offset = offset + _ratio((kept * residual).sum((1, 2)), all_kept)
    return torch.cat([shift + step, _ratio(all_kept, all_weight)[:, None]], 1)


def _ratio(over: Tensor, under: Tensor) -> Tensor:
    """Divide; 0 where nothing is divided by nothing."""
    return torch.where(under == 0, 0, over / under)


def _overlap(place: Tensor, shift: Tensor, side: int) -> Tensor:
    """Hann window `[N, side]` of the part of a side that is seen again after `shift` `[N, 1]`."""
    length = side - shift.abs()
    first = (-shift).clamp(min=0)
    moved = place + shift
    inside = (place >= _MARGIN) & (place < side - _MARGIN)
    inside = inside & (moved >= _MARGIN) & (moved < side - _MARGIN)
    angle = pi * (place - first + 1).double() / (length + 1)
    return torch.where(inside, torch.sin(angle).square(), 0)


def _sampled(frames: Tensor, shift: Tensor, step: Tensor) -> Tensor:
    """`frames` `[N, H, W]` at each pixel + shift + step, by six-point Lagrange interpolation."""
    for dim in (1, 2):
        side = frames.shape[dim]
        whole = step[:, dim - 1].floor()
        taps = _lagrange(step[:, dim - 1] - whole)  # [N, 6]
        # A step of NaN has a floor that is no index; its taps are NaN already.
        first = shift[:, dim - 1] + whole.nan_to_num().long() - 2
        place = torch.arange(side, device=frames.device)
        total = torch.zeros_like(frames)
        for k in range(6):
            index = (place + first[:, None] + k).clamp(0, side - 1)
            index = index[:, :, None] if dim == 1 else index[:, None]
            total = total + taps[:, k, None, None] * frames.gather(dim, index.expand_as(frames))
        frames = total
    return frames


def _lagrange(part: Tensor) -> Tensor:
    """Weights of the points -2..3 at 0 <= part < 1, `[N]` to `[N, 6]`."""
    taps = []
    for k in range(-2, 4):
        tap = torch.ones_like(part)
        for other in range(-2, 4):
            if other != k:
                tap = tap * (part - other) / (k - other)
        taps.append(tap)
    return torch.stack(taps, -1)
