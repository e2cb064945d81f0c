"""Which ids a label map has, in one read of the labels."""

from __future__ import annotations

import torch
from torch import Tensor

from wmscore.ops._library import op
from wmscore.ops.label_overlap import LABEL_DTYPES, LARGEST_ID

__all__ = ["label_present"]


def check_present(labels: Tensor, valid: Tensor | None = None) -> None:
    """Refuse what is no label map, or a mask that does not fit it.

    Raises:
        TypeError: an argument is not a tensor, or of the wrong dtype.
        ValueError: shapes or devices do not fit.
    """
    if not isinstance(labels, Tensor):
        raise TypeError(f"labels must be a torch.Tensor, got {type(labels).__name__}")
    if labels.dtype not in LABEL_DTYPES:
        expected = ", ".join(str(dtype).removeprefix("torch.") for dtype in LABEL_DTYPES)
        raise TypeError(f"labels must have one of the dtypes {expected}, got {labels.dtype}")
    if labels.dim() != 4:
        raise ValueError(f"labels must have shape [B, T, H, W], got {tuple(labels.shape)}")
    if valid is None:
        return
    if not isinstance(valid, Tensor):
        raise TypeError(f"valid must be a torch.Tensor or None, got {type(valid).__name__}")
    if valid.dtype != torch.bool:
        raise TypeError(f"valid must be bool, got {valid.dtype}")
    if valid.shape != labels.shape[:2]:
        raise ValueError(
            f"valid must have shape [B, T] = {tuple(labels.shape[:2])}, got {tuple(valid.shape)}"
        )
    if valid.device != labels.device:
        raise ValueError(f"valid must be on {labels.device} like labels, got {valid.device}")


@op(check_present)
def label_present(labels: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Find the ids of each row, and its smallest and largest label.

    Args:
        labels: labels `[B, T, H, W]`; uint8, int16, int32 or int64, any strides, read in place
            where the pixels of a frame follow each other.
        valid: bool `[B, T]`, steps to look at; None means all.

    Returns:
        - bool `[B, LARGEST_ID + 1]`, whether each id has a pixel. That of 0, background, is False;
          labels outside 0..`LARGEST_ID` have no place here;
        - int64 `[B, 2]`, the smallest of 0 and all labels, and the largest: what is outside shows.

        Equal between kernels. There is no gradient.

    Raises:
        TypeError: not tensors, or of the wrong dtype.
        ValueError: shapes or devices do not fit.

    Example:
        >>> present, extremes = label_present(torch.tensor([[[[0, 7, -2]], [[3, 7, 40000]]]]))
        >>> present.nonzero().tolist(), extremes.tolist()
        ([[0, 3], [0, 7]], [[-2, 40000]])
    """
    rows = labels.shape[0]
    if valid is not None:
        labels = labels.where(valid[:, :, None, None], 0)
    # With the 0 that is always met, no row is empty.
    met = torch.cat([labels.new_zeros(rows, 1), labels.flatten(1)], 1)
    low, high = met.amin(1), met.amax(1)  # aminmax of rows is slower
    ids = met.long()
    ids = ids.where((ids > 0) & (ids <= LARGEST_ID), 0)
    present = torch.zeros(rows, LARGEST_ID + 1, dtype=torch.bool, device=labels.device)
    present.scatter_(1, ids, True)
    present[:, 0] = False
    return present, torch.stack([low, high], 1).long()
