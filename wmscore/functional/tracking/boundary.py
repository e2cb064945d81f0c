"""Boundary F of DAVIS on label maps: all objects of a frame at once, one bit of a byte for each."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import pad

from wmscore.functional._chunks import piece_elements
from wmscore.functional.overlap import LARGEST_ID

__all__ = ["BOUNDARY_TOLERANCE", "boundary_f"]

BOUNDARY_TOLERANCE = 0.008  # of the frame's diagonal, rounded up to whole pixels

_BITS = 8  # objects in a byte
_WORD = 8  # bytes in an int64
_LOW_BITS = 0x0101010101010101  # of each byte of a word
_TABLE_ROWS = 128  # rows whose tables of LARGEST_ID + 1 entries are worked on at a time
_WORDS = 240  # added up at a time: a byte of the sum holds up to 255


def boundary_f(
    preds_labels: Tensor, target_labels: Tensor, preds_ids: Tensor, target_ids: Tensor
) -> Tensor:
    """Boundary F ``[B, T, N]`` float64 of given pairs of objects, at each step.

    A pixel is on a boundary if it and its right, lower or lower right neighbour are not both inside
    or both outside. Precision is the share of the generated boundary that lies within the tolerance
    of the reference's, recall the converse, F their harmonic mean; 1 where both boundaries are
    empty, 0 where one is (Perazzi et al. 2016, CVPR, section 5.1, as DAVIS and TrackEval compute
    it: within the tolerance means in a disk of that radius).

    Args:
        preds_labels: ``[B, T, H, W]`` integers.
        target_labels: of the same shape.
        preds_ids: ``[B, N]`` int64, generated object of each pair; 0 stands for an empty one.
        target_ids: ``[B, N]`` int64, reference object.
    """
    rows, steps, height, width = preds_labels.shape
    radius = math.ceil(BOUNDARY_TOLERANCE * math.sqrt(height * height + width * width))
    objects = target_ids.shape[1]
    counts = target_ids.new_zeros(4, rows, steps, objects)
    for first in range(0, objects, _BITS):
        some = slice(first, first + _BITS)
        for row, step in _pieces(preds_labels):
            preds = _boundary(_bits(preds_labels[row, step], preds_ids[row, some]))
            target = _boundary(_bits(target_labels[row, step], target_ids[row, some]))
            maps = torch.stack(
                [
                    preds,
                    target,
                    preds & _dilate(target, radius),
                    target & _dilate(preds, radius),
                ]
            )
            found = _count_bits(maps.flatten(2), min(_BITS, objects - first))
            counts[:, row, step, some] = found.view(4, *preds_labels[row, step].shape[:2], -1)
    return _f_of(*counts.double())


def _f_of(preds: Tensor, target: Tensor, preds_near: Tensor, target_near: Tensor) -> Tensor:
    precision, recall = preds_near / preds, target_near / target
    f = 2 * precision * recall / (precision + recall)
    one_is_empty = (preds == 0) | (target == 0)
    f = f.masked_fill(one_is_empty | (precision + recall == 0), 0.0)
    return f.masked_fill((preds == 0) & (target == 0), 1.0)


def _pieces(labels: Tensor) -> Iterator[tuple[slice, slice]]:
    """Blocks of whole rows, or of steps of one row where a row is large."""
    rows, steps, height, width = labels.shape
    frames = max(1, 4 * piece_elements(labels.device) // (height * width))
    row_size, step_size = max(1, min(frames // steps, _TABLE_ROWS)), min(frames, steps)
    for row in range(0, rows, row_size):
        for step in range(0, steps, step_size):
            yield slice(row, row + row_size), slice(step, step + step_size)


def _bits(labels: Tensor, ids: Tensor) -> Tensor:
    """Labels ``[B, T, H, W]`` as bits ``[B * T, H, W]`` of the objects ``[B, n]``, n <= 8."""
    rows, device = len(ids), ids.device
    bit_of = torch.zeros(rows, LARGEST_ID + 1, dtype=torch.uint8, device=device)
    bit = 2 ** torch.arange(ids.shape[1], dtype=torch.uint8, device=device)
    bit_of.scatter_(1, ids, bit.expand_as(ids))
    bit_of[:, 0] = 0  # where the ids 0 wrote their bits
    if labels.dtype != torch.uint8:  # what is out of range is not listed
        labels = labels.where((labels >= 0) & (labels <= LARGEST_ID), 0)
    # One table after the other, at int32: half the bytes of an index, and quicker to make.
    first = torch.arange(rows, dtype=torch.int32, device=device) * (LARGEST_ID + 1)
    index = labels.int() + first[:, None, None, None]
    return bit_of.view(-1).index_select(0, index.view(-1)).view(-1, *labels.shape[2:])


def _boundary(bits: Tensor) -> Tensor:
    """Bits of the objects of which a pixel ``[F, H, W]`` is on the boundary."""
    edge = torch.zeros_like(bits)
    edge[:, :, :-1] = bits[:, :, :-1] ^ bits[:, :, 1:]
    edge[:, :-1] |= bits[:, :-1] ^ bits[:, 1:]
    edge[:, :-1, :-1] |= bits[:, :-1, :-1] ^ bits[:, 1:, 1:]
    return edge


def _dilate(bits: Tensor, radius: int) -> Tensor:
    """Bits of the objects that have a pixel in the disk around each pixel ``[F, H, W]``."""
    height, width = bits.shape[1:]
    row, near = bits.clone(), torch.zeros_like(bits)  # row: within so many columns
    for columns in range(radius + 1):
        if 0 < columns < width:
            row[:, :, columns:] |= bits[:, :, :-columns]
            row[:, :, :-columns] |= bits[:, :, columns:]
        for rows in range(min(radius + 1, height)):
            if math.isqrt(radius * radius - rows * rows) != columns:
                continue
            near[:, rows:] |= row[:, : height - rows]
            if rows:
                near[:, :-rows] |= row[:, rows:]
    return near


def _count_bits(maps: Tensor, bits: int) -> Tensor:
    """How many bytes of ``[..., L]`` have each bit, ``[..., bits]`` int64; eight bytes a time."""
    length = maps.shape[-1]
    padded = pad(maps, (0, -length % (_WORD * _WORDS)))
    words = padded.view(*maps.shape[:-1], -1, _WORD * _WORDS).view(torch.int64)
    counts, shifted = [], torch.empty_like(words)
    for bit in range(bits):
        torch.bitwise_right_shift(words, bit, out=shifted)
        sums = shifted.bitwise_and_(_LOW_BITS).sum(-1)  # eight counts, one in each byte
        counts.append(sums.view(torch.uint8).sum(-1))
    return torch.stack(counts, -1)
