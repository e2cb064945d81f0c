"""Climb the ladders: every model on every rung."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from wmscore.files import sha256_tensor
from wmscore.ladder.result import Ladder
from wmscore.ladder.summary import RungScores, summarise_ladder
from wmscore.manifest import Panel
from wmscore.replay import render_scenarios, replay_rows
from wmscore.rollouts import Rollouts
from wmscore.scorer import Scorer
from wmscore.scores import Scores
from wmscore.stressors import Stressor, all_stressors
from wmscore.worlds import WorldModel, stressed_world

__all__ = ["run_ladder"]

Models = Sequence[WorldModel] | Callable[[WorldModel], Sequence[WorldModel]]
Progress = Callable[[str, int, int], None]

UNCHANGED = "changes nothing here: the true world shows the same, and so do prompts and scripts"


def run_ladder(
    panel: Panel,
    models: Models,
    world: WorldModel,
    stressors: Sequence[Stressor] | None = None,
    *,
    severities: Mapping[str, Sequence[float]] | None = None,
    roles: Mapping[str, str] | None = None,
    device: torch.device | str = "cpu",
    batch_size: int = 8,
    seed: int = 0,
    scorer: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Ladder:
    """Replay and score every model on the clean panel and on every rung of every ladder.

    One rung after the other, and of each a few scenarios at a time: memory is bounded by
    `batch_size` rows, not by the panel or the number of rungs. A rung that cannot be applied to
    this panel, or that changes nothing in it, is kept with the reason.

    Args:
        panel: a clean one.
        models: the models, anchors included; or a function that makes them of the true world of
            each panel, for anchors and faults that are made of the world.
        world: the true world, without a stress.
        stressors: all of them by default.
        severities: by stressor name, ladders of one's own, rising.
        roles: model name -> "truth", "ceiling" or "floor" for anchors.
        device: where to score.
        batch_size: panel rows (scenario, seed) per call of a model.
        seed: of what stressors draw.
        scorer: further arguments of `Scorer`.
        progress: called with (what is running, rows done, rows in all).

    Raises:
        ValueError: the panel is stressed already, a severity is out of range, or `severities`
            names a stressor that is not climbed.
    """
    chosen = all_stressors() if stressors is None else tuple(stressors)
    ladders = {stressor.name: tuple(stressor.severities) for stressor in chosen}
    for name, own in (severities or {}).items():
        if name not in ladders:
            raise ValueError(f"severities: expected names of {list(ladders)}, got {name!r}")
        ladders[name] = tuple(own)
    if panel.stress is not None:
        raise ValueError(f"panel: expected a clean one, got one under {panel.stress.stressor}")
    if batch_size < 1:
        raise ValueError(f"batch_size: expected at least 1, got {batch_size}")

    def climb(harder: Panel, what: str) -> tuple[list[Scores], list[str]]:
        return _score_panel(
            harder,
            models,
            stressed_world(world, harder),
            device=device,
            batch_size=batch_size,
            scorer=dict(scorer or {}),
            report=lambda done, total: progress and progress(what, done, total),
        )

    clean, shown = climb(panel, "clean panel")
    rungs = []
    for stressor in chosen:
        for severity in ladders[stressor.name]:
            stressor.check_severity(severity)
            what = f"{stressor.name} {severity:g}"
            found: Sequence[Scores] = ()
            try:
                harder = stressor.apply(panel, severity, seed=seed)
                found, now = climb(harder, what)
                excluded = UNCHANGED if now == shown else None
            except ValueError as error:
                excluded = str(error)
            rungs.append(
                RungScores(
                    stressor=stressor.name,
                    severity=float(severity),
                    unit=stressor.unit,
                    scores=() if excluded else found,
                    excluded=excluded,
                )
            )
    return summarise_ladder(clean, rungs, roles=roles, seed=seed)


def _score_panel(
    panel: Panel,
    models: Models,
    world: WorldModel,
    *,
    device: torch.device | str,
    batch_size: int,
    scorer: dict[str, Any],
    report: Callable[[int, int], object],
) -> tuple[list[Scores], list[str]]:
    """Scores of every model, and a digest of what each scenario asks and shows."""
    here = list(models(world) if callable(models) else models)
    scorers = [Scorer(panel, device=device, **scorer) for _ in here]
    at_once = max(1, batch_size // len(panel.seeds))
    digests: list[str] = []
    total = len(panel.scenarios)
    for start in range(0, total, at_once):
        some = range(start, min(start + at_once, total))
        truth = render_scenarios(panel, world, some)
        digests += [_digest(panel, truth, s) for s in some]
        rows = [(s, seed) for s in some for seed in panel.seeds]
        for model, judge in zip(here, scorers, strict=True):
            for first in range(0, len(rows), batch_size):
                part = rows[first : first + batch_size]
                judge.update(replay_rows(panel, model, truth, part))
        report(some.stop, total)
    return [judge.compute() for judge in scorers], digests


def _digest(panel: Panel, truth: Rollouts, scenario: int) -> str:
    """SHA-256 of what a scenario asks of a model and what the true world shows."""
    mine = truth[truth.scenario == scenario]
    text = [sha256_tensor(mine.frames), sha256_tensor(mine.actions)]
    text.append(str(panel.scenarios[scenario].prompt))
    return hashlib.sha256("/".join(text).encode()).hexdigest()
