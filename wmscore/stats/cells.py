"""What a paired comparison takes from its cells: sums within scenarios, in one pass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.stats._sums import sum_scenarios

__all__ = ["CellSums", "cell_correlation", "cell_sums", "pieces"]

_PIECE = 1 << 16  # cells at a time on a CPU: half a MiB each, which stay in a cache
_PIECE_DEVICE = 1 << 24
_TIED = 1e-12  # share of the values' size below which a spread is rounding


class CellSums(NamedTuple):
    """Of pairs that both models have, `[S, ...]` each; means are NaN for a scenario without one.

    Attributes:
        pairs: int64, how many.
        first: mean of the one model.
        second: of the other.
        delta: mean difference, second - first.
        squares: sum of squared differences around `delta`.
        first_squares: of the one model around its mean.
        second_squares: of the other.
        products: sum of the products of both around their means.
        size: largest absolute value.
    """

    pairs: Tensor
    first: Tensor
    second: Tensor
    delta: Tensor
    squares: Tensor
    first_squares: Tensor
    second_squares: Tensor
    products: Tensor
    size: Tensor


def cell_sums(first: Tensor, second: Tensor) -> CellSums:
    """Of cells `[S, K, ...]`; a few scenarios at a time, so that there are no temporaries of all.

    The rounding of a scenario's sums depends on its own cells alone.
    """
    inner = first.shape[2:]
    parts = [_of_piece(one, two) for one, two in pieces(first, second)]
    return CellSums(
        *(torch.cat(part).reshape(len(first), *inner) for part in zip(*parts, strict=True))
    )


def pieces(*cells: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Some scenarios at a time of cells `[S, K, ...]`, float64 `[s, columns, K]` each."""
    scenarios, seeds = cells[0].shape[:2]
    columns = cells[0].shape[2:].numel()
    size = _PIECE if cells[0].device.type == "cpu" else _PIECE_DEVICE
    step = max(1, size // max(1, seeds * columns))
    for start in range(0, max(scenarios, 1), step):
        yield tuple(
            part[start : start + step]
            .reshape(-1, seeds, columns)
            .transpose(1, 2)
            .to(torch.float64)
            .contiguous()
            for part in cells
        )


def cell_correlation(sums: CellSums) -> Tensor:
    """Of both models around their scenario means, `[...]`; NaN where one of them does not vary."""
    shared, one, two = (
        sum_scenarios(part) for part in (sums.products, sums.first_squares, sums.second_squares)
    )
    scale = (one * two).sqrt()
    # Means of values that are all alike are off by rounding.
    pairs = sums.pairs.sum(0)
    largest = sums.size.amax(0) if len(sums.size) else torch.zeros_like(scale)
    varies = scale > (_TIED * largest).square() * pairs
    return torch.where(varies, (shared / scale).clamp(-1, 1), torch.nan)


def _of_piece(first: Tensor, second: Tensor) -> tuple[Tensor, ...]:
    """Of float64 `[s, columns, K]`, `[s, columns]` each."""
    delta = second - first
    gap = delta * 0.0  # NaN where either is missing: sums with it take less time than masks
    count = _sum((gap + 1.0).nan_to_num_(0.0))
    known = [values + gap for values in (first, second, delta)]
    means = [_sum(values.nan_to_num(0.0)) / count for values in known]
    one, two, rest = (
        (values - mean[..., None]).nan_to_num_(0.0)
        for values, mean in zip(known, means, strict=True)
    )
    first, second = (values.nan_to_num_(0.0) for values in known[:2])
    size = torch.maximum(first.abs(), second.abs())
    return (
        count.to(torch.int64),
        *means,
        _sum(rest.square()),
        _sum(one.square()),
        _sum(two.square()),
        _sum(one * two),
        size.amax(-1) if size.shape[-1] else size.sum(-1),
    )


def _sum(values: Tensor) -> Tensor:
    """Over the last dim, each row in an order of its own length alone."""
    if values.device.type != "cpu":
        return values.cumsum(-1)[..., -1] if values.shape[-1] else values.sum(-1)
    if values.shape[:-1].numel() == 1:  # a lone sum is split among threads
        return values.expand(2, *values.shape[1:]).sum(-1)[:1]
    return values.sum(-1)
