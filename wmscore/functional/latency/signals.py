"""Time series ready for correlation at many lags: centred, whitened, with gaps as zeros."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["FLOOR", "Signals", "autocorrelation", "signals_of"]

FLOOR = 1e-3
"""Share of a response's energy that counts as noise at least: no fit is better than that."""


@dataclass(frozen=True, eq=False)
class Signals:
    """Series of B rollouts, each whitened in P ways.

    Attributes:
        values: ``[P, D, B, T]`` float64, mean 0 over the steps that exist, 0 elsewhere.
        present: ``[P, D, B, T]`` float64, 1 where the step exists.
        floor: ``[D, B]`` mean square that counts as noise.
    """

    values: Tensor
    present: Tensor
    floor: Tensor

    def rows(self, index: Tensor) -> Signals:
        """Of some rollouts."""
        return Signals(
            self.values.index_select(2, index),
            self.present.index_select(2, index),
            self.floor.index_select(1, index),
        )

    @property
    def mean_square(self) -> Tensor:
        """Of the first way of whitening, ``[D, B]``."""
        return self.values[0].square().sum(-1) / self.present[0].sum(-1).clamp(min=1)


def signals_of(values: Tensor, present: Tensor, whitening: tuple[float | Tensor, ...]) -> Signals:
    """Series ``[B, T, D]`` less a share of their previous value.

    Args:
        values: ``[B, T, D]`` float64.
        present: ``[B, T, D]`` bool; other values do not matter.
        whitening: the P shares; 0 leaves levels, 1 gives changes. A tensor ``[]`` that may be 0
            costs the first step nevertheless.
    """
    series = torch.where(present, values, 0.0).permute(2, 0, 1)  # [D, B, T]
    there = present.permute(2, 0, 1)
    before = pad(series[..., :-1], (1, 0))
    both = there & pad(there[..., :-1], (1, 0))
    ways, masks = [], []
    for share in whitening:
        mask = both if isinstance(share, Tensor) or share else there
        way = torch.where(mask, series - share * before, 0.0)
        mean = way.sum(-1, keepdim=True) / mask.sum(-1, keepdim=True).clamp(min=1)
        ways.append(torch.where(mask, way - mean, 0.0))
        masks.append(mask)
    level = series.sum(-1, keepdim=True) / there.sum(-1, keepdim=True).clamp(min=1)
    centred = torch.where(there, series - level, 0.0)
    floor = FLOOR * centred.square().sum(-1) / there.sum(-1).clamp(min=1)
    return Signals(torch.stack(ways), torch.stack(masks).to(torch.float64), floor)


def autocorrelation(values: Tensor, present: Tensor, rows: Tensor) -> Tensor:
    """At lag 1, of series ``[B, T, D]`` about their means, over the rollouts that count, ``[]``."""
    centred = signals_of(values, present, (0.0,)).values[0] * rows[:, None]  # [D, B, T]
    together = (centred[..., 1:] * centred[..., :-1]).sum()
    return together / centred.square().sum().clamp(min=1e-300)
