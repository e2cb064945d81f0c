"""Distances that forgive being a little early, late or displaced, for any distance of frames."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.functional._check import (
    check_frames,
    check_mask,
    check_rollouts,
    check_side,
    check_whole,
)
from wmscore.functional.reasons import Reason

__all__ = ["FrameDistance", "ShiftTolerant", "TimeTolerant", "shift_tolerant", "time_tolerant"]

# From generated frames `[..., C, H, W]` and reference frames to one value a frame, `[...]`.
FrameDistance = Callable[[Tensor, Tensor], Tensor]


class TimeTolerant(NamedTuple):
    """What `time_tolerant` returns, each ``[B, T]``.

    Attributes:
        values: float64, the best value within the window, in units of the distance.
        lag: int64, which reference step was closest, less the step itself: -2 = the model shows
            what the true world showed two steps ago, it is late; the one nearest to 0 where several
            are as good.
        reason: uint8, a `Reason`: NO_FRAME where the frame or the reference frame of the step does
            not exist, or NON_FINITE where the distance at lag 0 is NaN.
    """

    values: Tensor
    lag: Tensor
    reason: Tensor


class ShiftTolerant(NamedTuple):
    """What `shift_tolerant` returns.

    Attributes:
        values: ``[...]`` float64, the best value over all displacements, in units of the distance.
        shift: ``[..., 2]`` int64, (down, right), by how many pixels the generated frame is
            displaced against the reference frame; the shortest where several are as good.
        reason: ``[...]`` uint8, a `Reason`: NON_FINITE where the distance is NaN for one of them.
    """

    values: Tensor
    shift: Tensor
    reason: Tensor


def time_tolerant(
    distance: FrameDistance,
    preds: Tensor,
    target: Tensor,
    window: int,
    *,
    higher_is_better: bool = False,
    valid: Tensor | None = None,
    target_valid: Tensor | None = None,
) -> TimeTolerant:
    r"""Distance of each generated frame to the closest reference frame around its step.

    .. math:: D^{\pm w}_t = \min_{|\delta| \le w} d(\hat x_t, x_{t + \delta})

    A model that moves a little faster or slower than the true world shows the right pictures at the
    wrong time. Compared step by step they soon have nothing in common, and that is no visual drift
    (GameNGen warns of it). Report it beside the plain curve, never instead: far below it, look at
    `lag`, the curve of the delay.

    Steps t + δ outside 0..T do not exist and are left out; the given frame 0 does exist. Each δ is
    one call of `distance` on all its frames, as views; nothing is wrapped, padded or copied.

    Args:
        distance: any function of frames, say ``lambda p, t: 1 - haarpsi(p, t)``, or LPIPS.
        preds: generated rollouts ``[B, T + 1, C, H, W]`` with the given frame 0, which is not
            scored.
        target: reference rollouts ``[B, T + 1, C, H, W]``, as `distance` wants them; it is called
            with ``[B, n, C, H, W]`` of both. It may also be ``[S, T + 1, C, H, W]`` for a distance
            that knows the reference of each row.
        window: w, 0 or more steps. Takes 2 w + 1 passes.
        higher_is_better: whether `distance` is a similarity: the largest is taken.
        valid: ``[B, T + 1]`` bool, generated frames that exist; ``None`` means all.
        target_valid: bool, broadcasts to ``[B, T + 1]``, reference frames that exist: others are
            left out. ``None`` means all.

    Returns:
        `TimeTolerant` of ``[B, T]`` tensors, for steps 1..T; defined where the plain distance is,
        and never worse than it.

    Raises:
        ValueError: shapes do not fit, window is negative, or `distance` returns another shape.
        TypeError: not tensors, or of the wrong dtype.

    Source:
        The concern: Valevski et al., "Diffusion models are real-time game engines" (GameNGen),
        arXiv:2408.14837, section 5.1.

    Example:
        >>> from wmscore.functional import mse
        >>> target = torch.arange(6.0).view(1, 6, 1, 1, 1).expand(1, 6, 3, 4, 4) / 5
        >>> late = target[:, [0, 0, 1, 2, 3, 4]]
        >>> found = time_tolerant(mse, late, target, window=1)
        >>> found.values.tolist(), found.lag.tolist()
        ([[0.0, 0.0, 0.0, 0.0, 0.0]], [[-1, -1, -1, -1, -1]])
    """
    check_frames(preds=preds)
    check_frames(target=target)
    check_rollouts("preds", preds)
    check_rollouts("target", target)
    if preds.shape[1:] != target.shape[1:] or preds.shape[1] < 2:
        raise ValueError(
            "preds and target must have shape [B, T + 1, C, H, W] with one T of at least 1 and one "
            f"size of frames, got {tuple(preds.shape)} and {tuple(target.shape)}"
        )
    check_whole("window", window)
    rows, frames = preds.shape[:2]
    for name, mask in (("valid", valid), ("target_valid", target_valid)):
        if mask is not None:
            check_mask(name, mask, (rows, frames), preds.device, like="preds")
    exists = None if target_valid is None else target_valid.expand(rows, frames)

    plain = _values(distance, preds[:, 1:], target[:, 1:], higher_is_better)
    best, lag = plain.clone(), torch.zeros_like(plain, dtype=torch.int64)
    for delta in sorted(range(-window, window + 1), key=abs):
        first, last = max(1, -delta), min(frames - 1, frames - 1 - delta)  # steps, both included
        if delta == 0 or first > last:
            continue
        there = slice(first + delta, last + delta + 1)
        found = _values(distance, preds[:, first : last + 1], target[:, there], higher_is_better)
        if exists is not None:
            found = found.masked_fill(~exists[:, there], torch.inf)
        steps = slice(first - 1, last)
        better = found < best[:, steps]  # never for NaN: a step that is undefined stays so
        lag[:, steps] = lag[:, steps].masked_fill(better, delta)
        best[:, steps] = found.where(better, best[:, steps])
    reason = plain.isnan().to(torch.uint8) * int(Reason.NON_FINITE)
    if valid is not None:
        reason = reason.masked_fill(~valid.expand(rows, frames)[:, 1:], Reason.NO_FRAME)
    if exists is not None:
        reason = reason.masked_fill(~exists[:, 1:], Reason.NO_FRAME)
    undefined = reason != Reason.DEFINED
    return TimeTolerant(
        (-best if higher_is_better else best).masked_fill(undefined, torch.nan),
        lag.masked_fill(undefined, 0),
        reason,
    )


def shift_tolerant(
    distance: FrameDistance,
    preds: Tensor,
    target: Tensor,
    radius: int,
    *,
    higher_is_better: bool = False,
) -> ShiftTolerant:
    r"""Best distance over displacements of the generated frame by up to some pixels.

    .. math:: \min_{|\delta_y|, |\delta_x| \le r} d(\hat x_{y + \delta_y, x + \delta_x}, x_{y, x})

    All displacements compare the same part of `target`, the frame without a margin of r pixels;
    this is what `haarpsi(shift=r)` does. Far below the plain distance, the picture is displaced
    rather than changed.

    Args:
        distance: any function of frames, say `mse`, or ``lambda p, t: 1 - ssim(p, t)``. It is
            called with views of cropped frames.
        preds: generated frames ``[..., C, H, W]``.
        target: reference frames ``[..., C, H, W]``, as `distance` wants them.
        radius: r, 0 or more pixels. Takes ``(2 r + 1)^2`` passes.
        higher_is_better: whether `distance` is a similarity: the largest is taken.

    Returns:
        `ShiftTolerant`. NaN where the distance is NaN for one of the displacements.

    Raises:
        ValueError: shapes do not fit, radius is negative or leaves no pixel, or `distance` returns
            another shape.
        TypeError: not tensors, or of the wrong dtype.

    Example:
        >>> from wmscore.functional import mse
        >>> target = torch.arange(3 * 8 * 8, dtype=torch.uint8).view(3, 8, 8)
        >>> found = shift_tolerant(mse, target.roll(1, -2), target, radius=1)
        >>> found.values.item(), found.shift.tolist()
        (0.0, [1, 0])
    """
    check_frames(preds=preds)
    check_frames(target=target)
    if preds.shape[-3:] != target.shape[-3:]:
        raise ValueError(
            "preds and target must have shape [..., C, H, W] with one size of frames, got "
            f"{tuple(preds.shape)} and {tuple(target.shape)}"
        )
    check_whole("radius", radius)
    check_side(preds, 2 * radius + 1, f"shift_tolerant with radius {radius}")
    height, width = (side - 2 * radius for side in preds.shape[-2:])
    still = target[..., radius : radius + height, radius : radius + width]
    reach = range(-radius, radius + 1)
    shifts = sorted(product(reach, reach), key=lambda shift: shift[0] ** 2 + shift[1] ** 2)
    best = place = None
    for number, (down, right) in enumerate(shifts):
        top, left = radius + down, radius + right
        moved = preds[..., top : top + height, left : left + width]
        found = _values(distance, moved, still, higher_is_better)
        if best is None or place is None:
            best, place = found, torch.zeros_like(found, dtype=torch.int64)
        else:
            place = place.masked_fill(found < best, number)
            best = torch.minimum(best, found)  # which keeps NaN
    assert best is not None
    assert place is not None
    table = torch.tensor(shifts, dtype=torch.int64).to(preds.device, non_blocking=True)
    undefined = best.isnan()
    return ShiftTolerant(
        -best if higher_is_better else best,
        table[place].masked_fill(undefined[..., None], 0),
        undefined.to(torch.uint8) * int(Reason.NON_FINITE),
    )


def _values(
    distance: FrameDistance, preds: Tensor, target: Tensor, higher_is_better: bool
) -> Tensor:
    """One value a frame, lower is better, float64; refuses another answer."""
    found = distance(preds, target)
    if not isinstance(found, Tensor) or found.shape != preds.shape[:-3]:
        got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(
            f"distance must return one value for each frame, a tensor {tuple(preds.shape[:-3])}, "
            f"got {got}"
        )
    found = found.double()
    return -found if higher_is_better else found
