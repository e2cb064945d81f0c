"""Ask a model for the same rows again, after the same and after another history."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from wmscore.manifest import Panel
from wmscore.replay.answers import checked_answer
from wmscore.replay.items import panel_items
from wmscore.replay.resets.report import SMALL, ResetReport, kind_of
from wmscore.rollouts import Rollouts
from wmscore.stats import energy_test
from wmscore.worlds import Item, WorldModel
from wmscore.worlds.handing import handed

__all__ = ["check_resets"]

_SIDE = 8  # frames are averaged to so many blocks each way before answers are compared by chance


def check_resets(
    panel: Panel,
    model: WorldModel,
    truth: Rollouts,
    *,
    world: WorldModel | None = None,
    rows: Sequence[tuple[int, int]] | None = None,
    repeats: int = 12,
    level: float = 0.05,
    seed: int = 0,
) -> ResetReport:
    """Ask a model for the same rows twice in one call, in two calls, and after another history.

    Every call for the rows follows a call for something else, the history: so two answers differ by
    the model's own chance alone, or by what it remembers. A model that repeats itself leaks exactly
    where its answer changes with the history. Of another, `repeats` answers after each of two
    histories, in an order that is drawn, are compared by their energy distance; if the reset
    forgets, the history is a label without meaning, and dealing labels out anew gives the null
    distribution.

    Args:
        panel: the contract.
        model: the model. Only commanded scripts are asked for.
        truth: from `render_truth` on the same panel.
        world: the true world, to see whether it repeats itself.
        rows: (scenario index, seed) rows; by default the first seed of the first 4 scenarios.
        repeats: answers after each history, for models that draw anew: 4 `repeats` calls more.
        level: of the test, two-sided.
        seed: of the order and the permutations.

    Raises:
        ValueError: no rows, too few repeats for a verdict, or no level between 0 and 1.
        WrongAnswerError: the model answers something else than was asked.

    Example:
        >>> report = check_resets(panel, model, truth)                   # doctest: +SKIP
        >>> print(" ".join(report.sentences()))                        # doctest: +SKIP
    """
    if rows is None:
        rows = [(s, panel.seeds[0]) for s in range(min(4, len(panel.scenarios)))]
    if not rows:
        raise ValueError("rows: expected at least one, got none")
    if repeats < 4:
        raise ValueError(f"repeats: expected at least 4, got {repeats}")
    if not 0 < level < 1:
        raise ValueError(f"level: expected a number between 0 and 1, got {level}")
    items = _commanded(panel, rows, truth)
    before, other = _histories(panel, items, truth)

    def after(history: Item) -> Tensor:
        _ask(panel, model, [history] * len(items))
        return _ask(panel, model, items)

    first = after(before)
    again, changed = _largest(first, after(before)), _largest(first, after(other))
    pairs = _ask(panel, model, [*items, *items])
    together = _largest(*pairs.chunk(2))
    apart = torch.maximum(again, together)
    most = float(apart.max())
    leak_p, leaks = math.nan, None
    if _same(before, other):
        pass  # one script of one scenario, and nothing that can be changed in it
    elif most <= SMALL:
        leaks = bool((changed > (0 if most == 0 else SMALL)).any())
    else:
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(2 * repeats, generator=generator) < repeats
        samples = torch.stack([_coarse(after(before if x else other)) for x in order.tolist()])
        leak_p = energy_test(samples[order], samples[~order], seed=seed).p_value
        leaks = None if math.isnan(leak_p) else leak_p < level
    differs = apart > 0
    return ResetReport(
        model=model.name,
        rows=tuple((item.scenario_id, item.seed) for item in items),
        together=together,
        again=again,
        after=changed,
        other_seed=_other_seed(panel, model, truth, rows, first),
        world=torch.full_like(again, torch.nan)
        if world is None
        else _largest(*(_ask(panel, world, items) for _ in range(2))),
        kind=tuple(kind_of(gap) for gap in apart.amax(1).tolist()),
        first=torch.where(differs.any(1), differs.int().argmax(1), -1),
        leak_p=leak_p,
        leaks=leaks,
    )


def _commanded(panel: Panel, rows: Sequence[tuple[int, int]], truth: Rollouts) -> list[Item]:
    return [item for item in panel_items(panel, rows, truth=truth) if item.branch == 0]


def _ask(panel: Panel, model: WorldModel, items: Sequence[Item]) -> Tensor:
    """Frames `[N, T+1, C, H, W]`, in host memory of their own."""
    found = model.rollout(handed(items), panel.contract.horizon)
    checked_answer(found, model.name, list(items), panel)
    return found.frames.detach().to("cpu", copy=True)


def _histories(panel: Panel, items: Sequence[Item], truth: Rollouts) -> tuple[Item, Item]:
    """Two things to be asked before: the first row, and what is as unlike it as the panel has.

    Of another scenario if there is one, with another script if there is one; else a counterfactual
    script; else actions that the panel does not command.
    """
    mine = items[0]
    given = sorted(set(truth.scenario[truth.branch == 0].tolist()))  # not all need be rendered
    others = panel_items(panel, [(s, mine.seed) for s in given], truth=truth)
    others = [item for item in others if not _same(item, mine)]
    others.sort(
        key=lambda item: (
            item.scenario == mine.scenario,
            torch.equal(item.actions, mine.actions),
            item.branch,
        )
    )
    if others:
        return mine, others[0]
    if mine.actions.is_floating_point():
        return mine, replace(mine, actions=-mine.actions)
    return mine, replace(mine, actions=(mine.actions + 1) % len(mine.action_names))


def _same(first: Item, second: Item) -> bool:
    return first.scenario == second.scenario and torch.equal(first.actions, second.actions)


def _other_seed(
    panel: Panel,
    model: WorldModel,
    truth: Rollouts,
    rows: Sequence[tuple[int, int]],
    first: Tensor,
) -> Tensor:
    """How far another seed's answer is away; NaN where the panel has one only."""
    if len(panel.seeds) == 1:
        return torch.full(first.shape[:2], torch.nan, dtype=torch.float64)
    moved = [(s, next(x for x in panel.seeds if x != row_seed)) for s, row_seed in rows]
    return _largest(first, _ask(panel, model, _commanded(panel, moved, truth)))


def _largest(first: Tensor, second: Tensor) -> Tensor:
    """`[N, T+1]` largest difference of a value, in data ranges; inf for a NaN on one side."""
    scale = 255.0 if first.dtype == torch.uint8 else 1.0
    gap = (first.double() - second.double()).abs_() / scale
    if first.is_floating_point():
        alike = (first == second) | (first.isnan() & second.isnan())
        gap = torch.where(alike, 0.0, gap.nan_to_num(math.inf))
    return gap.flatten(2).amax(2)


def _coarse(frames: Tensor) -> Tensor:
    """Frames as blocks: what is compared is the picture, and small."""
    scale = 255.0 if frames.dtype == torch.uint8 else 1.0
    return adaptive_avg_pool2d(frames.double().flatten(0, 1) / scale, _SIDE)
