"""FLIP: the difference that a viewer sees when two frames alternate on one display."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from wmscore.ops._check import check_frame_pair
from wmscore.ops._library import op

__all__ = ["MAX_PIXELS_PER_DEGREE", "MIN_PIXELS_PER_DEGREE", "flip_errors", "frame_flip"]

MIN_PIXELS_PER_DEGREE = 1.0
MAX_PIXELS_PER_DEGREE = 200.0  # filters of 28 pixels to each side: what the kernels have room for

# Linear sRGB to CIE XYZ, where white (D65) is (1, 1, 1), and back.
_XYZ_OF_RGB = (
    (10135552 / 23359437, 8788810 / 23359437, 4435075 / 23359437),
    (2613072 / 12288897, 8788810 / 12288897, 887015 / 12288897),
    (1425312 / 80288307, 8788810 / 80288307, 70074185 / 80288307),
)
_RGB_OF_XYZ = (
    (3.0803419882804604, -1.5373989694887855, -0.5429430187916752),
    (-0.9211783961651235, 1.8759299836951757, 0.04524841246994758),
    (0.05288129287554324, -0.20401120612390994, 1.1511299132483668),
)

# Contrast sensitivity: Σ a · sqrt(π / b) · exp(-π² x² / b) of x degrees, where (a, b) are:
_BRIGHTNESS = ((1.0, 0.0047),)
_RED_GREEN = ((1.0, 0.0053),)
_BLUE_YELLOW = ((34.1, 0.04), (13.5, 0.025))

_COLOUR_EXPONENT = 0.7
_KNEE, _ERROR_AT_KNEE = 0.4, 0.95  # shares of the largest colour difference and of the error
_FEATURE_DEGREES = 0.082  # two standard deviations of the detectors of edges and points
_FEATURE_EXPONENT = 0.5


def _check(preds: Tensor, target: Tensor, pixels_per_degree: float) -> None:
    """Refuse anything but two tensors `[N, 3, H, W]` and a resolution that the filters can have.

    Raises:
        TypeError: an argument is not a tensor of a supported dtype, or not a number.
        ValueError: the shapes or the devices differ, the shape is not `[N, 3, H, W]` with at least
            one pixel, or `pixels_per_degree` is not in 1..200.
    """
    check_frame_pair(preds, target)
    if preds.shape[1] != 3:
        raise ValueError(
            "preds and target must have 3 channels (sRGB), [N, 3, H, W], "
            f"got {tuple(preds.shape)}: FLIP is not defined for others"
        )
    if 0 in preds.shape[2:]:
        raise ValueError(f"preds and target must have at least one pixel, got {tuple(preds.shape)}")
    if isinstance(pixels_per_degree, bool) or not isinstance(pixels_per_degree, int | float):
        raise TypeError(
            f"pixels_per_degree must be a number, got {type(pixels_per_degree).__name__}"
        )
    if not MIN_PIXELS_PER_DEGREE <= pixels_per_degree <= MAX_PIXELS_PER_DEGREE:
        raise ValueError(
            f"pixels_per_degree must be in {MIN_PIXELS_PER_DEGREE:g}..{MAX_PIXELS_PER_DEGREE:g}, "
            f"got {pixels_per_degree}"
        )


@op(_check)
def frame_flip(preds: Tensor, target: Tensor, pixels_per_degree: float) -> Tensor:
    """Mean FLIP error of each frame.

    FLIP blurs both frames as the eye does at the given resolution, compares their colours, and
    raises the error where an edge or a point is in one of the frames only.

    Args:
        preds: sRGB frames `[N, 3, H, W]`, uint8 (0..255) or floating (0..1), any strides. Floats
            outside 0..1 are clamped to it.
        target: frames of the same shape, dtype and device. The result is symmetric in both.
        pixels_per_degree: of visual angle, 1..200; about 67 for a 0.7 m wide display of 3840 pixels
            that is looked at from 0.7 m.

    Returns:
        `[N]` float64 in [0, 1], 0 for identical frames, lower is better. The torch function is
        float64 throughout; kernels work in float32 and are within 5e-6 of it. A NaN makes its
        frame's value NaN. It has no gradient.

    Raises:
        TypeError: not tensors of one supported dtype, or `pixels_per_degree` is not a number.
        ValueError: the shapes or the devices differ, the shape is not `[N, 3, H, W]` with at least
            one pixel, or `pixels_per_degree` is not in 1..200.
        RuntimeError: an argument requires a gradient.

    Source:
        Andersson, Nilsson, Akenine-Möller, Oskarsson, Åström and Fairchild, "FLIP: A Difference
        Evaluator for Alternating Images", HPG 2020, sections 4 and 5.

    Example:
        >>> black, white = torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
        >>> frame_flip(black, white, 67.0206)
        tensor([0.9674], dtype=torch.float64)
    """
    return flip_errors(preds, target, pixels_per_degree).mean(dim=(1, 2))


def flip_errors(preds: Tensor, target: Tensor, pixels_per_degree: float) -> Tensor:
    """FLIP error of each pixel, `[N, H, W]` float64 in [0, 1]: what `frame_flip` is the mean of."""
    preds_y, preds_cx, preds_cz = _opponent(_linear_rgb(preds))
    target_y, target_cx, target_cz = _opponent(_linear_rgb(target))
    colour = _colour_difference(
        _seen_lab(preds_y, preds_cx, preds_cz, pixels_per_degree),
        _seen_lab(target_y, target_cx, target_cz, pixels_per_degree),
    )
    preds_edges, preds_points = _features(preds_y, pixels_per_degree)
    target_edges, target_points = _features(target_y, pixels_per_degree)
    difference = torch.maximum(
        (preds_edges - target_edges).abs(), (preds_points - target_points).abs()
    )
    return colour ** (1 - (difference / math.sqrt(2)) ** _FEATURE_EXPONENT)


def _linear_rgb(frames: Tensor) -> Tensor:
    """SRGB to linear RGB in [0, 1], float64."""
    values = frames.double()
    values = values / 255 if frames.dtype == torch.uint8 else values.clamp(0, 1)
    return torch.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _opponent(rgb: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Linear RGB `[N, 3, H, W]` to brightness, red-green and blue-yellow, each `[N, H, W]`.

    The paper's YCxCz is (116 y - 16, 500 cx, 200 cz); the filters do not see the scale.
    """
    x, y, z = _times(_XYZ_OF_RGB, rgb)
    return y, x - y, y - z


