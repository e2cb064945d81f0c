"""Argument checks of ``wmscore.functional``: the only place that words its shape and dtype errors.

All checks read metadata on the host; none reads a value on a device.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = [
    "check_along",
    "check_broadcast",
    "check_channels",
    "check_choice",
    "check_count",
    "check_curve",
    "check_embeddings",
    "check_first_labels",
    "check_frames",
    "check_ids",
    "check_label_pair",
    "check_labels",
    "check_mask",
    "check_number",
    "check_per_axis",
    "check_per_curve",
    "check_rollouts",
    "check_side",
    "check_tensor",
    "check_vectors",
    "check_whole",
    "data_range_of",
]

FRAME_DTYPES = (torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64)
LABEL_DTYPES = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def check_tensor(name: str, value: object) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")


def _check_alike(tensors: dict[str, Tensor], layout: str) -> None:
    (first_name, first), *others = tensors.items()
    for name, tensor in others:
        if tensor.shape != first.shape:
            raise ValueError(
                f"{first_name} and {name} must have one shape {layout}, got "
                f"{tuple(first.shape)} and {tuple(tensor.shape)}"
            )
        if tensor.device != first.device:
            raise ValueError(
                f"{first_name} and {name} must be on one device, got "
                f"{first.device} and {tensor.device}"
            )


def check_frames(**frames: Tensor) -> None:
    """Frames of one shape ``[..., C, H, W]``, one dtype and one device, with at least one pixel."""
    for name, tensor in frames.items():
        check_tensor(name, tensor)
        if tensor.dtype not in FRAME_DTYPES:
            raise TypeError(
                f"{name} must be uint8 (0..255) or floating point (0..1), got {tensor.dtype}"
            )
        if tensor.ndim < 3 or 0 in tensor.shape[-3:]:
            raise ValueError(
                f"{name} must have shape [..., C, H, W] with at least one pixel, "
                f"got {tuple(tensor.shape)}"
            )
    _check_alike(frames, "[..., C, H, W]")
    (first_name, first), *others = frames.items()
    for name, tensor in others:
        if tensor.dtype != first.dtype:
            raise TypeError(
                f"{first_name} and {name} must have one dtype (uint8 is 0..255, floats are 0..1), "
                f"got {first.dtype} and {tensor.dtype}"
            )


def data_range_of(dtype: torch.dtype, data_range: float | None) -> float:
    """Distance between the darkest and the brightest value: from the dtype, never from the data."""
    if data_range is None:
        return 255.0 if dtype == torch.uint8 else 1.0
    check_number("data_range", data_range, low=0.0, low_is_allowed=False)
    return float(data_range)


def check_side(frames: Tensor, side: int, what: str) -> None:
    """Frames must be at least ``side`` pixels high and wide."""
    height, width = frames.shape[-2:]
    if min(height, width) < side:
        raise ValueError(
            f"{what} needs frames of at least {side} x {side} pixels, got {height} x {width}"
        )


def check_labels(**labels: Tensor) -> None:
    """Integer label maps of one shape ``[B, T, H, W]`` with at least one step and one pixel."""
    for name, tensor in labels.items():
        _check_label_map(name, tensor, "[B, T, H, W]")
    _check_alike(labels, "[B, T, H, W]")


def _check_label_map(name: str, tensor: object, layout: str) -> None:
    check_tensor(name, tensor)
    assert isinstance(tensor, Tensor)
    if tensor.dtype not in LABEL_DTYPES:
        raise TypeError(f"{name} must be an integer label map, got {tensor.dtype}")
    if tensor.ndim != 4 or 0 in tensor.shape[1:]:
        raise ValueError(
            f"{name} must have shape {layout} with at least one step and one pixel, "
            f"got {tuple(tensor.shape)}"
        )


def check_label_pair(
    preds_labels: Tensor, target_labels: Tensor, target_index: Tensor | None
) -> None:
    """Two label maps of one shape, or with an index ``[B]`` into the rows of the reference's."""
    if target_index is None:
        check_labels(preds_labels=preds_labels, target_labels=target_labels)
        return
    _check_label_map("preds_labels", preds_labels, "[B, T, H, W]")
    _check_label_map("target_labels", target_labels, "[S, T, H, W]")
    if preds_labels.shape[1:] != target_labels.shape[1:]:
        raise ValueError(
            "preds_labels and target_labels must have the same [T, H, W], got "
            f"{tuple(preds_labels.shape)} and {tuple(target_labels.shape)}"
        )
    check_tensor("target_index", target_index)
    if target_index.dtype != torch.int64:
        raise TypeError(f"target_index must be int64, got {target_index.dtype}")
    if target_index.shape != preds_labels.shape[:1]:
        raise ValueError(
            f"target_index must have shape [B] with B = {preds_labels.shape[0]}, "
            f"got {tuple(target_index.shape)}"
        )
    for name, tensor in (("target_labels", target_labels), ("target_index", target_index)):
        if tensor.device != preds_labels.device:
            raise ValueError(
                f"{name} must be on {preds_labels.device} like preds_labels, got {tensor.device}"
            )
    # Reading values is free on the CPU only; elsewhere it would stall the device.
    if target_index.device.type == "cpu" and target_index.numel():
        low, high = (int(value) for value in target_index.aminmax())
        if low < 0 or high >= target_labels.shape[0]:
            raise ValueError(
                f"target_index must lie in 0..{target_labels.shape[0] - 1}, the rows of "
                f"target_labels, got {low}..{high}"
            )


