"""Scores of several models as matched cells: scenario x seed, only what all of them show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wmscore.comparison.areas import shared_means
from wmscore.comparison.same import check_comparable
from wmscore.functional import Reason
from wmscore.scores import Scores

__all__ = ["MatchedCells", "matched_cells"]

UNDEFINED = "undefined"
"""Why a row without an evaluation fault has no horizon: no gated axis judges it."""

_ROWS = 1 << 12  # rows that are looked at at a time


@dataclass(frozen=True, kw_only=True, eq=False)
class MatchedCells:
    """What M models show at the same (scenario, seed), `[M, S, K]` each.

    Attributes:
        horizon: float64, usable horizon, NaN where the cell is dropped. Where a model's rollout or
            its reference ends early, all models are restricted to the steps that all show.
        cause: int64, index of the axis that ends it, -1 where none does.
        areas: `[M, S, K, A]` float64, mean score of each axis over the steps that are defined in
            all models, NaN where there is none or a model has an evaluation fault. A cell without
            a horizon has them all the same.
        kept: `[S, K]` bool, cells that all models have.
        restricted: `[S, K]` bool, kept cells that end early.
        dropped: per model, why its rows fell out, and how many.
        undefined_alone: per model, rows that it alone lacks without an evaluation fault.
        ends_first: per model, kept cells that end earlier in it than in any other.
    """

    horizon: Tensor
    cause: Tensor
    areas: Tensor
    kept: Tensor
    restricted: Tensor
    dropped: tuple[dict[str, int], ...]
    undefined_alone: tuple[int, ...]
    ends_first: tuple[int, ...]


def matched_cells(results: Sequence[Scores]) -> MatchedCells:
    """Match rows by scenario and seed; drop those that any model lacks, and count them.

    Args:
        results: scores on one panel.

    Raises:
        TypeError: not `Scores`.
        ValueError: no results, or scores by different networks or rules.
        PanelMismatchError: results of different panels.
    """
    check_comparable(results)
    panel = results[0].panel
    shape = (len(panel.scenarios), len(panel.seeds))
    last = panel.contract.horizon
    defined = torch.stack([(s.fault == 0) & s.horizon.defined for s in results]).cpu()  # [M, R]
    steps = torch.stack([s.horizon.steps for s in results]).cpu()
    censored = torch.stack([s.horizon.censored for s in results]).cpu()
    axis = torch.stack([s.horizon.axis for s in results]).cpu()
    kept = defined.all(0)
    # How long a failed rollout went on counts too: else an early end would hide good rollouts only.
    each = torch.stack([_last_judged(s) for s in results])
    each = torch.where(censored & defined, torch.minimum(each, steps), each)
    limit = torch.where(kept, each.amin(0), last)
    horizon = torch.where(kept, torch.minimum(steps, limit).double(), torch.nan)
    failed = kept & ~censored & (steps < limit)
    sound = torch.stack([s.fault for s in results]).cpu() == int(Reason.DEFINED)
    silent = ~defined & sound
    alone = silent & (defined.sum(0) == len(results) - 1)
    first = kept & (each == limit) & (limit < last) & ((each == limit).sum(0) == 1)
    return MatchedCells(
        horizon=horizon.view(-1, *shape),
        cause=torch.where(failed, axis, -1).view(-1, *shape),
        areas=_areas(results, sound.all(0)).view(len(results), *shape, -1),
        kept=kept.view(shape),
        restricted=(kept & (limit < last)).view(shape),
        dropped=tuple(_dropped(s, n) for s, n in zip(results, silent.sum(1).tolist(), strict=True)),
        undefined_alone=tuple(alone.sum(1).tolist()),
        ends_first=tuple(first.sum(1).tolist()),
    )


def _last_judged(scores: Scores) -> Tensor:
    """Last step `[R]` at which every gated axis had frames to judge."""
    judged = [scores.axes[spec.axis].reason.cpu() for spec in scores.panel.axes if spec.gate]
    rows, last = len(scores), scores.panel.contract.horizon
    if not judged:
        return torch.full((rows,), last)
    step = torch.arange(1, last + 1)
    found = []
    for parts in zip(*(torch.split(reason, _ROWS) for reason in judged), strict=True):
        there = torch.stack([part != int(Reason.NO_FRAME) for part in parts]).all(0)
        found.append(torch.where(there, step, 0).amax(1))
    return torch.cat(found)


def _areas(results: Sequence[Scores], sound: Tensor) -> Tensor:
    """Mean scores `[M, R, A]` over steps that all models define, of rows without a fault."""
    found = [
        shared_means([s.axes[name].values.cpu() for s in results], sound)
        for name in results[0].axes
    ]
    return torch.stack(found, -1)


def _dropped(scores: Scores, silent: int) -> dict[str, int]:
    """Rows without a usable horizon, by reason."""
    return scores.faults() | ({UNDEFINED: silent} if silent else {})
