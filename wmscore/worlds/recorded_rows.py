"""Rows of recordings, gathered into one batch by several threads."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wmscore.episodes import EpisodeError
from wmscore.worlds.given import item_words
from wmscore.worlds.protocol import Item

__all__ = ["RecordedRow", "RowBatch"]


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordedRow:
    """What a recording shows of an item.

    Attributes:
        frames: `[n, C, H, W]`, up to its end or the horizon.
        first: takes the place of the first frame, or None.
        labels: `[n, H, W]`, or None.
        count: how many frames there are before the world ended.
        psnr: of the first frame and the given one.
    """

    frames: Tensor
    first: Tensor | None
    labels: Tensor | None
    count: int
    psnr: float


class RowBatch:
    """Rows in one tensor each, to which threads bring them as they come."""

    def __init__(self, name: str, items: Sequence[Item], horizon: int) -> None:
        self.name, self.items, self.horizon = name, items, horizon
        self.frames = torch.empty(0)
        self.labels: Tensor | None = None
        self.valid = torch.zeros(len(items), horizon + 1, dtype=torch.bool)
        self.psnr = torch.zeros(len(items), dtype=torch.float64)
        self._lock = threading.Lock()

    def put(self, place: int, row: RecordedRow) -> None:
        """Take the row of `items[place]`.

        Raises:
            EpisodeError: it is of another kind than the first one that came.
        """
        with self._lock:
            if not self.frames.numel():
                shape = (len(self.items), self.horizon + 1)
                self.frames = row.frames.new_empty((*shape, *row.frames.shape[1:]))
                if row.labels is not None:
                    self.labels = row.labels.new_empty((*shape, *row.labels.shape[1:]))
        kinds = [
            [list(self.frames.shape[2:]), None if self.labels is None else self.labels.dtype],
            [list(row.frames.shape[1:]), None if row.labels is None else row.labels.dtype],
        ]
        if kinds[0] != kinds[1]:
            raise EpisodeError(
                f"{self.name}: {item_words(self.items[place])}: expected frames and labels like "
                f"those of other rows, {kinds[0]}, got {kinds[1]}"
            )
        _fill(self.frames[place], row.frames)
        if row.first is not None:
            self.frames[place, 0] = row.first
        if self.labels is not None and row.labels is not None:
            _fill(self.labels[place], row.labels)
        self.valid[place, : row.count] = True
        self.psnr[place] = row.psnr


def _fill(row: Tensor, values: Tensor) -> None:
    """Copy, and the last one again up to the end."""
    row[: len(values)] = values
    row[len(values) :] = values[-1:]
