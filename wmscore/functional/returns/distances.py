"""Distances between all frames of a rollout."""

from __future__ import annotations

import torch
from torch import Tensor

from wmscore.functional._check import check_frames, data_range_of
from wmscore.functional._chunks import piece_elements

__all__ = ["frame_distances"]


def frame_distances(frames: Tensor, *, data_range: float | None = None) -> Tensor:
    r"""Root mean square difference between all frames of each rollout: its recurrence matrix.

    .. math:: d_{ij} = \sqrt{\frac1P \sum_p (x_{ip} - x_{jp})^2} \, / \, \mathrm{range}

    A metric, so that :math:`d_{ij} \le d_{ik} + d_{kj}`. Exact sums for ``uint8``; of floats a
    distance below 1e-7 is not told from 0. One pass over the pixels, some widened at a time.

    Args:
        frames: ``[..., T, C, H, W]``, uint8 or floating point.
        data_range: of a value; ``None`` means 255 for ``uint8`` and 1.0 for floats.

    Returns:
        Float64 ``[..., T, T]``, 0 on the diagonal; NaN where a frame has NaN.

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
    pixels = frames.reshape(lead.numel(), steps, -1)
    size = pixels.shape[-1]
    values = 2 * piece_elements(frames.device)
    columns = min(size, max(256, values // max(1, steps)))
    rows = max(1, values // max(1, steps * columns))
    found = []
    for some in torch.split(pixels, rows):
        gram = some.new_zeros((len(some), steps, steps), dtype=torch.float64)
        for part in torch.split(some, columns, -1):
            wide = part.double()
            gram.baddbmm_(wide, wide.mT)
        found.append(gram)
    gram = torch.cat(found) if found else pixels.new_zeros(0, steps, steps, dtype=torch.float64)
    power = gram.diagonal(dim1=-2, dim2=-1)
    squares = power[..., :, None] + power[..., None, :] - 2 * gram
    distances = (squares.clamp_min(0) / size).sqrt() / scale
    same = torch.eye(steps, dtype=torch.bool, device=frames.device)
    return torch.where(same & distances.isfinite(), 0.0, distances).view(*lead, steps, steps)
