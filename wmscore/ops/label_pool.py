"""Mean feature vector of each object's label pixels, in one read of features and labels."""

from __future__ import annotations

import torch
from torch import Tensor

from wmscore.ops._check import FRAME_DTYPES
from wmscore.ops._library import op

__all__ = ["LABEL_DTYPES", "MOST_IDS", "label_pool"]

LABEL_DTYPES = (torch.uint8, torch.int16, torch.int32, torch.int64)
MOST_IDS = 255  # of one frame
_CHUNK = 1 << 24  # values that the torch function takes at a time


def check_pool(features: Tensor, labels: Tensor, ids: Tensor) -> None:
    """Refuse features, labels or ids that do not fit each other.

    Raises:
        TypeError: an argument is not a tensor, or of the wrong dtype.
        ValueError: shapes or devices do not fit, or a frame has more than `MOST_IDS` ids.
    """
    dtypes = {"features": FRAME_DTYPES, "labels": LABEL_DTYPES, "ids": (torch.int64,)}
    shapes = {"features": "[F, C, h, w]", "labels": "[F, H, W]", "ids": "[F, N]"}
    for name, value in (("features", features), ("labels", labels), ("ids", ids)):
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
        if value.dtype not in dtypes[name]:
            expected = ", ".join(str(dtype).removeprefix("torch.") for dtype in dtypes[name])
            raise TypeError(f"{name} must have one of the dtypes {expected}, got {value.dtype}")
        if value.dim() != shapes[name].count(",") + 1:
            raise ValueError(f"{name} must have shape {shapes[name]}, got {tuple(value.shape)}")
        if value.shape[0] != features.shape[0]:
            raise ValueError(
                f"{name} must have as many frames as features, {features.shape[0]}, "
                f"got {value.shape[0]}"
            )
        if value.device != features.device:
            raise ValueError(
                f"{name} must be on {features.device} like features, got {value.device}"
            )
    if ids.shape[1] > MOST_IDS:
        raise ValueError(f"ids must have at most {MOST_IDS} for each frame, got {ids.shape[1]}")
    if features.shape[2:].numel() == 0 and labels.shape[1:].numel() > 0:
        raise ValueError(
            f"features of shape {tuple(features.shape)} have no cell for the pixels of labels, "
            f"{tuple(labels.shape)}"
        )


def _backward(
    needs: tuple[bool, ...],
    of_means: Tensor | None,
    of_counts: Tensor | None,
    features: Tensor,
    labels: Tensor,
    ids: Tensor,
) -> tuple[Tensor | None, ...]:
    """Each pixel gives its cell the gradient of its object's mean over the object's pixels."""
    if not needs[0] or of_means is None:
        return None, None, None
    chunks = [
        _of_features(*parts)
        for parts in zip(*_chunks(features, labels, of_means, features, labels, ids), strict=True)
    ]
    return torch.cat(chunks) if chunks else torch.zeros_like(features), None, None


def _of_features(of_means: Tensor, features: Tensor, labels: Tensor, ids: Tensor) -> Tensor:
    channels, cells = features.shape[1], features.shape[2:].numel()
    slot, first, counts = _slots(labels, ids)
    of_slot = _add_at(of_means.mT, first, ids.shape[1])  # an id that is there twice has two
    share = torch.nn.functional.pad(of_slot / counts[:, None, :-1].clamp(min=1), (0, 1))
    of_pixels = share.gather(2, slot[:, None].expand(-1, channels, -1))
    cell = _cells(features, labels)
    of_cells = _add_at(of_pixels, cell.expand(len(slot), -1), cells)
    return of_cells.reshape(features.shape).to(features.dtype)


