"""Pieces of frames: all of them, in order, as views where memory allows."""

from __future__ import annotations

import pytest
import torch

from wmscore.functional._chunks import frame_chunks


@pytest.mark.parametrize("size", [1, 4, 5, 100])
def test_pieces_are_the_frames_in_order(size: int) -> None:
    frames = torch.arange(3 * 5 * 2 * 2 * 2).view(3, 5, 2, 2, 2)
    views = {
        "whole": frames,
        "without frame 0": frames[:, 1:],
        "steps first": frames.transpose(0, 1),
        "every second row": frames[::2],
        "shared": frames[:1].expand(4, -1, -1, -1, -1),
        "one frame": frames[0, 0],
        "none": frames[:, :0],
    }
    for tensor in views.values():
        pieces = list(frame_chunks(tensor, tensor + 1, size=size))
        flat = tensor.reshape(-1, 2, 2, 2)
        assert all(len(piece[0]) <= size for piece in pieces)
        joined = torch.cat([piece[0] for piece in pieces]) if pieces else flat[:0]
        assert joined.equal(flat)
        assert all(second.equal(first + 1) for first, second in pieces)


def test_one_run_in_memory_is_not_copied() -> None:
    frames = torch.zeros(3, 5, 2, 4, 4)
    for tensor in (frames, frames[1:], frames[:1, 2:], frames.transpose(-1, -2)):
        start = tensor.storage_offset()
        for index, (piece,) in enumerate(frame_chunks(tensor, size=2)):
            assert piece.untyped_storage().data_ptr() == frames.untyped_storage().data_ptr()
            assert piece.storage_offset() == start + index * 2 * 32


def test_frames_that_are_not_one_run_are_copied_piece_by_piece() -> None:
    frames = torch.zeros(3, 5, 2, 4, 4)
    for tensor in (frames[:, 1:], frames.transpose(0, 1), frames[:1].expand(4, -1, -1, -1, -1)):
        for (piece,) in frame_chunks(tensor, size=2):
            assert piece.untyped_storage().nbytes() <= 2 * 32 * 4
