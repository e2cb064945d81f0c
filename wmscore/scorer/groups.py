"""A batch of complete counterfactual groups, laid out for scoring."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wmscore.functional import Reason
from wmscore.rollouts import Rollouts

__all__ = ["Groups", "finite_steps", "of_reference", "shown_steps", "starts_apart"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Groups:
    """`G` commanded rollouts in panel order, and all scripts of their groups.

    Attributes:
        slot: `[G]` int64, the panel row of each group; on the host.
        batch: all rollouts of the groups, `[B]`.
        rows: `[G, K]` int64, the rollout in the batch of each script, -1 where a group has fewer.
        commanded: the branch-0 rollouts.
        target: `[G, T+1, C, H, W]` their reference frames.
        shown: `[G, T]` bool, steps that both the rollout and its reference have.
        finite: `[G, T]` bool, generated frames without NaN or infinite values.
        reason: `[G, T]` uint8, why a step cannot be scored by any axis, 0 where it can.
    """

    slot: Tensor
    batch: Rollouts
    rows: Tensor
    commanded: Rollouts
    target: Tensor
    shown: Tensor
    finite: Tensor
    reason: Tensor

    @classmethod
    def arrange(cls, batch: Rollouts, slot: Tensor, scripts: int) -> Groups:
        """Lay out a batch; `slot` `[B]` is the panel row of each, K = `scripts` of the panel."""
        rows = (batch.branch == 0).nonzero().squeeze(1)
        rows = rows[slot[rows].argsort()]
        in_order = torch.equal(rows, torch.arange(len(batch)))  # keys are on the host
        commanded = batch if in_order else batch[rows]
        shown = shown_steps(commanded)
        finite = finite_steps(commanded.frames[:, 1:])
        reason = torch.zeros_like(shown, dtype=torch.uint8)
        reason.masked_fill_(~finite, int(Reason.NON_FINITE))
        reason.masked_fill_(~shown, int(Reason.NO_FRAME))
        place = torch.full((len(rows), scripts), -1)
        place[torch.searchsorted(slot[rows], slot), batch.branch] = torch.arange(len(batch))
        return cls(
            slot=slot[rows],
            batch=batch,
            rows=place.to(batch.device, non_blocking=True),
            commanded=commanded,
            target=of_reference(commanded, commanded.reference),
            shown=shown,
            finite=finite,
            reason=reason,
        )

    @property
    def preds(self) -> Tensor:
        """Generated frames of steps 1..T, `[G, T, C, H, W]`."""
        return self.commanded.frames[:, 1:]

    def of_scripts(self, value: Tensor, blank: float) -> Tensor:
        """A value of each rollout `[B, ...]` as `[G, K, ...]`, blank where there is no script."""
        found = value[self.rows.clamp_min(0)]
        absent = (self.rows < 0).view(*self.rows.shape, *[1] * (value.dim() - 1))
        return found.masked_fill(absent, blank)


def of_reference(rollouts: Rollouts, value: Tensor | None) -> Tensor:
    """A per-reference tensor `[S, ...]`, taken for each rollout: `[B, ...]`."""
    if value is None or rollouts.reference_index is None:
        raise ValueError("rollouts: expected a reference; add one with `with_reference(truth)`")
    return value[rollouts.reference_index.to(value.device, non_blocking=True)]


def starts_apart(groups: Groups) -> Tensor:
    """`[G, K]` bool: the script's reference begins with another frame than the commanded one's."""
    batch = groups.batch
    given = of_reference(batch, None if batch.reference is None else batch.reference[:, 0])
    there = groups.rows >= 0
    first = groups.rows.clamp_min(0)
    # Written so that a NaN in an initial frame counts as another frame.
    return (given[first] != given[first[:, :1]]).flatten(2).any(2) & there


def shown_steps(rollouts: Rollouts) -> Tensor:
    """`[B, T]` bool: both the rollout and its reference have the frame."""
    return (rollouts.valid & of_reference(rollouts, rollouts.reference_valid))[:, 1:]


def finite_steps(frames: Tensor) -> Tensor:
    """`[B, T]` bool: every value of the frame is finite."""
    if frames.dtype == torch.uint8:
        return torch.ones(frames.shape[:2], dtype=torch.bool, device=frames.device)
    return frames.isfinite().flatten(2).all(2)
