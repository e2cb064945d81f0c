"""Scores of several models as matched cells: scenario x seed, only what all of them show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wmscore.comparison.areas import shared_means
from wmscore.comparison.same import check_comparable
from wmscore.functional import Reason, usable_horizon
from wmscore.scores import Scores

__all__ = ["MatchedCells", "last_judged", "matched_cells"]

_MOST_UNDEFINED = 0.5  # share of steps from which a row says little of an axis

RESOLUTION = 1e-6
"""Scores that are no further apart are alike but for rounding (float32, another device)."""

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
        hidden: per model, kept cells in which it fails only after the last step that all show, as
            another ends there without failing.
        unjudged: per model, axis -> kept cells of which it leaves more than half undefined, of the
            steps at which another is defined, up to its own horizon: nothing could fail there.
        undefined: the same of all steps that all show, and of cells without a horizon too.
    """

    horizon: Tensor
    cause: Tensor
    areas: Tensor
    kept: Tensor
    restricted: Tensor
    dropped: tuple[dict[str, int], ...]
    undefined_alone: tuple[int, ...]
    ends_first: tuple[int, ...]
    hidden: tuple[int, ...]
    unjudged: tuple[dict[str, int], ...]
    undefined: tuple[dict[str, int], ...]


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
    each = torch.stack([last_judged(s) for s in results])
    each = torch.where(censored & defined, torch.minimum(each, steps), each)
    limit = torch.where(kept, each.amin(0), last)
    failed = kept & ~censored & (steps < limit)
    cut = kept & (limit < last)
    if bool(cut.any()):
        # A failure that only later steps confirm is none yet: the others show no such steps.
        confirmed = torch.stack([_fails_within(s, limit, cut) for s in results])
        failed = failed & (confirmed | ~cut)
    horizon = torch.where(failed, steps, limit).double()
    horizon = torch.where(kept, horizon, torch.nan)
    sound = torch.stack([s.fault for s in results]).cpu() == int(Reason.DEFINED)
    silent = ~defined & sound
    alone = silent & (defined.sum(0) == len(results) - 1)
    first = kept & (each == limit) & (limit < last) & ((each == limit).sum(0) == 1)
    open_end = kept & (each == limit) & (limit < last) & ~failed
    others = open_end.sum(0) - open_end.long()
    hidden = kept & ~censored & ~failed & (others > 0)
    return MatchedCells(
        horizon=horizon.view(-1, *shape),
        cause=torch.where(failed, axis, -1).view(-1, *shape),
        areas=_areas(results, sound.all(0)).view(len(results), *shape, -1),
        kept=kept.view(shape),
        restricted=(kept & (limit < last)).view(shape),
        dropped=tuple(_dropped(s, n) for s, n in zip(results, silent.sum(1).tolist(), strict=True)),
        undefined_alone=tuple(alone.sum(1).tolist()),
        ends_first=tuple(first.sum(1).tolist()),
        hidden=tuple(hidden.sum(1).tolist()),
        unjudged=_unjudged(results, torch.minimum(steps, limit) * kept),
        undefined=_unjudged(results, limit.expand_as(steps) * sound.all(0)),
    )


def _fails_within(scores: Scores, limit: Tensor, rows: Tensor) -> Tensor:
    """Which of some rows `[R]` fail by what they show up to a step `[R]`."""
    specs = scores.panel.axes
    values = torch.stack([scores.axes[spec.axis].values.cpu()[rows] for spec in specs])
    back = [spec.threshold if (r := spec.recover_threshold) is None else r for spec in specs]
    found = usable_horizon(
        values,
        torch.tensor([spec.threshold for spec in specs], dtype=torch.float64),
        patience=torch.tensor([spec.patience for spec in specs]),
        valid=torch.arange(1, values.shape[-1] + 1) <= limit[rows, None],
        gated=torch.tensor([spec.gate for spec in specs]),
        recover_thresholds=torch.tensor(back, dtype=torch.float64),
    )
    fails = torch.zeros_like(rows)
    fails[rows] = found.defined & ~found.censored
    return fails


def last_judged(scores: Scores) -> Tensor:
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


def _unjudged(results: Sequence[Scores], upto: Tensor) -> tuple[dict[str, int], ...]:
    """Per model, axis -> rows that it mostly leaves undefined where another model is defined.

    Of the steps up to `upto` `[M, R]`; axes without such rows are left out.
    """
    found: tuple[dict[str, int], ...] = tuple({} for _ in results)
    if len(results) < 2:
        return found
    for name in results[0].axes:
        own = torch.stack([s.axes[name].values.cpu().isfinite() for s in results])  # [M, R, T]
        asked = own.any(0) & (torch.arange(own.shape[-1]) < upto[..., None])
        rows = ((asked & ~own).sum(-1) > asked.sum(-1) * _MOST_UNDEFINED).sum(-1)
        for lines, number in zip(found, rows.tolist(), strict=True):
            lines |= {name: number} if number else {}
    return found


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
