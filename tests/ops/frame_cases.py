"""What the tests of frame_errors and of frame_region_errors share: frames and what is summed."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

DTYPES = [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.needs_cuda)]
# From a tensor [N, C, H, W] to one of the same shape and values but other strides.
LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x.contiguous(),
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "columns_first": lambda x: x.mT.contiguous().mT,
    "every_other_pixel": lambda x: torch.stack([x, x], dim=-1).flatten(-2)[..., ::2],
    "cropped": lambda x: torch.nn.functional.pad(x, (1, 2, 1, 1))[..., 1:-1, 1:-2],
    "unaligned": lambda x: torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape),
    "rgb_of_rgba": lambda x: torch.cat([x, x[:, :1]], dim=1)[:, : x.shape[1]],
    "rgb_of_interleaved_rgba": lambda x: torch.cat([x, x[:, :1]], dim=1).contiguous(
        memory_format=torch.channels_last
    )[:, : x.shape[1]],
}


def random_frames(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    if dtype == torch.uint8:
        return torch.randint(0, 256, shape, dtype=dtype)
    return torch.randn(shape, dtype=torch.float64).to(dtype)


def terms(preds: Tensor, target: Tensor) -> np.ndarray:
    """What is summed, `[N, C, H * W, 6]` in int64 or float64, by numpy."""
    wide = np.int64 if preds.dtype == torch.uint8 else np.float64
    p, t = (
        (x if x.dtype == torch.uint8 else x.double()).cpu().numpy().astype(wide)
        for x in (preds, target)
    )
    flat = (*p.shape[:2], p.shape[2] * p.shape[3])
    p, t = p.reshape(flat), t.reshape(flat)
    return np.stack([(p - t) ** 2, np.abs(p - t), p, t, p * p, t * t], axis=-1)
