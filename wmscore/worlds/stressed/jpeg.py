"""What JPEG does to a picture: ITU-T T.81 with the tables of its Annex K, without the file.

Quality as in the IJG's libjpeg (`jpeg_set_quality`); YCbCr as in JFIF; no chroma is left out.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["jpeg_loss"]

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
    *[(99,) * 8] * 4,
)


def jpeg_loss(picture: Tensor, quality: int) -> Tensor:
    """`picture` `[3, H, W]` float64 in 0..255, rounded, as it comes back from a JPEG.

    Args:
        picture: not changed.
        quality: 1..100.
    """
    if not 1 <= quality <= 100:
        raise ValueError(f"quality: expected 1..100, got {quality}")
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    tables = torch.tensor([_LUMA, _CHROMA, _CHROMA], dtype=torch.float64)
    tables = ((tables * scale + 50) / 100).floor().clamp(1, 255)
    height, width = picture.shape[-2:]
    y, x = (torch.arange(-(-n // 8) * 8).clamp(max=n - 1) for n in (height, width))
    blocks = _to_ycc(picture.round())[:, y][:, :, x].round().clamp(0, 255) - 128
    blocks = blocks.view(3, len(y) // 8, 8, len(x) // 8, 8).transpose(2, 3)
    basis = _dct()
    found = basis @ blocks @ basis.T
    kept = (found / tables[:, None, None]).round() * tables[:, None, None]
    back = (basis.T @ kept @ basis + 128).round().clamp(0, 255)
    back = back.transpose(2, 3).flatten(3, 4).flatten(1, 2)
    return _to_rgb(back[:, :height, :width]).round().clamp(0, 255)


def _dct() -> Tensor:
    """The orthonormal DCT-II of eight points, `[frequency, place]`."""
    k = torch.arange(8, dtype=torch.float64)[:, None]
    n = torch.arange(8, dtype=torch.float64)
    basis = torch.cos(math.pi * (2 * n + 1) * k / 16) / 2
    basis[0] /= math.sqrt(2)
    return basis


def _to_ycc(rgb: Tensor) -> Tensor:
    r, g, b = rgb
    luma = 0.299 * r + 0.587 * g + 0.114 * b
    return torch.stack([luma, (b - luma) / 1.772 + 128, (r - luma) / 1.402 + 128])


def _to_rgb(ycc: Tensor) -> Tensor:
    luma, cb, cr = ycc[0], ycc[1] - 128, ycc[2] - 128
    r, b = luma + 1.402 * cr, luma + 1.772 * cb
    return torch.stack([r, (luma - 0.299 * r - 0.114 * b) / 0.587, b])
