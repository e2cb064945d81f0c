"""What JPEG does to frames: baseline coding as libjpeg-turbo does it, in integers, batched."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["jpeg_loss"]

# Annex K of the standard.
_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)

# The transforms' constants, times 2^13.
_BITS, _EXTRA = 13, 2
_C = {
    name: round(value * (1 << _BITS))
    for name, value in {
        "0.298": 0.298631336,
        "0.390": 0.390180644,
        "0.541": 0.541196100,
        "0.765": 0.765366865,
        "0.899": 0.899976223,
        "1.175": 1.175875602,
        "1.501": 1.501321110,
        "1.847": 1.847759065,
        "1.961": 1.961570560,
        "2.053": 2.053119869,
        "2.562": 2.562915447,
        "3.072": 3.072711026,
    }.items()
}


def jpeg_loss(frames: Tensor, quality: int) -> Tensor:
    """Frames as they come back from a baseline JPEG.

    YCbCr with 4:2:0 chroma (means of 2 x 2), 8 x 8 cosine transform, the standard's tables scaled
    by quality, triangular chroma upsampling. Every step is libjpeg-turbo's integer arithmetic (the
    accurate transform), so the result is bit for bit what Pillow gives; entropy coding loses
    nothing and is left out.

    Args:
        frames: `[F, 3, H, W]` in 0..255, of any dtype; rounded to whole levels, as JPEG takes them.
        quality: 1..100.

    Returns:
        Whole levels of the dtype of `frames`; what is NaN there stays NaN.

    Raises:
        ValueError: the frames do not have three channels, or another quality.

    Source:
        ITU-T T.81 (1992), Annex A and K; quality as in the Independent JPEG Group's library;
        transform: Loeffler, Ligtenberg and Moschytz, "Practical fast 1-D DCT algorithms with 11
        multiplications", ICASSP 1989.
    """
    if isinstance(quality, bool) or not isinstance(quality, int) or not 1 <= quality <= 100:
        raise ValueError(f"quality: expected an integer in 1..100, got {quality!r}")
    if frames.dim() != 4 or frames.shape[1] != 3:
        raise ValueError(f"frames: JPEG needs [F, 3, H, W], got {list(frames.shape)}")
    height, width = frames.shape[2:]
    levels = frames
    if frames.is_floating_point():
        levels = frames.nan_to_num(0.0).round()
    # As libjpeg pads: the width before the chroma is averaged, the height after it.
    y, cb, cr = _to_ycc(_extend(_extend(levels.to(torch.int32), 3, 16), 2, 2))
    luma, chroma = (_scaled(table, quality) for table in (_LUMA, _CHROMA))
    y = _code(_extend(y, 1, 8), luma)[:, :height, :width]
    size = (-(-height // 2), -(-width // 2))
    cb, cr = (
        _upsample(_code(_extend(_downsample(c), 1, 8), chroma)[:, : size[0], : size[1]])[
            :, :height, :width
        ]
        for c in (cb, cr)
    )
    back = _to_rgb(y, cb, cr).to(frames.dtype)
    return back.masked_fill(frames.isnan(), torch.nan) if frames.is_floating_point() else back


def _scaled(table: tuple[tuple[int, ...], ...], quality: int) -> list[list[int]]:
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return [[min(255, max(1, (step * scale + 50) // 100)) for step in row] for row in table]


def _extend(levels: Tensor, dim: int, multiple: int) -> Tensor:
    """Repeat the last line along `dim` up to a multiple."""
    size = levels.shape[dim]
    place = torch.arange(-(-size // multiple) * multiple, device=levels.device)
    return levels.index_select(dim, place.clamp(max=size - 1))


def _to_ycc(rgb: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r, g, b = rgb.unbind(1)
    half, middle = 1 << 15, (128 << 16) + (1 << 15) - 1
    y = (19595 * r + 38470 * g + 7471 * b + half) >> 16
    cb = (-11059 * r - 21709 * g + 32768 * b + middle) >> 16
    cr = (32768 * r - 27439 * g - 5329 * b + middle) >> 16
    return y, cb, cr


def _to_rgb(y: Tensor, cb: Tensor, cr: Tensor) -> Tensor:
    cb, cr, half = cb - 128, cr - 128, 1 << 15
    r = y + ((91881 * cr + half) >> 16)
    g = y + ((-22554 * cb - 46802 * cr + half) >> 16)
    b = y + ((116130 * cb + half) >> 16)
    return torch.stack([r, g, b], 1).clamp(0, 255)


def _downsample(plane: Tensor) -> Tensor:
    """Means of 2 x 2 of `[F, H, W]`; halves go down and up in turn."""
    rows = plane[:, ::2] + plane[:, 1::2]
    total = rows[:, :, ::2] + rows[:, :, 1::2]
    return (total + 1 + torch.arange(total.shape[2], device=plane.device) % 2) >> 2


def _upsample(plane: Tensor) -> Tensor:
    """Twice the size: 3/4 the nearer and 1/4 the next one along each axis, of `[F, H, W]`."""

    def weighted(dim: int, values: Tensor) -> tuple[Tensor, Tensor]:
        size = values.shape[dim]
        place = torch.arange(size, device=values.device)
        before = values.index_select(dim, (place - 1).clamp(min=0))
        after = values.index_select(dim, (place + 1).clamp(max=size - 1))
        return 3 * values + before, 3 * values + after

    rows = torch.stack(weighted(1, plane), 2).flatten(1, 2)
    left, right = weighted(2, rows)
    return torch.stack([(left + 8) >> 4, (right + 7) >> 4], 3).flatten(2)


def _code(plane: Tensor, table: list[list[int]]) -> Tensor:
    """Transform, quantise and back: `[F, H, W]` in 0..255, H and W multiples of 8."""
    frames, height, width = plane.shape
    blocks = plane.view(frames, height // 8, 8, width // 8, 8) - 128
    # Coefficients are 8 times too large, as the transform leaves them.
    coefficients = _forward(_forward(blocks, 4, _BITS - _EXTRA, -_EXTRA), 2, _BITS + _EXTRA, _EXTRA)
    step = torch.tensor(table, dtype=torch.int32, device=plane.device)[:, None]
    rounded = torch.div(coefficients.abs() + 4 * step, 8 * step, rounding_mode="floor")
    restored = rounded * coefficients.sign() * step
    levels = _inverse(_inverse(restored, 2, _BITS - _EXTRA), 4, _BITS + _EXTRA + 3)
    return (levels + 128).clamp(0, 255).view(plane.shape)


def _descale(value: Tensor, bits: int) -> Tensor:
    return (value + (1 << (bits - 1))) >> bits if bits > 0 else value << -bits


def _odd(t: tuple[Tensor, Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The odd half of either transform."""
    a, b, c, d = t
    z1, z2 = (a + d) * -_C["0.899"], (b + c) * -_C["2.562"]
    z5 = (a + c + b + d) * _C["1.175"]
    z3, z4 = (a + c) * -_C["1.961"] + z5, (b + d) * -_C["0.390"] + z5
    return (
        a * _C["0.298"] + z1 + z3,
        b * _C["2.053"] + z2 + z4,
        c * _C["3.072"] + z2 + z3,
        d * _C["1.501"] + z1 + z4,
    )