def check_first_labels(first_labels: Tensor, rows: int, size: tuple[int, int], what: str) -> None:
    """Label maps of one frame for each row, ``[B, H, W]``, of the size of ``what``."""
    check_tensor("first_labels", first_labels)
    if first_labels.dtype not in LABEL_DTYPES:
        raise TypeError(f"first_labels must be an integer label map, got {first_labels.dtype}")
    expected = (rows, *size)
    if tuple(first_labels.shape) != expected:
        raise ValueError(
            f"first_labels must have shape [B, H, W] = {expected} like {what}, "
            f"got {tuple(first_labels.shape)}"
        )


def check_ids(
    ids: Tensor, labels: Tensor, largest: int, most: int | None = None, *, name: str = "ids"
) -> None:
    """Distinct object ids ``[B, N]``, one row per row of ``labels``, in 0..largest, 0 = padding."""
    check_tensor(name, ids)
    if ids.dtype not in LABEL_DTYPES:
        raise TypeError(f"{name} must be integers, got {ids.dtype}")
    if ids.ndim != 2 or ids.shape[0] != labels.shape[0]:
        raise ValueError(
            f"{name} must have shape [B, N] with B = {labels.shape[0]}, got {tuple(ids.shape)}"
        )
    if most is not None and ids.shape[1] > most:
        raise ValueError(f"{name} must list at most {most} objects, got {ids.shape[1]}")
    if ids.device != labels.device:
        raise ValueError(f"{name} must be on {labels.device} like the labels, got {ids.device}")
    # Reading values is free on the CPU only; elsewhere it would stall the device.
    if ids.device.type == "cpu" and ids.numel():
        low, high = (int(value) for value in ids.aminmax())
        if low < 0 or high > largest:
            raise ValueError(f"{name} must lie in 0..{largest}, got {low}..{high}")
        ordered = ids.sort(dim=1).values
        repeated = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] > 0)
        if repeated.any():
            row, place = repeated.nonzero()[0].tolist()
            raise ValueError(
                f"{name} must be distinct, got {int(ordered[row, place])} twice in row {row}"
            )


def check_mask(
    name: str,
    mask: Tensor,
    shape: tuple[int, ...],
    device: torch.device,
    *,
    like: str = "the scores",
) -> None:
    """Boolean mask that broadcasts to ``shape``."""
    check_tensor(name, mask)
    if mask.dtype != torch.bool:
        raise TypeError(f"{name} must be bool, got {mask.dtype}")
    check_broadcast(name, mask, shape)
    if mask.device != device:
        raise ValueError(f"{name} must be on {device} like {like}, got {mask.device}")


