"""Errors of the ops, in words: what was expected and what came."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["FRAME_DTYPES", "check_dtypes", "check_frame_pair", "check_frames", "check_one_device"]

FRAME_DTYPES = (torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64)


def check_dtypes(dtypes: Sequence[torch.dtype] = FRAME_DTYPES, /, **tensors: Tensor) -> None:
    """Refuse anything but tensors of one of `dtypes`, and of the same.

    Raises:
        TypeError: one is not a tensor, its dtype is not one of `dtypes`, or two dtypes differ.
    """
    for name, value in tensors.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
        if value.dtype not in dtypes:
            expected = ", ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
            raise TypeError(f"{name} must have one of the dtypes {expected}, got {value.dtype}")
    (first, one), *others = tensors.items()
    for name, value in others:
        if value.dtype != one.dtype:
            raise TypeError(
                f"{first} and {name} must have one dtype, got {one.dtype} and {value.dtype}"
            )


def check_one_device(**tensors: Tensor) -> None:
    """Refuse tensors on different devices.

    Raises:
        ValueError: two devices differ.
    """
    (first, one), *others = tensors.items()
    for name, value in others:
        if value.device != one.device:
            raise ValueError(
                f"{first} and {name} must be on one device, got {one.device} and {value.device}"
            )


def check_frame_pair(
    preds: Tensor, target: Tensor, *, dtypes: Sequence[torch.dtype] = FRAME_DTYPES
) -> None:
    """Refuse anything but two tensors `[N, C, H, W]` of one shape, dtype and device.

    Raises:
        TypeError: an argument is not a tensor, or its dtype is not one of `dtypes`.
        ValueError: the shapes or the devices differ, or the shape is not `[N, C, H, W]`.
    """
    check_dtypes(dtypes, preds=preds, target=target)
    if preds.dim() != 4 or preds.shape != target.shape:
        raise ValueError(
            "preds and target must have one shape [N, C, H, W], "
            f"got {tuple(preds.shape)} and {tuple(target.shape)}"
        )
    check_one_device(preds=preds, target=target)


def check_frames(frames: Tensor, previous: Tensor | None = None) -> None:
    """Refuse anything but frames `[N, C, H, W]`, C of 1 or 3, and such frames before them.

    Raises:
        TypeError: an argument is not a tensor, or its dtype is not one of `FRAME_DTYPES`.
        ValueError: the shapes or the devices differ, or the shape is not `[N, C, H, W]` with C of
            1 or 3.
    """
    given = {"frames": frames} if previous is None else {"frames": frames, "previous": previous}
    check_dtypes(**given)
    if frames.dim() != 4 or frames.shape[1] not in (1, 3):
        raise ValueError(
            f"frames must have shape [N, C, H, W] with C = 1 or C = 3, got {tuple(frames.shape)}"
        )
    if previous is not None and previous.shape != frames.shape:
        raise ValueError(
            "frames and previous must have one shape, "
            f"got {tuple(frames.shape)} and {tuple(previous.shape)}"
        )
    check_one_device(**given)
