"""The demo: one panel, the true world, its anchors, two models with a known fault, some stress."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from wmscore.evidence import Trace, check_folder, write_evidence
from wmscore.ladder import Ladder, run_ladder
from wmscore.manifest import Panel
from wmscore.replay import freeze_panel, render_truth, replay, replay_rows
from wmscore.rollouts import Rollouts
from wmscore.scorer import Scorer
from wmscore.scores import Scores
from wmscore.stressors import find
from wmscore.testing import faults
from wmscore.worlds import ActionBlind, Frozen, Item, OtherSeed, WorldModel
from wmscore.worlds.load import load_world

__all__ = ["ROLES", "demo_ladder", "demo_models", "demo_panel", "run_demo"]

# What the anchors are for: a perfect model, the best a stochastic world allows, no world at all.
ROLES = {
    "simulator": "truth",
    "other-seed": "ceiling",
    "action-blind": "floor",
    "frozen": "floor",
}

Report = Callable[[str, int, int], None]


class Simulator:
    """The true world itself, replayed as if it were a model."""

    name = "simulator"

    def __init__(self, world: WorldModel) -> None:
        """Wrap `world`."""
        self.world, self.capabilities = world, world.capabilities

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        """The world's own rollouts."""
        return replace(self.world.rollout(items, horizon), model=self.name)


def demo_panel() -> Panel:
    """The packaged panel of VizDoom where its wheel is installed, else of the sprite world."""
    return Panel.packaged("vizdoom" if importlib.util.find_spec("vizdoom") else "sprites")


def demo_models(world: WorldModel) -> list[WorldModel]:
    """The anchors and the two models whose fault is known."""
    return [
        Simulator(world),
        OtherSeed(world),
        faults.Faulty(world, faults.DelayedActions(2)),
        faults.Faulty(world, faults.IdentitySwap()),
        ActionBlind(world),
        Frozen(),
    ]


def demo_ladder(panel: Panel, world: WorldModel, report: Report, device: str = "cpu") -> Ladder:
    """Three rungs of stress, on the panel's first seed, for models that do not use theirs."""
    one = Panel.from_dict({**panel.model_dump(), "seeds": panel.seeds[:1]})

    def models(stressed: WorldModel) -> list[WorldModel]:
        late = faults.Faulty(stressed, faults.DelayedActions(2))
        return [Simulator(stressed), late, Frozen()]

    return run_ladder(
        one,
        models,
        world,
        [find("actuator-delay"), find("under-exposure"), find("occlusion")],
        severities={"actuator-delay": (2,), "under-exposure": (2.0,), "occlusion": (0.2,)},
        roles=ROLES,
        device=device,
        progress=report,
    )


def run_demo(
    out: str | Path,
    *,
    panel: Panel | None = None,
    device: str = "cpu",
    batch_size: int = 8,
    stress: bool = True,
    report: Report = lambda name, done, total: None,
) -> tuple[list[Scores], list[Trace], Ladder | None]:
    """Replay a panel through the demo's models, score and stress them, and write the evidence.

    Args:
        out: the evidence folder.
        panel: `demo_panel()` by default.
        device: where to score.
        batch_size: panel rows per batch.
        stress: climb the stress ladder too.
        report: called with (what is running, done, total).

    Returns:
        Scores of all models, the traces that were kept, and the ladder.
    """
    check_folder(out)
    panel = panel or demo_panel()
    world = load_world(panel)
    truth = render_truth(
        panel, world, progress=lambda done, total: report("true world", done, total)
    )
    panel, truth = freeze_panel(panel, truth, fps=world.capabilities.fps)
    models = {model.name: model for model in demo_models(world)}
    results = []
    for name, model in models.items():
        scorer = Scorer(panel, device=device)

        def progress(done: int, total: int, name: str = name) -> None:
            report(name, done, total)

        for rollouts in replay(panel, model, truth, batch_size=batch_size, progress=progress):
            scorer.update(rollouts)
        results.append(scorer.compute())
    ladder = demo_ladder(panel, world, report, device) if stress else None

    traces = write_evidence(
        out,
        results,
        lambda name, scenario, seed: replay_rows(panel, models[name], truth, [(scenario, seed)]),
        roles=ROLES,
        ladder=ladder,
    )
    return results, traces, ladder
