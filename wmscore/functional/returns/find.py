"""Where a reference shows again what it showed before."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wmscore.functional._check import check_mask, check_number, data_range_of
from wmscore.functional.reasons import Reason
from wmscore.functional.returns._pixels import (
    counted,
    is_back,
    masked_distance,
    pieces,
    some_rows,
)
from wmscore.functional.returns.distances import frame_distances

__all__ = ["LEAST_DEPARTURE", "RETURN_LEVELS", "RETURN_SHARE", "Returns", "returns_of"]

RETURN_SHARE = 0.5
"""A step is a return where at least this share of what had changed is back."""

RETURN_LEVELS = 4 / 255
"""A pixel is back where no channel differs by more, in data ranges."""

LEAST_DEPARTURE = 0.01
"""By how much further the frame in between is than the return is off, at least, as a mean absolute
difference in data ranges: 2.5 grey levels."""


class Returns(NamedTuple):
    """Which steps of a reference are returns; see `returns_of`. Each ``[..., T]`` for steps 1..T.

    Attributes:
        to: int64, the earlier frame (0 = the given one) that is shown again; -1 where none is.
        far: int64, the frame of furthest departure in between; -1 likewise.
        share: float64 in [0, 1], share of what had changed that is back; NaN where none is.
        departure: float64 in [0, 1], mean distance of that frame from both, less their own, where
            the picture is back, in data ranges; NaN where none is.
        reason: uint8, NO_RETURN where the step is no return.
    """

    to: Tensor
    far: Tensor
    share: Tensor
    departure: Tensor
    reason: Tensor


def returns_of(
    frames: Tensor,
    *,
    valid: Tensor | None = None,
    share: float = RETURN_SHARE,
    departure: float = LEAST_DEPARTURE,
    levels: float = RETURN_LEVELS,
    data_range: float | None = None,
) -> Returns:
    r"""Find the steps at which a reference comes back to something that it showed before.

    With k the frame between m and t that is furthest from both, step t returns to the earlier frame
    m if of the pixels that differ from m in k or in t at least a share :math:`\rho` is back in t
    (no channel differs by more than some levels), and if, over all pixels that are back,

    .. math:: \tfrac12 \, (d_{mk} + d_{kt}) - d_{mt} \ge \eta .

    Of several m the one with the largest share counts, of equals the earliest. Nothing is declared:
    scripts that go there and back, loops and chance revisits are found alike. Where a wall or
    inertia keeps the true world from closing its loop, none is asked of a model. Of a thing that
    moves by itself through an unmoved picture at most a third of the change is ever back, which is
    no return; one that is elsewhere when the picture returns is left out of the comparison.

    Args:
        frames: ``[..., T+1, C, H, W]`` of references, uint8 or floating point.
        valid: bool ``[..., T+1]``, frames that exist.
        share: :math:`\rho`, above 0 and at most 1.
        departure: :math:`\eta`, in data ranges, above 0.
        levels: in data ranges.
        data_range: of a value; ``None`` means 255 for ``uint8`` and 1.0 for floats.

    Returns:
        `Returns` of steps 1..T.

    Raises:
        TypeError: not a tensor of frames.
        ValueError: fewer than two frames, or an argument out of range.

    Source:
        World Stability (arXiv:2503.08122, section 3.3) for there-and-back scripts; returns by what
        the reference brings back are ours.

    Example:
        >>> frames = torch.tensor([0, 90, 180, 90, 0], dtype=torch.uint8).view(5, 1, 1, 1)
        >>> returns_of(frames).to.tolist()
        [-1, -1, 1, 0]
    """
    check_number("share", share, low=0.0, high=1.0, low_is_allowed=False)
    check_number("departure", departure, low=0.0, low_is_allowed=False)
    check_number("levels", levels, low=0.0)
    distances = frame_distances(frames, data_range=data_range)
    scale = data_range_of(frames.dtype, data_range)
    steps, lead = frames.shape[-4], frames.shape[:-4]
    if steps < 2:
        raise ValueError(f"frames: expected at least two, got {list(frames.shape)}")
    flat = frames.reshape(-1, *frames.shape[-4:])
    known = distances.reshape(-1, steps, steps)
    if valid is not None:
        check_mask("valid", valid, frames.shape[:-3], frames.device)
        exists = valid.reshape(-1, steps)
        known = known.masked_fill(~(exists[:, :, None] & exists[:, None]), torch.nan)
    far, between = _furthest(known)
    back, away = _shares(flat, far, between, share, levels * scale)
    away = away / scale
    found = (back >= share) & (away >= departure)
    # The largest share, of equals the earliest frame: `max` promises no order of equals.
    best = back.masked_fill(~found, -1.0)
    to = (best == best.amax(2, keepdim=True)).int().argmax(2)
    none = ~found.any(2)

    def chosen(value: Tensor, blank: float) -> Tensor:
        picked = value.gather(2, to[..., None])[..., 0].masked_fill(none, blank)
        return picked[:, 1:].reshape(*lead, steps - 1)

    return Returns(
        to=to.masked_fill(none, -1)[:, 1:].reshape(*lead, steps - 1),
        far=chosen(far, -1),
        share=chosen(back, torch.nan),
        departure=chosen(away, torch.nan),
        reason=(none[:, 1:] * int(Reason.NO_RETURN)).to(torch.uint8).reshape(*lead, steps - 1),
    )


def _furthest(known: Tensor) -> tuple[Tensor, Tensor]:
    """Of distances `[N, S, S]`: the frame k furthest from t and m, and whether there is one.

    `[N, S, S]` int64 and bool, by (t, m); by the smaller of both distances.
    """
    steps = known.shape[-1]
    order = torch.arange(steps, device=known.device)
    far, between = [], []
    for t in range(steps):
        nearer = torch.minimum(known, known[:, t, None])  # [N, m, k]
        inside = (order > order[:, None]) & (order < t)
        middle = nearer.masked_fill(~inside | nearer.isnan(), -1.0).max(2)
        far.append(middle.indices)
        between.append(middle.values >= 0)
    return torch.stack(far, 1), torch.stack(between, 1)


def _shares(
    frames: Tensor, far: Tensor, between: Tensor, share: float, levels: float
) -> tuple[Tensor, Tensor]:
    """Of frames `[N, S, C, H, W]`: share that is back, and departure, each `[N, S, S]` by (t, m).

    NaN where no frame is between, or where too little is the same for such a share.
    """
    steps, pixels = frames.shape[1], frames.shape[-2] * frames.shape[-1]
    every = frames.flatten(0, 1)
    back = torch.full((between.numel(),), torch.nan, dtype=torch.float64, device=frames.device)
    away = back.clone()
    pairs = some_rows(between.flatten())
    for part in pieces(len(pairs), frames):
        first, t, m = _places(pairs[part], steps)
        same = is_back(every[first + m], every[first + t], levels)
        # What is not the same had changed; as much as the share needs must be the same.
        likely = some_rows(counted(same) >= share * pixels)
        place, mask = pairs[part][likely], same[likely]
        first, t, m = _places(place, steps)
        start, middle, end = (every[first + x] for x in (m, far.flatten()[place], t))
        left = ~is_back(start, middle, levels)
        changed = counted(left | ~mask)
        back[place] = counted(left & mask) / changed.clamp_min(1).double()
        way = masked_distance(start, middle, mask) + masked_distance(middle, end, mask)
        gap = masked_distance(start, end, mask)
        away[place] = (way / 2 - gap).nan_to_num(0.0, posinf=0.0)
    nothing = ~between.flatten()
    back, away = (x.masked_fill_(nothing, torch.nan).view(far.shape) for x in (back, away))
    return back, away


def _places(pairs: Tensor, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """First frame of the reference, t and m, of flat places in `[N, S, S]`."""
    return pairs // steps**2 * steps, pairs // steps % steps, pairs % steps