@op(check_pool, backward=_backward)
def label_pool(features: Tensor, labels: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Mean feature vector of each object, over the pixels that bear its label.

    The pixel (y, x) of `labels` reads the cell (⌊y h / H⌋, ⌊x w / W⌋) of `features`. With equal
    sizes that is the pixel itself; a coarser map, such as a network's of stride 8, counts each of
    its cells by the object's pixels in it (mask average pooling, as in Zhang et al. 2020,
    arXiv:1810.09091, §3.2, with the map enlarged to the mask by its nearest cell).

    Args:
        features: `[F, C, h, w]`, uint8 or floating, any strides: pixels or a feature map.
        labels: `[F, H, W]`, uint8, int16, int32 or int64, any strides, may be expanded.
        ids: int64 `[F, N]`, N at most 255, which labels to pool in each frame; may be expanded. 0
            stands for no object, whatever the labels are.

    Returns:
        The means `[F, N, C]`, float32 (float64 for float64 features), NaN where an object has no
        pixel; and the pixels of each object, int64 `[F, N]`. uint8 features are summed exactly, the
        others in float64, in one order whatever the batch; NaN and infinite features
        reach their own object only. An id that is there twice has its mean twice. Differentiable
        with respect to floating features, more than once.

    Raises:
        TypeError: not tensors, or not of one of the dtypes.
        ValueError: shapes or devices do not fit, or there are more than 255 ids.

    Example:
        >>> features = torch.tensor([[[[1.0, 3.0], [5.0, 9.0]]]])
        >>> labels = torch.tensor([[[7, 7], [7, 2]]])
        >>> means, counts = label_pool(features, labels, torch.tensor([[7, 2, 4, 0]]))
        >>> means[0, :, 0], counts
        (tensor([3., 9., nan, nan]), tensor([[3, 1, 0, 0]]))
    """
    kind = torch.float64 if features.dtype == torch.float64 else torch.float32
    exact = torch.int64 if features.dtype == torch.uint8 else torch.float64
    means = []
    counts = []
    for part, of_part, wanted in zip(
        *_chunks(features, labels, features, labels, ids), strict=True
    ):
        slot, first, in_slot = _slots(of_part, wanted)
        cell = _cells(part, of_part)
        values = part.flatten(2).index_select(2, cell).to(exact)
        sums = _add_at(values, slot, wanted.shape[1] + 1).mT  # [F, N + 1, C]
        of_slot = sums.double() / in_slot[..., None]
        # Padding and what is not there find the mean of no pixel.
        found = of_slot.gather(1, first[..., None].expand(-1, -1, part.shape[1]))
        there = wanted != 0
        means.append(found.where(there[..., None], torch.nan).to(kind))
        counts.append(in_slot.gather(1, first).where(there, 0))
    if not means:
        shape = *ids.shape, features.shape[1]
        return features.new_empty(shape, dtype=kind), ids.new_empty(ids.shape)
    return torch.cat(means), torch.cat(counts)


def _chunks(features: Tensor, labels: Tensor, *split: Tensor) -> list[tuple[Tensor, ...]]:
    """Each of `split`, cut into some frames at a time."""
    values = max(1, features.shape[1]) * max(1, labels.shape[1:].numel())
    frames = max(1, _CHUNK // values)
    if features.shape[0] == 0:
        return [() for _ in split]
    return [torch.split(x, frames) for x in split]


def _slots(labels: Tensor, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The slot of each pixel `[F, HW]`, N for none; that of each id `[F, N]`; pixels `[F, N + 1]`.

    Slots are ids in ascending order. Of ids that are the same the first one has the pixels.
    """
    count = ids.shape[1]
    wanted = ids.sort(1).values.contiguous()
    flat = labels.flatten(1).to(torch.int64).contiguous()
    place = torch.searchsorted(wanted, flat)
    padded = torch.nn.functional.pad(wanted, (0, 1))
    is_there = (padded.gather(1, place) == flat) & (flat != 0) & (place < count)
    slot = place.where(is_there, count)
    pixels = torch.zeros_like(padded).scatter_add(1, slot, torch.ones_like(slot))
    return slot, torch.searchsorted(wanted, ids.contiguous()), pixels


def _cells(features: Tensor, labels: Tensor) -> Tensor:
    """The cell that each pixel reads, `[HW]`."""
    height, width = labels.shape[1:]
    y, x = (torch.arange(side, device=labels.device) for side in (height, width))
    rows, columns = features.shape[2:]
    return (
        (y * rows // max(1, height) * columns)[:, None].add(x * columns // max(1, width)).flatten()
    )


def _add_at(values: Tensor, place: Tensor, size: int) -> Tensor:
    """`[F, C, P]` to `[F, C, size]`: sums of the values of each place, in their order."""
    frames, channels, _ = values.shape
    sums = values.new_zeros(frames, channels, size)
    # On a GPU scatter_add adds atomically, in any order; accumulation by index_put sorts.
    if sums.device.type == "cpu" or not sums.dtype.is_floating_point:
        return sums.scatter_add(2, place[:, None].expand(-1, channels, -1), values)
    frame = torch.arange(frames, device=sums.device)[:, None, None]
    channel = torch.arange(channels, device=sums.device)[:, None]
    return sums.index_put((frame, channel, place[:, None]), values, accumulate=True)
