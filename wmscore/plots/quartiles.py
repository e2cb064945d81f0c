"""Quartiles over rows at every step."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["quartiles"]

_QUARTILES = (0.25, 0.5, 0.75)


def quartiles(values: Tensor) -> Tensor:
    """Lower quartile, median and upper quartile of `[R, T]` over the defined rows, `[3, T]`.

    Infinite values sort like any others. NaN where no row is defined.

    Example:
        >>> quartiles(torch.tensor([[0.0], [1.0], [torch.nan]]))[:, 0].tolist()
        [0.25, 0.5, 0.75]
    """
    ordered = values.sort(0).values  # NaN last
    last = (~values.isnan()).sum(0).to(ordered.dtype) - 1
    rows = []
    for q in _QUARTILES:
        place = (last * q).clamp_min(0)
        low = ordered.gather(0, place.floor().long()[None])[0]
        high = ordered.gather(0, place.ceil().long()[None])[0]
        # Equal neighbours first: between two infinities there is no difference to weigh.
        rows.append(torch.where(low == high, low, torch.lerp(low, high, place - place.floor())))
    return torch.stack(rows)
