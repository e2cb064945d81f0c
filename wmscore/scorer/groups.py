"""A batch of complete counterfactual groups, laid out for scoring."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wmscore.functional import Reason
from wmscore.rollouts import Rollouts

__all__ = ["Groups", "finite_steps", "of_reference", "shown_steps", "start_gap"]


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
        reference_gap: `[G, K]` float64, `start_gap` of the script's reference and the commanded
            one's: not 0 where scripts are no counterfactuals of each other.
    """

    slot: Tensor
    batch: Rollouts
    rows: Tensor
    commanded: Rollouts
    target: Tensor
    shown: Tensor
    finite: Tensor
    reason: Tensor
    reference_gap: Tensor

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
        group = torch.searchsorted(slot[rows], slot)
        place = torch.full((len(rows), scripts), -1)
        place[group, batch.branch] = torch.arange(len(batch))
        place = place.to(batch.device, non_blocking=True)
        assert batch.reference is not None
        given = of_reference(batch, batch.reference[:, 0])
        gap = start_gap(given, given[rows[group].to(batch.device, non_blocking=True)])
        return cls(
            slot=slot[rows],
            batch=batch,
            rows=place,
            commanded=commanded,
            target=of_reference(commanded, commanded.reference),
            shown=shown,
            finite=finite,
            reason=reason,
            reference_gap=_of_scripts(place, gap, 0),
        )

    @property
    def preds(self) -> Tensor:
        """Generated frames of steps 1..T, `[G, T, C, H, W]`."""
        return self.commanded.frames[:, 1:]

    def of_scripts(self, value: Tensor, blank: float) -> Tensor:
        """A value of each rollout `[B, ...]` as `[G, K, ...]`, blank where there is no script."""
        return _of_scripts(self.rows, value, blank)


def _of_scripts(rows: Tensor, value: Tensor, blank: float) -> Tensor:
    absent = (rows < 0).view(*rows.shape, *[1] * (value.dim() - 1))
    return value[rows.clamp_min(0)].masked_fill(absent, blank)


def of_reference(rollouts: Rollouts, value: Tensor | None) -> Tensor:
    """A per-reference tensor `[S, ...]`, taken for each rollout: `[B, ...]`."""
    if value is None or rollouts.reference_index is None:
        raise ValueError("rollouts: expected a reference; add one with `with_reference(truth)`")
    return value[rollouts.reference_index.to(value.device, non_blocking=True)]


def start_gap(frames: Tensor, given: Tensor) -> Tensor:
    """`[N]` float64, largest difference of a value of two frames `[N, C, H, W]`; NaN for NaN."""
    return (frames.double() - given.double()).abs().flatten(1).amax(1)


def shown_steps(rollouts: Rollouts) -> Tensor:
    """`[B, T]` bool: both the rollout and its reference have the frame."""
    return (rollouts.valid & of_reference(rollouts, rollouts.reference_valid))[:, 1:]


def finite_steps(frames: Tensor) -> Tensor:
    """`[B, T]` bool: every value of the frame is finite."""
    if frames.dtype == torch.uint8:
        return torch.ones(frames.shape[:2], dtype=torch.bool, device=frames.device)
    return frames.isfinite().flatten(2).all(2)
