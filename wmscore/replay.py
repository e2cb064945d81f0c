"""Replay: every model gets the same initial states, scripts, seeds and horizon."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch

from wmscore.files import sha256_tensor
from wmscore.manifest import Observation, Panel
from wmscore.rollouts import TEACHER_FORCED, Rollouts
from wmscore.worlds import Item, TeacherForced, WorldModel

__all__ = [
    "freeze_panel",
    "panel_items",
    "render_truth",
    "replay",
    "replay_rows",
    "replay_teacher_forced",
    "teacher_forced_name",
]

Progress = Callable[[int, int], None]


def panel_items(
    panel: Panel,
    rows: Sequence[tuple[int, int]] | None = None,
    *,
    truth: Rollouts | None = None,
) -> list[Item]:
    """The items of a panel, row-major with all branches of a row side by side.

    Args:
        panel: the contract.
        rows: (scenario index, seed) pairs; all of the panel by default.
        truth: the true world's rollouts, from which each item gets its initial observation.
    """
    space = panel.contract.actions
    noop: int | tuple[float, ...] | None = None
    if isinstance(space.noop, str):
        noop = space.names.index(space.noop)
    elif space.noop is not None:
        noop = space.noop
    first: dict[int, int] = {}
    if truth is not None:
        first = {s: i for i, s in enumerate(truth.scenario.tolist()) if truth.branch[i] == 0}
    items = []
    for s, seed in panel.rows() if rows is None else rows:
        scenario = panel.scenarios[s]
        frame = labels = None
        if truth is not None:
            frame = truth.frames[first[s], 0]
            labels = None if truth.labels is None else truth.labels[first[s], 0]
        for branch in range(len(scenario.scripts)):
            items.append(
                Item(
                    panel=panel.fingerprint,
                    scenario=s,
                    scenario_id=scenario.id,
                    initial_state_id=scenario.initial_state_id,
                    reset=dict(scenario.reset),
                    seed=seed,
                    branch=branch,
                    actions=panel.actions(s, branch),
                    action_names=space.names,
                    action_units=space.units or (),
                    fps=None
                    if panel.contract.observation is None
                    else panel.contract.observation.fps,
                    noop=noop,
                    frame=frame,
                    labels=labels,
                    prompt=scenario.prompt,
                )
            )
    return items


def render_truth(
    panel: Panel, world: WorldModel, *, batch_size: int = 8, progress: Progress | None = None
) -> Rollouts:
    """What the true world shows: one rollout per scenario and branch, shared by all seeds.

    Raises:
        ValueError: the world shows another initial frame than the panel froze, or two branches
            of one scenario start differently.
    """
    _check_batch_size(batch_size)
    rows = [(s, panel.seeds[0]) for s in range(len(panel.scenarios))]
    parts = []
    for start in range(0, len(rows), batch_size):
        items = panel_items(panel, rows[start : start + batch_size])
        parts.append(_answer(world, items, panel))
        if progress is not None:
            progress(min(start + batch_size, len(rows)), len(rows))
    truth = Rollouts.concat(parts)
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


def replay(
    panel: Panel,
    model: WorldModel,
    truth: Rollouts,
    *,
    batch_size: int = 8,
    progress: Progress | None = None,
) -> Iterator[Rollouts]:
    """Roll a model out over the whole panel, beside the truth.

    Args:
        panel: the contract.
        model: who is judged.
        truth: from `render_truth` on the same panel.
        batch_size: panel rows (scenario, seed) per call; each brings all its branches.
        progress: called with (rows done, rows in all).

    Yields:
        Batches with references; counterfactual groups are never torn apart.
    """
    yield from _batches(
        panel, lambda rows: replay_rows(panel, model, truth, rows), batch_size, progress
    )


def replay_teacher_forced(
    panel: Panel,
    model: WorldModel,
    truth: Rollouts,
    *,
    batch_size: int = 8,
    progress: Progress | None = None,
) -> Iterator[Rollouts]:
    """Let a model predict every frame of the panel from the true frames before it.

    The same rows, keys and references as `replay`, under the name of `teacher_forced_name`, so that
    both can be scored side by side.

    Args:
        panel: the contract.
        model: who is judged; a `TeacherForced` one.
        truth: from `render_truth` on the same panel.
        batch_size: panel rows (scenario, seed) per call; each brings all its branches.
        progress: called with (rows done, rows in all).

    Yields:
        Batches with references; counterfactual groups are never torn apart.

    Raises:
        ValueError: the model offers no one-step predictions, or answers another question.
    """
    name = teacher_forced_name(model)

    def predict(rows: Sequence[tuple[int, int]]) -> Rollouts:
        assert isinstance(model, TeacherForced)
        items = panel_items(panel, rows, truth=truth)
        place = {
            key: row
            for row, key in enumerate(
                zip(truth.scenario.tolist(), truth.branch.tolist(), strict=True)
            )
        }
        index = torch.tensor([place[item.scenario, item.branch] for item in items])
        reference = truth.frames[index.to(truth.device)]
        predictions = model.predict_next(items, reference, panel.contract.horizon)
        predictions = _checked(predictions, model.name, items, panel)
        return replace(predictions, model=name).with_reference(truth)

    yield from _batches(panel, predict, batch_size, progress)


def teacher_forced_name(model: WorldModel) -> str:
    """The name under which a model's one-step predictions are scored.

    Raises:
        ValueError: the model offers none.
    """
    if not isinstance(model, TeacherForced):
        raise ValueError(
            f"model {model.name!r}: offers no one-step predictions, expected a method "
            "predict_next(items, reference_frames, horizon) (wmscore.worlds.TeacherForced)"
        )
    return model.name + TEACHER_FORCED


def _batches(
    panel: Panel,
    answer: Callable[[Sequence[tuple[int, int]]], Rollouts],
    batch_size: int,
    progress: Progress | None,
) -> Iterator[Rollouts]:
    """Answers to all rows of a panel, some rows at a time."""
    _check_batch_size(batch_size)
    rows = list(panel.rows())
    for start in range(0, len(rows), batch_size):
        yield answer(rows[start : start + batch_size])
        if progress is not None:
            progress(min(start + batch_size, len(rows)), len(rows))


def replay_rows(
    panel: Panel, model: WorldModel, truth: Rollouts, rows: Sequence[tuple[int, int]]
) -> Rollouts:
    """Roll a model out over some (scenario index, seed) rows, beside the truth."""
    return _answer(model, panel_items(panel, rows, truth=truth), panel).with_reference(truth)


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size: expected at least 1, got {batch_size}")


def _answer(model: WorldModel, items: Sequence[Item], panel: Panel) -> Rollouts:
    """Roll out, and refuse an answer to another question."""
    return _checked(model.rollout(items, panel.contract.horizon), model.name, items, panel)


def _checked(rollouts: object, name: str, items: Sequence[Item], panel: Panel) -> Rollouts:
    """Refuse an answer to another question than `items` under `panel`."""
    if not isinstance(rollouts, Rollouts):
        raise TypeError(
            f"model {name!r}: expected Rollouts in answer, got {type(rollouts).__name__}"
        )
    for key in ("scenario", "seed", "branch"):
        asked = [getattr(item, key) for item in items]
        if getattr(rollouts, key).tolist() != asked:
            raise ValueError(f"model {name!r}: answered other rows than asked ({key})")
    sent = torch.stack([item.actions for item in items])
    if not torch.equal(rollouts.actions.cpu(), sent):
        raise ValueError(
            f"model {name!r}: expected the commanded actions {list(sent.shape)} back in "
            f"rollouts.actions, got others {list(rollouts.actions.shape)}"
        )
    if rollouts.horizon != panel.contract.horizon or rollouts.panel != panel.fingerprint:
        raise ValueError(
            f"model {name!r}: expected horizon {panel.contract.horizon} and panel "
            f"{panel.fingerprint[:12]}, got {rollouts.horizon} and {rollouts.panel[:12]}"
        )
    size = panel.contract.observation
    if size is not None and rollouts.frames.shape[2:] != (size.channels, size.height, size.width):
        raise ValueError(
            f"model {name!r}: expected frames [{size.channels}, {size.height}, "
            f"{size.width}] by contract.observation, got {list(rollouts.frames.shape[2:])}"
        )
    return rollouts
