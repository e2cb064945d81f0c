"""What the summaries of curves share: which steps are defined, pairs of steps, chunks of rows."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from wmscore.functional._check import check_curve, check_mask
from wmscore.functional._chunks import piece_elements
from wmscore.functional.reasons import Reason

__all__ = ["curve_chunks", "curve_reason", "defined_steps", "median", "median_slope", "suffix_sums"]


def defined_steps(name: str, values: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
    """Curves `[..., T]` as float64, and which of their steps are defined: valid and not NaN."""
    check_curve(name, values)
    defined = ~values.isnan()
    if valid is not None:
        check_mask("valid", valid, tuple(values.shape), values.device, like=name)
        defined = defined & valid
    return values.double(), defined


def curve_reason(values: Tensor, defined: Tensor, enough: Tensor) -> Tensor:
    """Why a summary of curves `[..., T]` is undefined: an infinite step, or not `enough` `[...]`.

    An infinite value (the PSNR of identical frames) has no slope and no mean; cap it first.
    """
    reason = enough.logical_not().to(torch.uint8) * int(Reason.TOO_FEW_STEPS)
    return reason.masked_fill((values.isinf() & defined).any(-1), int(Reason.NON_FINITE))


def curve_chunks(*curves: Tensor, per_row: int) -> Iterator[tuple[Tensor, ...]]:
    """Aligned rows of curves `[..., T]`, few enough that `per_row` temporary values each are few.

    One row is the least: its temporaries are the bound where T is large.
    """
    flat = [curve.reshape(-1, curve.shape[-1]) for curve in curves]
    size = max(1, piece_elements(curves[0].device) // max(1, per_row))
    yield from zip(*(torch.split(curve, size) for curve in flat), strict=True)


def median_slope(values: Tensor, defined: Tensor, place: Tensor) -> Tensor:
    """Median of the slopes between all pairs of defined steps (Theil and Sen), `[...]`.

    Args:
        values: curves `[..., T]` float64.
        defined: `[..., T]` bool.
        place: `[T]` float64, ascending, where each step lies.

    Returns:
        NaN where fewer than two steps are defined.
    """
    steps = values.shape[-1]
    left, right = torch.triu_indices(steps, steps, 1, device=values.device)
    run = place[right] - place[left]
    known = values.masked_fill(~defined, torch.nan)
    pieces = [
        median((rows[:, right] - rows[:, left]) / run)
        for (rows,) in curve_chunks(known, per_row=len(run))
    ]
    return torch.cat(pieces).reshape(values.shape[:-1])


def median(values: Tensor) -> Tensor:
    """Median of what is not NaN in `[..., P]`, the mean of the middle two; NaN where all is.

    `torch.nanmedian` takes the lower of the two.
    """
    if values.shape[-1] == 0:
        return values.new_full(values.shape[:-1], torch.nan)
    by = middle_by_selection if values.device.type == "cpu" else middle_by_sorting
    low, high = by(values)
    return (low + high) / 2


def middle_by_selection(values: Tensor) -> tuple[Tensor, Tensor]:
    """The middle two values; several times as fast as sorting on a CPU."""
    return values.nanmedian(-1).values, -(-values).nanmedian(-1).values


def middle_by_sorting(values: Tensor) -> tuple[Tensor, Tensor]:
    """The middle two values; on CUDA torch's median refuses to run deterministically."""
    ordered = values.sort(-1).values  # NaN last
    count = values.isnan().logical_not().sum(-1, keepdim=True)
    low, high = (count - 1).clamp(min=0) // 2, (count // 2).clamp(max=values.shape[-1] - 1)
    return ordered.gather(-1, low)[..., 0], ordered.gather(-1, high)[..., 0]


def suffix_sums(values: Tensor) -> Tensor:
    """Sums from each step to the end, and 0 after it: `[n, T]` to `[n, T + 1]`."""
    sums = values.flip(-1).cumsum(-1).flip(-1)
    return torch.cat([sums, torch.zeros_like(sums[..., :1])], -1)