def check_broadcast(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    fits = tensor.ndim <= len(shape) and all(
        size in (1, wanted)
        for size, wanted in zip(tensor.shape, shape[len(shape) - tensor.ndim :], strict=True)
    )
    if not fits:
        raise ValueError(
            f"{name} must have a shape that broadcasts to {shape}, got {tuple(tensor.shape)}"
        )


def check_curve(name: str, scores: Tensor, ndim: int | None = None) -> None:
    """Floating point curves ``[..., T]`` with at least one step; ``[A, B, T]`` when ndim is 3."""
    check_tensor(name, scores)
    if not scores.is_floating_point():
        raise TypeError(f"{name} must be floating point, got {scores.dtype}")
    layout = "[..., T]" if ndim is None else "[A, B, T]"
    wrong_rank = scores.ndim < 1 if ndim is None else scores.ndim != ndim
    if wrong_rank or scores.shape[-1] == 0 or (ndim is not None and scores.shape[0] == 0):
        raise ValueError(
            f"{name} must have shape {layout} with at least one step (and axis), "
            f"got {tuple(scores.shape)}"
        )


def check_along(name: str, value: object, curve: Tensor, *, same: bool = False) -> None:
    """A floating point tensor that broadcasts to a curve `[..., T]`, or has the same shape."""
    check_tensor(name, value)
    assert isinstance(value, Tensor)
    if not value.is_floating_point():
        raise TypeError(f"{name} must be floating point, got {value.dtype}")
    if value.device != curve.device:
        raise ValueError(f"{name} must be on {curve.device}, got {value.device}")
    if same and value.shape != curve.shape:
        raise ValueError(f"{name} must have shape {tuple(curve.shape)}, got {tuple(value.shape)}")
    check_broadcast(name, value, tuple(curve.shape))


def check_per_curve(
    name: str, value: object, curves: tuple[int, ...], *, whole: bool = False
) -> None:
    """A number, or a tensor that broadcasts to the curves' shape ``[...]`` (their T left out)."""
    if isinstance(value, Tensor):
        floating = value.is_floating_point()
        if value.is_complex() or value.dtype == torch.bool or (whole and floating):
            kind = "integers" if whole else "real numbers"
            raise TypeError(f"{name} must hold {kind}, got {value.dtype}")
        check_broadcast(name, value, curves)
        if whole and value.device.type == "cpu" and value.numel() and int(value.min()) < 1:
            raise ValueError(f"{name} must be at least 1, got {int(value.min())}")
    elif whole:
        check_count(name, value)
    else:
        check_number(name, value)


def check_per_axis(name: str, value: Tensor, axes: int) -> None:
    """A tensor ``[A]``."""
    check_tensor(name, value)
    if tuple(value.shape) != (axes,):
        raise ValueError(
            f"{name} must have shape [A] = ({axes},), one value per axis, got {tuple(value.shape)}"
        )


def check_vectors(**vectors: Tensor) -> None:
    """Floating point vectors of one shape ``[..., D]``, one dtype and one device, D >= 1."""
    for name, tensor in vectors.items():
        check_tensor(name, tensor)
        if not tensor.is_floating_point():
            raise TypeError(f"{name} must be floating point, got {tensor.dtype}")
        if tensor.ndim < 1 or tensor.shape[-1] == 0:
            raise ValueError(
                f"{name} must have shape [..., D] with D >= 1, got {tuple(tensor.shape)}"
            )
    _check_alike(vectors, "[..., D]")
    (first_name, first), *others = vectors.items()
    for name, tensor in others:
        if tensor.dtype != first.dtype:
            raise TypeError(
                f"{first_name} and {name} must have one dtype, got {first.dtype} and {tensor.dtype}"
            )


def check_embeddings(name: str, embeddings: Tensor) -> None:
    """Floating point embeddings ``[B, T + 1, D]`` with at least one frame."""
    check_vectors(**{name: embeddings})
    if embeddings.ndim != 3 or embeddings.shape[1] == 0:
        raise ValueError(
            f"{name} must have shape [B, T + 1, D] with at least one frame, "
            f"got {tuple(embeddings.shape)}"
        )


def check_count(name: str, value: object) -> None:
    """A whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, got {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")


def check_whole(name: str, value: object) -> None:
    """A whole number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, got {type(value).__name__}")
    if value < 0:
        raise ValueError(f"{name} must be 0 or more, got {value}")


def check_number(
    name: str,
    value: object,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    low_is_allowed: bool = True,
) -> None:
    """A real number, not NaN, within low..high."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")
    inside = (low <= value if low_is_allowed else low < value) and value <= high
    if not inside:
        left = "at least" if low_is_allowed else "above"
        raise ValueError(f"{name} must be a number {left} {low} and at most {high}, got {value}")


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """One of a few words."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")


def check_channels(name: str, frames: Tensor, channels: tuple[int, ...]) -> None:
    """Frames ``[..., C, H, W]`` with one of a few numbers of channels."""
    if frames.shape[-3] not in channels:
        choices = " or C = ".join(map(str, channels))
        raise ValueError(
            f"{name} must have shape [..., C, H, W] with C = {choices}, got {tuple(frames.shape)}"
        )


def check_rollouts(name: str, frames: Tensor) -> None:
    """Frames ``[B, T + 1, C, H, W]``."""
    if frames.ndim != 5 or frames.shape[1] == 0:
        raise ValueError(
            f"{name} must have shape [B, T + 1, C, H, W] with at least one frame, "
            f"got {tuple(frames.shape)}"
        )
