"""Climb the ladders: every model on every rung."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from wmscore import __version__
from wmscore.ladder.climb import Climb, Models, Progress
from wmscore.ladder.kept import KeptRungs
from wmscore.ladder.result import Ladder
from wmscore.ladder.rungs import RungScores
from wmscore.ladder.summary import summarise_ladder
from wmscore.manifest import Panel
from wmscore.scorer import Scorer
from wmscore.stressors import Stressor, all_stressors
from wmscore.worlds import WorldModel

__all__ = ["run_ladder"]


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
    folder: str | Path | None = None,
    made_by: str | None = None,
) -> Ladder:
    """Replay and score every model on the clean panel and on every rung of every ladder.

    One rung after the other, and of each a few scenarios at a time: memory is bounded by
    `batch_size` rows, not by the panel or the number of rungs.

    A rung that cannot be applied to this panel, or that changes nothing in it, is kept with the
    reason. So is one that a model refuses, with a ValueError or NotImplementedError, while the
    others go on; whatever else goes wrong in a model ends the run.

    Args:
        panel: a clean one.
        models: the models, anchors included; or a function that makes them of the true world of
            each panel, for anchors and faults that are made of the world.
        world: the true world, without a stress.
        stressors: all of them by default.
        severities: by stressor name, ladders of one's own, rising.
        roles: model name -> "truth", "ceiling" or "floor" for anchors. It may be filled by
            `models`; it is read at the end.
        device: where to score.
        batch_size: panel rows (scenario, seed) per call of a model.
        seed: of what stressors draw.
        scorer: further arguments of `Scorer`.
        progress: called with (what is running, scenarios done, scenarios in all).
        folder: keeps finished rungs. Whenever a run ends, also by a kill, the same call again asks
            for nothing that is finished, and gives the ladder that an uninterrupted run gives. It
            is the caller who knows that models and `scorer` are the same.
        made_by: what distinguishes these models from others of their names, say a checkpoint and
            its options; a folder that was begun with another text is refused.

    Raises:
        ValueError: the panel is stressed already, a stressor comes twice, a severity is out of
            range or no more than the last, or `severities` names a stressor that is not climbed;
            a model refuses the clean panel, or has another name under stress; `folder` holds
            another ladder.
    """
    chosen = all_stressors() if stressors is None else tuple(stressors)
    ladders = _ladders(panel, chosen, severities or {})
    if panel.stress is not None:
        raise ValueError(f"panel: expected a clean one, got one under {panel.stress.stressor}")
    if batch_size < 1:
        raise ValueError(f"batch_size: expected at least 1, got {batch_size}")

    def keep(names: list[str]) -> KeptRungs:
        about = {
            "panel": panel.fingerprint,
            "models": names,
            "made_by": made_by,
            "device": str(device),
            "scorer": sorted(scorer or {}),
            "wmscore": __version__,
            "torch": torch.__version__,
        }
        assert folder is not None
        return KeptRungs(folder, about)

    climb = Climb(
        models,
        world,
        scorer=lambda harder: Scorer(harder, device=device, **(scorer or {})),
        batch_size=batch_size,
        progress=progress,
        roles={} if roles is None else roles,  # not `or`: it is filled later
        keep=None if folder is None else keep,
    )
    clean = climb.clean(panel)
    rungs = []
    for stressor in chosen:
        for severity in ladders[stressor.name]:
            found = RungScores(stressor=stressor.name, severity=severity, unit=stressor.unit)
            rungs.append(climb.stressed(panel, stressor, found, seed))
    return summarise_ladder(clean, rungs, roles=roles, seed=seed)


def _ladders(
    panel: Panel, stressors: Sequence[Stressor], severities: Mapping[str, Sequence[float]]
) -> dict[str, tuple[float, ...]]:
    """The severities of each stressor; all mistakes show before the first rung.

    A rung of a stressor's own ladder that this panel has no room for is no mistake: it is excluded.
    """
    names = [stressor.name for stressor in stressors]
    if len(set(names)) < len(names):
        raise ValueError(f"stressors: expected each once, got {names}")
    for name in severities:
        if name not in names:
            raise ValueError(f"severities: expected names of {names}, got {name!r}")
    found = {}
    for stressor in stressors:
        asked = severities.get(stressor.name, stressor.severities)
        own = tuple(stressor.check_severity(severity) for severity in asked)
        if not own or any(b <= a for a, b in itertools.pairwise(own)):
            raise ValueError(
                f"severities: expected rising severities of {stressor.name}, got {list(own)}"
            )
        if stressor.name in severities:
            stressor.check_limit(panel, own[-1])
        found[stressor.name] = own
    return found
