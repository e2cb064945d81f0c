"""Counterfactual scripts must begin with one frame."""

from __future__ import annotations

import torch
from torch import Tensor

from wmscore.functional._check import check_number, check_tensor

__all__ = ["check_shared_start", "start_difference"]


def start_difference(first: Tensor) -> Tensor:
    """How far each script's initial frame is from the commanded one's, ``[G, K]`` float64.

    Args:
        first: initial frames ``[G, K, C, H, W]``, ``uint8`` or floating point.

    Returns:
        The largest difference of a value, in units of the frames; NaN where a frame holds NaN.

    Raises:
        ValueError: another shape.
        TypeError: not a tensor of frames.
    """
    check_tensor("first", first)
    if first.dtype != torch.uint8 and not first.is_floating_point():
        raise TypeError(f"first must be uint8 or floating point, got {first.dtype}")
    if first.ndim != 5:
        raise ValueError(f"first must have shape [G, K, C, H, W], got {tuple(first.shape)}")
    return (first.double() - first[:, :1].double()).abs().flatten(2).amax(2)


def check_shared_start(first: Tensor, *, name: str = "frames", tolerance: float = 0.0) -> None:
    """Refuse groups whose scripts do not begin with the same frame. Waits for the device.

    Args:
        first: initial frames ``[G, K, C, H, W]``.
        name: of the argument that they come from, for the message.
        tolerance: largest difference of a value that still counts as the same.

    Raises:
        ValueError: says which group and script, and from which difference.
    """
    check_number("tolerance", tolerance, low=0.0)
    apart = start_difference(first)
    wrong = ~(apart <= tolerance)
    if bool(wrong.any()):
        some = [
            f"group {g}, script {k} (by up to {float(apart[g, k]):g})"
            for g, k in wrong.nonzero()[:5].tolist()
        ]
        raise ValueError(
            f"{name}: the scripts of a group must begin with the same frame; other than script 0's "
            f"in {int(wrong.sum())} of {wrong.numel()}: {', '.join(some)}"
        )