def _times(matrix: tuple[tuple[float, float, float], ...], colours: Tensor) -> list[Tensor]:
    """The rows of a 3 x 3 matrix times the channels of `[N, 3, H, W]`."""
    a, b, c = colours.unbind(1)
    return [row[0] * a + row[1] * b + row[2] * c for row in matrix]


def _seen_lab(y: Tensor, cx: Tensor, cz: Tensor, pixels_per_degree: float) -> Tensor:
    """Blur as the eye does, then CIELAB whose colours fade in the dark (Hunt); `[N, 3, H, W]`."""
    y = _blur(y, _BRIGHTNESS, pixels_per_degree)
    cx = _blur(cx, _RED_GREEN, pixels_per_degree)
    cz = _blur(cz, _BLUE_YELLOW, pixels_per_degree)
    rgb = torch.stack(_times(_RGB_OF_XYZ, torch.stack([y + cx, y, y - cz], dim=1)), dim=1)
    return _hunt_lab(rgb.clamp(0, 1))


def _hunt_lab(rgb: Tensor) -> Tensor:
    """Linear RGB to CIELAB with Hunt's adjustment: chroma times lightness / 100."""
    x, y, z = (
        torch.where(t > (6 / 29) ** 3, t ** (1 / 3), t / (3 * (6 / 29) ** 2) + 4 / 29)
        for t in _times(_XYZ_OF_RGB, rgb)
    )
    lightness = 116 * y - 16
    fade = lightness / 100
    return torch.stack([lightness, fade * 500 * (x - y), fade * 200 * (y - z)], dim=1)


