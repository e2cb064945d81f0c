"""Mean scores of several models over the steps that all of them define."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["shared_means"]

_PIECE = 1 << 17  # values of one model at a time on a CPU, which stay in a cache
_PIECE_DEVICE = 1 << 26


def shared_means(curves: Sequence[Tensor], there: Tensor | None = None) -> Tensor:
    """Mean of each row of each model over the steps at which all models are defined.

    Rows are taken a few at a time, so that no copy of the curves is made.

    Args:
        curves: of each of M models, ``[R, T]`` floating point on one device. NaN and infinite
            values are undefined.
        there: ``[R]`` bool, rows that count; ``None`` means all.

    Returns:
        ``[M, R]`` float64; NaN for a row that does not count or has no such step.

    Raises:
        TypeError: curves that are no floating point tensors.
        ValueError: no curves, or shapes that differ.

    Example:
        >>> import torch
        >>> old, new = torch.tensor([[0.5, 1.0, 0.0]]), torch.tensor([[0.25, 0.75, torch.nan]])
        >>> shared_means([old, new]).tolist()
        [[0.75], [0.5]]
    """
    if not curves:
        raise ValueError("curves: expected those of at least one model, got none")
    for curve in curves:
        if not isinstance(curve, Tensor) or not curve.is_floating_point():
            kind = curve.dtype if isinstance(curve, Tensor) else type(curve).__name__
            raise TypeError(f"curves: expected floating point tensors, got {kind}")
        if curve.ndim != 2 or curve.shape != curves[0].shape:
            shapes = [tuple(c.shape) for c in curves]
            raise ValueError(f"curves: expected one shape [R, T] for all models, got {shapes}")
    rows, steps = curves[0].shape
    found = torch.empty(len(curves), rows, dtype=torch.float64, device=curves[0].device)
    size = _PIECE if found.device.type == "cpu" else _PIECE_DEVICE
    step = max(1, size // max(1, steps))
    for start in range(0, rows, step):
        part = [curve[start : start + step] for curve in curves]
        if part[0].element_size() < 4:
            part = [values.to(torch.float32) for values in part]
        # Sums with NaN, and NaN made 0, take a fraction of the time of masks.
        gap = sum(part[1:], start=part[0]) * 0.0  # NaN where any of them is undefined
        count = (gap + 1.0).nan_to_num_(0.0).sum(1)
        for model, values in enumerate(part):
            sums = (values + gap).nan_to_num_(0.0).sum(1, dtype=torch.float64)
            torch.div(sums, count, out=found[model, start : start + step])
    return found if there is None else found.masked_fill_(~there, torch.nan)
