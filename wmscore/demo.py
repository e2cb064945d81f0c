"""The demo: one panel, two families of learned models, known faults, anchors, a stress ladder."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from wmscore.evidence import Trace, check_folder, write_evidence
from wmscore.ladder import Ladder, run_ladder
from wmscore.manifest import Panel
from wmscore.replay import (
    freeze_panel,
    predict_rows,
    reconstruct_rows,
    render_truth,
    replay,
    replay_reconstruction,
    replay_rows,
    replay_teacher_forced,
)
from wmscore.rollouts import RECONSTRUCTION, TEACHER_FORCED, Rollouts
from wmscore.scorer import Scorer
from wmscore.scores import Scores
from wmscore.stressors import find
from wmscore.testing import faults
from wmscore.worlds import (
    ActionBlind,
    Frozen,
    Item,
    OtherSeed,
    Reconstructing,
    TeacherForced,
    WorldModel,
    packaged_models,
)
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


def demo_models(panel: Panel, world: WorldModel) -> list[WorldModel]:
    """Anchors, two models that learned from this world, and two whose fault is known.

    The learned ones are there where wmscore comes with weights for the panel's world and size.
    """
    learned: list[WorldModel] = []
    with contextlib.suppress(ValueError):  # another world or size than they were trained for
        learned = list(packaged_models(panel))
    return [
        Simulator(world),
        OtherSeed(world),
        *learned,
        faults.Faulty(world, faults.DelayedActions(2)),
        faults.Faulty(world, faults.IdentitySwap()),
        ActionBlind(world),
        Frozen(),
    ]


def demo_ladder(panel: Panel, world: WorldModel, report: Report, device: str = "cpu") -> Ladder:
    """Three rungs of stress, on the panel's first seed, for models that do not use theirs.

    The learned families have no usable horizon to lose on the packaged panels.
    """
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
        Scores of all models and companions, the traces that were kept, and the ladder.
    """
    check_folder(out)
    panel = panel or demo_panel()
    world = load_world(panel)
    truth = render_truth(
        panel, world, progress=lambda done, total: report("true world", done, total)
    )
    panel, truth = freeze_panel(panel, truth, fps=world.capabilities.fps)
    models = {model.name: model for model in demo_models(panel, world)}
    results = []
    for model in models.values():
        for name, replayed in _replays(model).items():
            scorer = Scorer(panel, device=device)

            def progress(done: int, total: int, name: str = name) -> None:
                report(name, done, total)

            for rollouts in replayed(panel, model, truth, batch_size=batch_size, progress=progress):
                scorer.update(rollouts)
            results.append(scorer.compute())
    ladder = demo_ladder(panel, world, report, device) if stress else None

    def fetch(name: str, scenario: int, seed: int) -> Rollouts:
        row = [(scenario, seed)]
        if name.endswith(TEACHER_FORCED):
            model = models[name.removesuffix(TEACHER_FORCED)]
            return predict_rows(panel, model, truth, row).with_reference(truth)
        if name.endswith(RECONSTRUCTION):
            model = models[name.removesuffix(RECONSTRUCTION)]
            return reconstruct_rows(panel, model, truth, row).with_reference(truth)
        return replay_rows(panel, models[name], truth, row)

    traces = write_evidence(
        out,
        results,
        fetch,
        roles=ROLES,
        ladder=ladder,
        progress=lambda done, total: report("evidence", done, total),
    )
    return results, traces, ladder


def _replays(model: WorldModel) -> dict[str, Callable[..., Iterator[Rollouts]]]:
    """Rollouts of a model and, of a judged one, its companions; by the name of the scores."""
    found: dict[str, Callable[..., Iterator[Rollouts]]] = {model.name: replay}
    if model.name in ROLES:  # anchors have no causes to find
        return found
    if isinstance(model, TeacherForced):
        found[model.name + TEACHER_FORCED] = replay_teacher_forced
    if isinstance(model, Reconstructing):
        found[model.name + RECONSTRUCTION] = replay_reconstruction
    return found
