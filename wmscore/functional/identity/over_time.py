"""From states of objects to scores per step, breaks per object, and the first break of a row."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from wmscore.functional.horizon import FirstCrossing, first_run
from wmscore.functional.identity_state import IdentityState
from wmscore.functional.reasons import Reason

__all__ = ["Breaks", "IdentityScore", "first_breaks", "identity_score", "is_break", "mark_returns"]

_NO_ID = 1 << 40  # above all


class IdentityScore(NamedTuple):
    """Scores of steps, each `[B, T]`; see `ObjectIdentity`."""

    score: Tensor
    area_score: Tensor
    reason: Tensor


class Breaks(NamedTuple):
    """First breaks of objects `[B, N]` and of rows `[B]`; see `ObjectIdentity`."""

    object_first_break: Tensor
    object_first_event: Tensor
    first_break: Tensor
    first_break_id: Tensor
    first_break_event: Tensor


def is_break(state: Tensor) -> Tensor:
    """`IdentityState.is_break` of a tensor of states."""
    return (state >= IdentityState.SWAP) & (state <= IdentityState.REENTRY)


def judged(state: Tensor) -> Tensor:
    """Whether an object should be visible and is determined."""
    return is_break(state) | (state == IdentityState.OK) | (state == IdentityState.MISLOCATED)


def identity_score(state: Tensor, area: Tensor, valid: Tensor) -> IdentityScore:
    r"""Share of the objects that should be visible and are still themselves.

    .. math:: \mathrm{score}_t = \frac{|\{n \text{ judged}: \text{state OK or MISLOCATED}\}|}
                                      {|\{n \text{ judged}\}|}

    Args:
        state: `[B, T, N]` uint8.
        area: `[B, T, N]` int64, pixels in the reference.
        valid: `[B, T]` bool.
    """
    known, broken = judged(state), is_break(state)
    objects = known.sum(-1)
    pixels = area.where(known, 0).sum(-1)
    reason = torch.full_like(objects, Reason.DEFINED, dtype=torch.uint8)
    unknown = (state == IdentityState.UNDETERMINED).any(-1)
    reason.masked_fill_(objects == 0, Reason.NO_OBJECT)
    reason.masked_fill_((objects == 0) & unknown, Reason.UNDETERMINED)
    reason.masked_fill_(~valid, Reason.NO_FRAME)
    # 0 / 0 where nothing is judged. Whole numbers until the last division.
    return IdentityScore(
        score=(objects - broken.sum(-1)).double() / objects,
        area_score=(pixels - area.where(broken, 0).sum(-1)).double() / pixels,
        reason=reason,
    )


def mark_returns(state: Tensor, seen_before: Tensor | None = None) -> Tensor:
    """Turn each SWAP, MORPH or MERGE that begins as the object comes back into a REENTRY.

    Args:
        state: `[B, T, N]` uint8; UNDEFINED steps are as if they did not exist.
        seen_before: `[B, N]` bool, objects that the frame before the first step shows.

    Returns:
        `[B, T, N]` uint8. A run of broken steps is a return if the object was hidden for a step or
        more right before it, and itself, or undetermined, when it was last in view.
    """
    steps = state.shape[1]
    time = torch.arange(1, steps + 1, device=state.device)[:, None]
    broken = is_break(state)
    in_view = (state > IdentityState.NOT_VISIBLE) & (state != IdentityState.SPAWN)
    hidden = state == IdentityState.NOT_VISIBLE

    def last(there: Tensor) -> Tensor:
        """The last step before each one at which something held, 0 = never."""
        return pad(time.where(there, 0).cummax(1).values, (0, 0, 1, 0))[:, :-1]

    seen, gone = last(in_view), last(hidden)
    was_seen = seen > 0
    if seen_before is not None:
        was_seen |= seen_before[:, None]
    was_broken = pad(broken, (0, 0, 1, 0)).gather(1, seen)
    begins = broken & ~was_broken
    returns = begins & was_seen & (gone > seen)
    # Of each broken step: the step at which its run began.
    begin = time.where(begins, 0).cummax(1).values
    is_return = pad(returns, (0, 0, 1, 0)).gather(1, begin)
    other = (state == IdentityState.SWAP) | (state == IdentityState.MORPH)
    other |= state == IdentityState.MERGE
    return state.masked_fill(is_return & other, IdentityState.REENTRY)


def first_breaks(state: Tensor, area: Tensor, ids: Tensor, patience: int) -> Breaks:
    """The earliest run of `patience` broken steps among those at which the object is judged.

    Args:
        state: `[B, T, N]` uint8.
        area: `[B, T, N]` int64, pixels in the reference.
        ids: `[B, N]` int64.
        patience: steps.
    """
    crossing = first_run(is_break(state).mT, judged(state).mT, patience)  # curves [B, N, T]
    step = crossing.step
    at_break = (step - 1).clamp(min=0)[:, None]  # [B, 1, N] index into T
    event = state.gather(1, at_break)[:, 0].where(crossing.crossed, 0)
    size = area.gather(1, at_break)[:, 0].where(crossing.crossed, -1)
    first_slot = _first_slot(crossing, size, ids, never=state.shape[1] + 1)[:, None]
    first_break, first_break_id, first_break_event = (
        pad(value, (1, 0)).gather(1, first_slot)[:, 0] for value in (step, ids, event)
    )
    return Breaks(step, event, first_break, first_break_id, first_break_event)


def _first_slot(crossing: FirstCrossing, area: Tensor, ids: Tensor, never: int) -> Tensor:
    """`[B]` slot 1..N of the object that breaks first, 0 = none."""
    objects = area.shape[1]
    step = pad(crossing.step.where(crossing.crossed, never), (1, 0), value=never)
    area = pad(area, (1, 0), value=0)
    is_first = step == step.amin(1, keepdim=True)
    area = area.where(is_first, -1)
    is_first &= area == area.amax(1, keepdim=True)
    name = pad(ids, (1, 0)).where(is_first, _NO_ID)
    is_first &= name == name.amin(1, keepdim=True)
    return torch.arange(objects + 1, device=area.device).where(is_first, objects).amin(1)
