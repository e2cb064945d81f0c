"""`examine`: every substitution that a model and its true world allow, and the diagnosis of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from wmscore.attribution import (
    Diagnosis,
    Normal,
    Outcome,
    Signal,
    delivered_signal,
    diagnose,
    evaluation_signal,
    misaligned_evaluation,
    misalignment,
    on_rows,
    outcome_of,
)
from wmscore.attribution.alignment import Misalignment
from wmscore.manifest import Panel
from wmscore.replay.delivered import Delivered, delivered_scripts
from wmscore.replay.rolling import predict_rows, reconstruct_rows, replay_rows
from wmscore.replay.truth import Progress, check_batch_size
from wmscore.rollouts import Rollouts
from wmscore.scorer import Scorer
from wmscore.scores import Scores
from wmscore.worlds import Reconstructing, TeacherForced, WorldModel, stressed_world

__all__ = ["Examination", "examine"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Examination:
    """What `examine` found.

    Attributes:
        diagnosis: what failed first, and its cause.
        results: scores of the model, of its companions, and of the true world as a model.
        roles: the true world's name -> "truth".
        signals: by stage, what `diagnose` does not find in scores: evaluation and control.
    """

    diagnosis: Diagnosis
    results: tuple[Scores, ...]
    roles: dict[str, str]
    signals: dict[str, Signal]


def examine(
    panel: Panel,
    model: WorldModel,
    world: WorldModel,
    truth: Rollouts,
    *,
    batch_size: int = 8,
    likeness: float = 0.7,
    normal: Normal | None = None,
    signals: dict[str, Signal] | None = None,
    regret: Tensor | None = None,
    device: torch.device | str = "cpu",
    scorer: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Examination:
    """Diagnose a model with every oracle at hand put in the place of its stages.

    Replays the model; the true world through the same evaluation; the model's reconstructions and
    one-step predictions where it offers them, looking for mistakes of bookkeeping in the former;
    and, for rows that fail, looks for the script under which the true world shows their frames
    (discrete actions). Memory is bounded by the batch.

    Args:
        panel: the contract.
        model: who is judged.
        world: the true world, which must answer any script.
        truth: from `render_truth` on the same panel.
        batch_size: panel rows (scenario, seed) per call; each brings all its branches.
        likeness: HaarPSI below which two frames count as different.
        normal: what companions without a fault keep (`wmscore.attribution.Normal`).
        signals: further ones by stage, say "representation" of a `state_probe`.
        regret: of a planner; see `wmscore.attribution.assign`.
        device: where to score.
        scorer: further arguments of `Scorer`, such as the encoder that the panel names.
        progress: called with (rows done, rows in all).

    Example:
        >>> from wmscore.replay import render_truth
        >>> from wmscore.testing import DelayedActions, Faulty
        >>> from wmscore.worlds import SpriteWorld
        >>> panel, world = Panel.packaged("sprites"), SpriteWorld(64, 64)
        >>> truth = render_truth(panel, world)
        >>> model = Faulty(world, DelayedActions(3))
        >>> examine(panel, model, world, truth).diagnosis.cause          # doctest: +SKIP
        'control'
    """
    check_batch_size(batch_size)
    true = stressed_world(world, panel)
    rows = list(panel.rows())
    make = partial(Scorer, panel, device=device, **(scorer or {}))
    mine, its, rebuilt, forced = (make() for _ in range(4))
    delivered: list[tuple[Tensor, Delivered]] = []
    aligned: list[tuple[Tensor, Misalignment]] = []
    for start in range(0, len(rows), batch_size):
        some = rows[start : start + batch_size]
        place = torch.arange(start, start + len(some))
        rollouts = replay_rows(panel, model, truth, some)
        mine.update(rollouts)
        its.update(_named(replay_rows(panel, true, truth, some), true, model))
        if isinstance(model, TeacherForced):
            forced.update(predict_rows(panel, model, truth, some).with_reference(truth))
        if isinstance(model, Reconstructing):
            shown = reconstruct_rows(panel, model, truth, some).with_reference(truth)
            rebuilt.update(shown)
            if shown.frames.shape[2] in (1, 3):
                aligned.append((place, misalignment(_commanded(shown, some, panel))))
        if panel.contract.actions.kind == "discrete":
            failed = _failed(make, rollouts, place)
            if bool(failed.any()):
                those = _commanded(rollouts, some, panel)[failed.nonzero()[:, 0]]
                delivered.append((place[failed], delivered_scripts(panel, world, those)))
        if progress is not None:
            progress(start + len(some), len(rows))
    scores, own = mine.compute(), its.compute()
    results = [scores, own]
    results += [rebuilt.compute()] if isinstance(model, Reconstructing) else []
    results += [forced.compute()] if isinstance(model, TeacherForced) else []
    roles = {own.model: "truth"}
    outcome = outcome_of(scores)
    found: dict[str, Signal] = {}
    if aligned:
        found["evaluation"] = misaligned_evaluation(
            evaluation_signal(scores, own),
            _joined(aligned, len(rows)),
            outcome,
            likeness,
            patience=outcome.patience,
        )
    if panel.contract.actions.kind == "discrete":
        found["control"] = _control(delivered, outcome, likeness, len(rows), panel)
    found |= signals or {}
    diagnosis = diagnose(scores, results, roles=roles, signals=found, regret=regret, normal=normal)
    return Examination(diagnosis=diagnosis, results=tuple(results), roles=roles, signals=found)


def _named(rollouts: Rollouts, world: WorldModel, model: WorldModel) -> Rollouts:
    """The true world's, under a name that is not the model's."""
    name = world.name if world.name != model.name else f"{world.name} (true)"
    return replace(rollouts, model=name)


def _failed(make: Callable[[], Scorer], rollouts: Rollouts, place: Tensor) -> Tensor:
    """Bool `[n]`: which rows of a batch end within the horizon."""
    scorer = make()
    scorer.update(rollouts)
    return outcome_of(scorer.compute()).failed[place]


def _commanded(rollouts: Rollouts, rows: Sequence[tuple[int, int]], panel: Panel) -> Rollouts:
    """One commanded rollout for each row, in their order."""
    keys = zip(
        rollouts.scenario.tolist(), rollouts.seed.tolist(), rollouts.branch.tolist(), strict=True
    )
    index = {(s, seed): i for i, (s, seed, branch) in enumerate(keys) if branch == 0}
    return rollouts[torch.tensor([index[row] for row in rows])]


def _joined(parts: Sequence[tuple[Tensor, Misalignment]], count: int) -> Misalignment:
    place = torch.cat([rows for rows, _ in parts])
    kind = torch.zeros(count, dtype=torch.int64)
    kind[place] = torch.cat([found.kind for _, found in parts])
    return Misalignment(
        kinds=parts[0][1].kinds,
        kind=kind,
        plain=on_rows(torch.cat([f.plain for _, f in parts]), place, count),
        explained=on_rows(torch.cat([f.explained for _, f in parts]), place, count),
    )


def _control(
    parts: Sequence[tuple[Tensor, Delivered]],
    outcome: Outcome,
    likeness: float,
    count: int,
    panel: Panel,
) -> Signal:
    blank = torch.full((count, panel.contract.horizon), torch.nan, dtype=torch.float64)
    plain, explained = blank, blank
    if parts:
        place = torch.cat([rows for rows, _ in parts])
        plain = on_rows(torch.cat([found.plain for _, found in parts]), place, count)
        explained = on_rows(torch.cat([found.explained for _, found in parts]), place, count)
    return delivered_signal(plain, explained, outcome, likeness, patience=outcome.patience)
