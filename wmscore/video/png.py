"""One frame as a PNG in memory, by the standard library alone."""

from __future__ import annotations

import struct
import zlib

import torch
from torch import Tensor

__all__ = ["png_bytes"]


def png_bytes(frame: Tensor) -> bytes:
    """`[3, H, W]` uint8 RGB as PNG (ISO/IEC 15948), without loss.

    Raises:
        ValueError: another shape or type.
    """
    if frame.dtype != torch.uint8 or frame.ndim != 3 or frame.shape[0] != 3:
        raise ValueError(f"frame: expected uint8 [3, H, W], got {frame.dtype} {list(frame.shape)}")
    height, width = frame.shape[1:]
    lines = frame.permute(1, 2, 0).reshape(height, 3 * width)
    filtered = torch.cat([lines.new_zeros(height, 1), lines], 1)  # filter 0: as they are
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(filtered.cpu().contiguous().numpy().tobytes(), 6)
    chunks = ((b"IHDR", head), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
