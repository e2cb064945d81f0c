"""The true world's side of a replay: one rollout per scenario and script, and the frozen start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from wmscore.files import sha256_tensor
from wmscore.manifest import Observation, Panel
from wmscore.replay.answers import checked_answer
from wmscore.replay.items import panel_items
from wmscore.rollouts import Rollouts
from wmscore.worlds import WorldModel, stressed_world

__all__ = ["Progress", "check_batch_size", "freeze_panel", "render_scenarios", "render_truth"]

Progress = Callable[[int, int], None]


def render_truth(
    panel: Panel, world: WorldModel, *, batch_size: int = 8, progress: Progress | None = None
) -> Rollouts:
    """What the true world shows: one rollout per scenario and branch, shared by all seeds.

    All of it in memory; `wmscore.recordings.record` writes it in parts instead.

    Raises:
        ValueError: the world shows another initial frame than the panel froze, or two branches
            of one scenario start differently.
    """
    check_batch_size(batch_size)
    parts, total = [], len(panel.scenarios)
    for start in range(0, total, batch_size):
        stop = min(start + batch_size, total)
        parts.append(render_scenarios(panel, world, range(start, stop)))
        if progress is not None:
            progress(stop, total)
    return Rollouts.concat(parts)


def render_scenarios(panel: Panel, world: WorldModel, scenarios: Sequence[int]) -> Rollouts:
    """What the true world shows of some scenarios, by index, under all their scripts.

    Under the panel's stress, where it has one.

    Raises:
        ValueError: the world shows another initial frame than the panel froze, or two branches
            of one scenario start differently.
    """
    items = panel_items(panel, [(s, panel.seeds[0]) for s in scenarios])
    rollouts = stressed_world(world, panel).rollout(items, panel.contract.horizon)
    truth = checked_answer(rollouts, world.name, items, panel)
    home: dict[int, torch.Tensor] = {}
    for row, s in enumerate(truth.scenario.tolist()):
        frame = truth.frames[row, 0]
        if not torch.equal(home.setdefault(s, frame), frame):
            raise ValueError(
                f"world {world.name!r}: branches of scenario {panel.scenarios[s].id!r} start "
                "from different frames"
            )
    for s, frame in home.items():
        frozen = panel.scenarios[s].initial_frame_sha256
        if frozen is not None and frozen != sha256_tensor(frame):
            raise ValueError(
                f"world {world.name!r}: scenario {panel.scenarios[s].id!r} starts from another "
                "frame than the panel froze (scenarios[].initial_frame_sha256)"
            )
    return truth


def freeze_panel(panel: Panel, truth: Rollouts, *, fps: float) -> tuple[Panel, Rollouts]:
    """Write the initial frames' hashes, and the frame size where it is open, into the panel.

    Returns:
        The frozen panel, and `truth` under its fingerprint.
    """
    hashes = {
        panel.scenarios[s].id: sha256_tensor(truth.frames[row, 0])
        for row, s in enumerate(truth.scenario.tolist())
    }
    observation = panel.contract.observation
    if observation is None:
        height, width = truth.frames.shape[-2:]
        observation = Observation(height=height, width=width, fps=fps)
    frozen = panel.with_initial_frames(hashes, observation)
    return frozen, replace(truth, panel=frozen.fingerprint)


def check_batch_size(batch_size: int) -> None:
    """Refuse a batch without rows."""
    if batch_size < 1:
        raise ValueError(f"batch_size: expected at least 1, got {batch_size}")
