"""Coming back: does a rollout show again what it showed before, where the reference does?"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.functional._check import check_frames, check_number, check_whole, data_range_of
from wmscore.functional.reasons import Reason
from wmscore.functional.returns._pixels import (
    is_back,
    masked_distance,
    pieces,
    registered_distance,
    some_rows,
)
from wmscore.functional.returns.find import RETURN_LEVELS, Returns

__all__ = ["Closure", "loop_closure"]


class Closure(NamedTuple):
    """What `loop_closure` returns, each ``[..., T]``.

    Attributes:
        score: float64 in [0, 1], 1 = left as far and came back as the reference does, 0 = never
            left, or came back to something as strange as what it left for. NaN at steps that are no
            returns. See `loop_closure`.
        distance: float64 in [0, 1], mean absolute difference of the frame and the earlier frame of
            the same rollout, in data ranges; lower is better. Along a there-and-back script it is
            the palindrome curve.
        registered: float64, the least `distance` over displacements of the frame by up to some
            pixels; at most `distance`. Far below it, the place is remembered and missed: an error
            of executing the actions.
        stability: float64 in [0, 2], World Stability: `distance` over the mean distance of both
            from the frame in between; lower is better. NaN with NO_MOTION where that is zero.
        motion: float64, how far the rollout departed, as a multiple of how far the reference did.
        reason: uint8, why `score`, `distance`, `registered` and `motion` are NaN.
        stability_reason: uint8, why `stability` is.
    """

    score: Tensor
    distance: Tensor
    registered: Tensor
    stability: Tensor
    motion: Tensor
    reason: Tensor
    stability_reason: Tensor


def loop_closure(
    preds: Tensor,
    target: Tensor,
    returns: Returns,
    *,
    radius: int = 0,
    levels: float = RETURN_LEVELS,
    data_range: float | None = None,
) -> Closure:
    r"""Whether rollouts come back where their reference does, by their own earlier frames.

    Step t of the reference returns to frame m, and k is furthest from both in between. Over the
    pixels that are back in the reference, with d the mean absolute difference, D = (d(m, k) +
    d(k, t)) / 2 of the rollout and D* of the reference,

    .. math:: s_t = \Big[ \frac{\min(D, D^*) - d_{mt}}{D^* - d^*_{mt}} \Big]_0^1 ,

    the way that is closed again, as a share of what the reference closes. 1 for the reference
    itself. A frozen rollout comes back perfectly, and scores exactly 0, since it never left; one
    that leaves half as far and comes back scores 1/2; one whose last frame is as far from where it
    began as from where it was scores 0, as frames that have nothing to do with each other do, and
    so does what is further still. Leaving further than the reference earns nothing, and noise is in
    all four distances, so that neither the rollout's nor the reference's looks like a departure.
    World Stability is :math:`d_{mt} / D`. Sums of absolute differences grow with the area of what
    moves by itself, not with the root of it, so that a passer-by costs what he covers.

    Args:
        preds: ``[..., T+1, C, H, W]``, rollouts, the given frame first.
        target: the same of their references.
        returns: of the references, each ``[..., T]``.
        radius: displacements by up to so many pixels that `Closure.registered` tries.
        levels: as for `returns_of`.
        data_range: as for `returns_of`.

    Returns:
        A `Closure`; NON_FINITE where a frame of the rollout that is needed has NaN.

    Raises:
        TypeError: not tensors of frames of one dtype.
        ValueError: shapes do not fit, or the radius leaves no pixel.

    Source:
        arXiv:2503.08122, section 3.3 (World Stability); the score is ours.

    Example:
        >>> from wmscore.functional import returns_of
        >>> true = torch.tensor([0, 90, 180, 90, 0], dtype=torch.uint8).view(5, 1, 1, 1)
        >>> frozen = true[:1].expand_as(true)
        >>> loop_closure(frozen, true, returns_of(true)).score[2:].tolist()
        [0.0, 0.0]
        >>> loop_closure(true, true, returns_of(true)).score[2:].tolist()
        [1.0, 1.0]
    """
    steps = returns.to.shape[-1]
    _check(preds, target, returns, radius)
    check_number("levels", levels, low=0.0)
    scale, lead = data_range_of(preds.dtype, data_range), preds.shape[:-4]
    found = _distances(
        *(x.flatten(0, -4) for x in (preds, target)),
        *(x.flatten() for x in (returns.to, returns.far)),
        steps=steps,
        levels=levels * scale,
        radius=radius,
    )
    gap, way, true_gap, true_way, registered = (found / scale).view(5, *lead, steps).unbind()
    none = (returns.to < 0) | (true_way <= true_gap)  # the second with other levels only
    reason = torch.where(none, int(Reason.NO_RETURN), 0)
    broken = ~none & ~(gap.isfinite() & way.isfinite())
    reason = torch.where(broken, int(Reason.NON_FINITE), reason).to(torch.uint8)
    score = ((torch.minimum(way, true_way) - gap) / (true_way - true_gap)).clamp(0, 1)
    unknown = reason != 0
    still = ~unknown & (way == 0)
    stability_reason = torch.where(still, int(Reason.NO_MOTION), reason.long()).to(torch.uint8)
    return Closure(
        score=score.masked_fill(unknown, torch.nan),
        distance=gap.masked_fill(unknown, torch.nan),
        registered=registered.masked_fill(unknown, torch.nan),
        stability=(gap / way).masked_fill(stability_reason != 0, torch.nan),
        motion=(way / true_way).masked_fill(unknown, torch.nan),
        reason=reason,
        stability_reason=stability_reason,
    )


def _check(preds: Tensor, target: Tensor, returns: Returns, radius: int) -> None:
    check_frames(preds=preds, target=target)
    shape = (*preds.shape[:-4], preds.shape[-4] - 1) if preds.dim() > 3 else ()
    if not shape or tuple(returns.to.shape) != shape:
        raise ValueError(
            "preds, returns: expected [..., T+1, C, H, W] and [..., T], got "
            f"{list(preds.shape)} and {list(returns.to.shape)}"
        )
    height, width = preds.shape[-2:]
    check_whole("radius", radius)
    if radius > (min(height, width) - 1) // 2:
        raise ValueError(f"radius: expected 0 to {(min(height, width) - 1) // 2}, got {radius}")


def _distances(
    preds: Tensor,
    target: Tensor,
    to: Tensor,
    far: Tensor,
    *,
    steps: int,
    levels: float,
    radius: int,
) -> Tensor:
    """Gap and way of frames `[N * (T+1), C, H, W]`, those of their references, registered gap.

    `[5, N * T]` float64, in the frames' own unit; NaN where `to` is -1.
    """
    found = torch.full((5, len(to)), torch.nan, dtype=torch.float64, device=preds.device)
    wanted = some_rows(to >= 0)
    first = wanted // steps * (steps + 1)
    m, k = (first + x[wanted].clamp_min(0) for x in (to, far))
    t = first + wanted % steps + 1
    for part in pieces(len(wanted), preds):
        start, middle, end = (target[x[part]] for x in (m, k, t))
        mask = is_back(start, end, levels)
        place = wanted[part]
        found[2, place] = masked_distance(start, end, mask)
        found[3, place] = _way(start, middle, end, mask)
        start, middle, end = (preds[x[part]] for x in (m, k, t))
        gap = found[0, place] = masked_distance(start, end, mask)
        found[1, place] = _way(start, middle, end, mask)
        found[4, place] = gap
        # What is exactly back is so without being displaced.
        open_ = some_rows(gap > 0) if radius else wanted[:0]
        if len(open_):
            moved = registered_distance(end[open_], start[open_], mask[open_], radius)
            found[4, place[open_]] = torch.minimum(gap[open_], moved)
    return found.masked_fill_(to < 0, torch.nan)


def _way(start: Tensor, middle: Tensor, end: Tensor, mask: Tensor) -> Tensor:
    """How far the frame in between is from both, on average."""
    return (masked_distance(start, middle, mask) + masked_distance(middle, end, mask)) / 2