def _forward(values: Tensor, dim: int, bits: int, even_bits: int) -> Tensor:
    x = values.unbind(dim)
    (s0, s1, s2, s3), odd = (x[i] + x[7 - i] for i in range(4)), [x[i] - x[7 - i] for i in range(4)]
    e0, e1, e2, e3 = s0 + s3, s1 + s2, s1 - s2, s0 - s3
    z = (e2 + e3) * _C["0.541"]
    o7, o5, o3, o1 = _odd((odd[3], odd[2], odd[1], odd[0]))
    out = [
        _descale(e0 + e1, even_bits),
        _descale(o1, bits),
        _descale(z + e3 * _C["0.765"], bits),
        _descale(o3, bits),
        _descale(e0 - e1, even_bits),
        _descale(o5, bits),
        _descale(z - e2 * _C["1.847"], bits),
        _descale(o7, bits),
    ]
    return torch.stack(out, dim)


def _inverse(values: Tensor, dim: int, bits: int) -> Tensor:
    x = values.unbind(dim)
    z = (x[2] + x[6]) * _C["0.541"]
    t2, t3 = z - x[6] * _C["1.847"], z + x[2] * _C["0.765"]
    t0, t1 = (x[0] + x[4]) << _BITS, (x[0] - x[4]) << _BITS
    even = (t0 + t3, t1 + t2, t1 - t2, t0 - t3)
    o0, o1, o2, o3 = _odd((x[7], x[5], x[3], x[1]))
    odd = (o3, o2, o1, o0)
    first = [_descale(e + o, bits) for e, o in zip(even, odd, strict=True)]
    second = [_descale(e - o, bits) for e, o in zip(even, odd, strict=True)]
    return torch.stack(first + second[::-1], dim)
