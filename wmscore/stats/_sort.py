"""Sorting of many numbers."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["sort_last"]


def sort_last(values: Tensor) -> Tensor:
    """Sorted along the last dim, NaN last."""
    if values.device.type == "cpu":
        # Several times quicker than torch's, which also says where each value came from.
        return torch.from_numpy(np.sort(values.detach().numpy(), axis=-1))
    return values.sort(-1).values