def _colour_difference(preds_lab: Tensor, target_lab: Tensor) -> Tensor:
    """HyAB distance, compressed and mapped to [0, 1]; `[N, H, W]`."""
    # The two colours of sRGB that are furthest apart.
    green, blue = preds_lab.new_zeros(2, 1, 3, 1, 1).unbind()
    green[:, 1], blue[:, 2] = 1, 1
    largest = _hyab(_hunt_lab(green), _hunt_lab(blue)) ** _COLOUR_EXPONENT
    share = _hyab(preds_lab, target_lab) ** _COLOUR_EXPONENT / largest
    return torch.where(
        share < _KNEE,
        share * (_ERROR_AT_KNEE / _KNEE),
        _ERROR_AT_KNEE + (share - _KNEE) * ((1 - _ERROR_AT_KNEE) / (1 - _KNEE)),
    )


def _hyab(preds_lab: Tensor, target_lab: Tensor) -> Tensor:
    """City-block distance of lightness plus Euclidean distance of chroma."""
    lightness, a, b = (preds_lab - target_lab).unbind(1)
    return lightness.abs() + (a * a + b * b).sqrt()


def _features(y: Tensor, pixels_per_degree: float) -> tuple[Tensor, Tensor]:
    """How much of an edge and of a point each pixel is, `[N, H, W]` each, about [0, 1]."""
    deviation = _FEATURE_DEGREES / 2 * pixels_per_degree
    offset = _offsets(math.ceil(3 * deviation), y)
    bell = torch.exp(-(offset**2) / (2 * deviation**2))
    smooth = bell / bell.sum()
    edge = _with_unit_halves(-offset * bell)
    point = _with_unit_halves((offset**2 / deviation**2 - 1) * bell)
    edges, points = (
        torch.hypot(_convolve(y, derivative, smooth), _convolve(y, smooth, derivative))
        for derivative in (edge, point)
    )
    return edges, points


def _with_unit_halves(taps: Tensor) -> Tensor:
    """Scaled so that the positive taps sum to 1 and the negative ones to -1."""
    positive, negative = taps.clamp(min=0), taps.clamp(max=0)
    return positive / positive.sum() - negative / negative.sum()


def _blur(
    plane: Tensor, terms: tuple[tuple[float, float], ...], pixels_per_degree: float
) -> Tensor:
    """Convolve with a sum of Gaussians, each of which is separable; the weights sum to 1."""
    widest = max(b for _, b in _BLUE_YELLOW)
    radius = math.ceil(3 * math.sqrt(widest / (2 * math.pi**2)) * pixels_per_degree)
    offset = _offsets(radius, plane) / pixels_per_degree
    taps = torch.stack(
        [
            math.sqrt(a * math.sqrt(math.pi / b)) * torch.exp(-(math.pi**2) * offset**2 / b)
            for a, b in terms
        ]
    )
    total = (taps.sum(1) ** 2).sum()  # of all weights of Σ taps ⊗ taps
    return _convolve(plane, taps, taps / total)


def _offsets(radius: int, like: Tensor) -> Tensor:
    return torch.arange(-radius, radius + 1, dtype=like.dtype, device=like.device)


def _convolve(planes: Tensor, along: Tensor, down: Tensor) -> Tensor:
    """Σ down ⊗ along around each pixel of `[N, H, W]`, where the border repeats.

    Args:
        planes: float64, which neither TF32 nor autocast touches.
        along: taps for the rows, `[K]`, or `[F, K]` for the sum of F separable filters.
        down: taps for the columns, of the same shape.
    """
    taps = along.shape[-1]
    padded = pad(planes[:, None], [taps // 2] * 4, mode="replicate")
    rows = conv2d(padded, along.view(-1, 1, 1, taps))  # [N, F, H + K - 1, W]
    return conv2d(rows, down.view(1, -1, taps, 1))[:, 0]
