"""Agreement of two orders."""

from __future__ import annotations

import torch
from torch import Tensor

from wmscore.stats._check import check_values

__all__ = ["kendall_tau"]


def kendall_tau(x: Tensor, y: Tensor) -> Tensor:
    r"""Kendall's tau-b between two rankings, or between the scores that make them.

    .. math:: \tau = \frac{C - D}{\sqrt{(P - T_x)(P - T_y)}}

    over all P pairs: C in the same order in both, D in opposite orders, T tied in one.

    Args:
        x: ``[..., N]``, floating point. Items that are NaN in either are left out.
        y: ``[..., N]``, floating point; broadcasts with `x`.

    Returns:
        Float64 ``[...]`` in [-1, 1]; NaN where all items are tied in one, or fewer than two are
        left.

    Raises:
        TypeError: not floating point tensors.
        ValueError: no dim of items, or numbers of items that differ.

    Source:
        Kendall, The Treatment of Ties in Ranking Problems, Biometrika 33 (1945).

    Example:
        >>> import torch
        >>> round(kendall_tau(torch.tensor([1.0, 2, 3, 4]), torch.tensor([1.0, 3, 2, 4])).item(), 4)
        0.6667
    """
    for name, value in (("x", x), ("y", y)):
        check_values(name, value)
        if value.ndim == 0:
            raise ValueError(f"{name} must have shape [..., N], got ()")
    if x.shape[-1] != y.shape[-1]:
        raise ValueError(f"y must have as many items as x, {x.shape[-1]}, got {y.shape[-1]}")
    shape = (x * y).shape
    x, y = x.expand(shape), y.expand(shape)
    there = ~(x.isnan() | y.isnan())
    net, in_x, in_y = (
        torch.zeros(x.shape[:-1], dtype=torch.int64, device=x.device) for _ in range(3)
    )
    for i in range(1, x.shape[-1]):
        pair = there[..., :i] & there[..., i, None]
        # Comparisons, as the difference of two infinite scores has no sign.
        of_x, of_y = (
            torch.where(
                pair, (v[..., :i] > v[..., i, None]).int() - (v[..., :i] < v[..., i, None]).int(), 0
            )
            for v in (x, y)
        )
        net += (of_x * of_y).sum(-1)
        in_x += of_x.abs().sum(-1)
        in_y += of_y.abs().sum(-1)
    return net.to(torch.float64) / (in_x.to(torch.float64) * in_y).sqrt()
