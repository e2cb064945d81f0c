"""Distances between all frames of a rollout."""

from __future__ import annotations

import torch
from torch import Tensor

from wmscore.functional._check import check_frames, data_range_of
from wmscore.ops import FrameErrors, frame_errors

__all__ = ["frame_distances"]


def frame_distances(frames: Tensor, *, data_range: float | None = None) -> Tensor:
    r"""Mean absolute difference between all frames of each rollout: its recurrence matrix.

    .. math:: d_{ij} = \frac1P \sum_p |x_{ip} - x_{jp}| \, / \, \mathrm{range}

    A metric, so that :math:`d_{ij} \le d_{ik} + d_{kj}`. Exact sums for ``uint8``, by the kernel
    `frame_errors`, pair by pair.

    Args:
        frames: ``[..., T, C, H, W]``, uint8 or floating point.
        data_range: of a value; ``None`` means 255 for ``uint8`` and 1.0 for floats.

    Returns:
        Float64 ``[..., T, T]``; NaN where a frame has NaN, also on the diagonal.

    Raises:
        TypeError: not a tensor of frames.
        ValueError: fewer than four dims.

    Example:
        >>> frames = torch.tensor([0, 0, 255], dtype=torch.uint8).view(3, 1, 1, 1)
        >>> frame_distances(frames).tolist()
        [[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0]]
    """
    check_frames(frames=frames)
    if frames.dim() < 4:
        raise ValueError(f"frames: expected [..., T, C, H, W], got {list(frames.shape)}")
    scale = data_range_of(frames.dtype, data_range)
    lead, steps = frames.shape[:-4], frames.shape[-4]
    size = frames.shape[-3:].numel()
    found = torch.zeros(lead.numel(), steps, steps, dtype=torch.float64, device=frames.device)
    # Views, not gathered pairs: those would be copied, which takes longer than the comparison.
    for film, place in zip(frames.reshape(-1, *frames.shape[-4:]), found, strict=True):
        for lag in range(steps):
            errors = frame_errors(film[lag:], film[: steps - lag])
            apart = FrameErrors(*errors.unbind(-1)).absolute_error.sum(-1).double() / size / scale
            place.diagonal(lag).copy_(apart)
            place.diagonal(-lag).copy_(apart)
    return found.view(*lead, steps, steps)
