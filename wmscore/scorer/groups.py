"""A batch of complete counterfactual groups, laid out for scoring."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from wmscore.functional import Reason
from wmscore.rollouts import Rollouts

__all__ = ["Groups"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Groups:
    """`G` commanded rollouts in panel order, and the other branches of their groups.

    Attributes:
        slot: `[G]` int64, the panel row of each group; on the host.
        commanded: the branch-0 rollouts.
        target: `[G, T+1, C, H, W]` their reference frames.
        shown: `[G, T]` bool, steps that both the rollout and its reference have.
        finite: `[G, T]` bool, generated frames without NaN or infinite values.
        reason: `[G, T]` uint8, why a step cannot be scored by any axis, 0 where it can.
        branches: the counterfactual scripts, one number at a time, of the groups that have it.
    """

    slot: Tensor
    commanded: Rollouts
    target: Tensor
    shown: Tensor
    finite: Tensor
    reason: Tensor
    branches: tuple[Branch, ...]

    @classmethod
    def arrange(cls, batch: Rollouts, slot: Tensor) -> Groups:
        """Lay out a batch; `slot` `[B]` is the panel row of each of its rollouts."""
        rows = (batch.branch == 0).nonzero().squeeze(1)
        rows = rows[slot[rows].argsort()]
        in_order = torch.equal(rows, torch.arange(len(batch)))  # keys are on the host
        commanded = batch if in_order else batch[rows]
        shown = _shown(commanded)
        finite = finite_steps(commanded.frames[:, 1:])
        reason = torch.zeros_like(shown, dtype=torch.uint8)
        reason.masked_fill_(~finite, int(Reason.NON_FINITE))
        reason.masked_fill_(~shown, int(Reason.NO_FRAME))
        return cls(
            slot=slot[rows],
            commanded=commanded,
            target=of_reference(commanded, commanded.reference),
            shown=shown,
            finite=finite,
            reason=reason,
            branches=tuple(_branches(batch, slot, slot[rows])),
        )

    @property
    def preds(self) -> Tensor:
        """Generated frames of steps 1..T, `[G, T, C, H, W]`."""
        return self.commanded.frames[:, 1:]


@dataclass(frozen=True, kw_only=True, eq=False)
class Branch:
    """One counterfactual script of `n` groups.

    Attributes:
        place: `[n]` int64, which of the groups.
        rollouts: the `n` rollouts.
        target: `[n, T+1, C, H, W]` reference frames under the same script.
        shown: `[n, T]` bool, steps that both the rollout and its reference have.
        finite: `[n, T]` bool, generated frames without NaN or infinite values.
    """

    place: Tensor
    rollouts: Rollouts
    target: Tensor
    shown: Tensor
    finite: Tensor


def _branches(batch: Rollouts, slot: Tensor, groups: Tensor) -> Iterator[Branch]:
    """The rows of each script number but 0; `groups` `[G]` are the sorted panel rows."""
    for k in range(1, int(batch.branch.max()) + 1):
        rows = (batch.branch == k).nonzero().squeeze(1)
        rollouts = batch[rows]
        place = torch.searchsorted(groups, slot[rows])
        yield Branch(
            place=place.to(batch.device, non_blocking=True),
            rollouts=rollouts,
            target=of_reference(rollouts, rollouts.reference),
            shown=_shown(rollouts),
            finite=finite_steps(rollouts.frames[:, 1:]),
        )


def of_reference(rollouts: Rollouts, value: Tensor | None) -> Tensor:
    """A per-reference tensor `[S, ...]`, taken for each rollout: `[B, ...]`."""
    if value is None or rollouts.reference_index is None:
        raise ValueError("rollouts: expected a reference; add one with `with_reference(truth)`")
    return value[rollouts.reference_index.to(value.device, non_blocking=True)]


def _shown(rollouts: Rollouts) -> Tensor:
    return (rollouts.valid & of_reference(rollouts, rollouts.reference_valid))[:, 1:]


def finite_steps(frames: Tensor) -> Tensor:
    """`[B, T]` bool: every value of the frame is finite."""
    if frames.dtype == torch.uint8:
        return torch.ones(frames.shape[:2], dtype=torch.bool, device=frames.device)
    return frames.isfinite().flatten(2).all(2)
