"""A model over a panel: rollouts, or one-step predictions, beside the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from wmscore.manifest import Panel
from wmscore.replay.answers import checked_answer
from wmscore.replay.items import panel_items
from wmscore.replay.truth import Progress, check_batch_size
from wmscore.rollouts import RECONSTRUCTION, TEACHER_FORCED, Rollouts
from wmscore.worlds import Frozen, Item, Reconstructing, TeacherForced, WorldModel
from wmscore.worlds.handing import handed

__all__ = [
    "predict_rows",
    "reconstruct_rows",
    "reconstruction_name",
    "replay",
    "replay_reconstruction",
    "replay_rows",
    "replay_teacher_forced",
    "roll_out_rows",
    "teacher_forced_name",
]


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
    teacher_forced_name(model)
    yield from _batches(
        panel,
        lambda rows: predict_rows(panel, model, truth, rows).with_reference(truth),
        batch_size,
        progress,
    )


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


def replay_reconstruction(
    panel: Panel,
    model: WorldModel,
    truth: Rollouts,
    *,
    batch_size: int = 8,
    progress: Progress | None = None,
) -> Iterator[Rollouts]:
    """Let a model encode and decode every true frame of the panel.

    The same rows, keys and references as `replay`, under the name of `reconstruction_name`, so that
    both can be scored side by side: what is wrong here needs no dynamics.

    Args:
        panel: the contract.
        model: who is judged; a `Reconstructing` one.
        truth: from `render_truth` on the same panel.
        batch_size: panel rows (scenario, seed) per call; each brings all its branches.
        progress: called with (rows done, rows in all).

    Yields:
        Batches with references; counterfactual groups are never torn apart.

    Raises:
        ValueError: the model offers no reconstructions, or answers another question.
    """
    reconstruction_name(model)
    yield from _batches(
        panel,
        lambda rows: reconstruct_rows(panel, model, truth, rows).with_reference(truth),
        batch_size,
        progress,
    )


def reconstruction_name(model: WorldModel) -> str:
    """The name under which a model's reconstructions are scored.

    Raises:
        ValueError: the model offers none.
    """
    if not isinstance(model, Reconstructing):
        raise ValueError(
            f"model {model.name!r}: offers no reconstructions, expected a method "
            "reconstruct(items, reference_frames, horizon) (wmscore.worlds.Reconstructing)"
        )
    return model.name + RECONSTRUCTION


def _batches(
    panel: Panel,
    answer: Callable[[Sequence[tuple[int, int]]], Rollouts],
    batch_size: int,
    progress: Progress | None,
) -> Iterator[Rollouts]:
    """Answers to all rows of a panel, some rows at a time."""
    check_batch_size(batch_size)
    rows = list(panel.rows())
    for start in range(0, len(rows), batch_size):
        yield answer(rows[start : start + batch_size])
        if progress is not None:
            progress(min(start + batch_size, len(rows)), len(rows))


def replay_rows(
    panel: Panel, model: WorldModel, truth: Rollouts, rows: Sequence[tuple[int, int]]
) -> Rollouts:
    """Roll a model out over some (scenario index, seed) rows, beside the truth.

    Raises:
        WrongAnswerError: the model answers something else than was asked.
    """
    return roll_out_rows(panel, model, truth, rows).with_reference(truth)


def roll_out_rows(
    panel: Panel, model: WorldModel, truth: Rollouts, rows: Sequence[tuple[int, int]]
) -> Rollouts:
    """`replay_rows` without the truth beside them."""
    items = panel_items(panel, rows, truth=truth)
    rollouts = model.rollout(handed(items), panel.contract.horizon)
    return _with_rate(checked_answer(rollouts, model.name, items, panel), model, panel)


def _with_rate(rollouts: Rollouts, model: WorldModel, panel: Panel) -> Rollouts:
    """Rollouts that say their frame rate where it is not the panel's: a fault of all rows."""
    size, rate = panel.contract.observation, model.capabilities.fps
    if size is None or rate == size.fps or "fps" in rollouts.info:
        return rollouts
    if isinstance(model, Frozen):  # a photograph has no frame rate
        return rollouts
    fps = torch.full((len(rollouts),), rate, dtype=torch.float64)
    return replace(rollouts, info={**rollouts.info, "fps": fps})


def predict_rows(
    panel: Panel, model: WorldModel, truth: Rollouts, rows: Sequence[tuple[int, int]]
) -> Rollouts:
    """Let a model predict each frame of some rows from the true frames before it.

    Raises:
        ValueError: the model offers no one-step predictions.
        WrongAnswerError: the model answers something else than was asked.
    """
    name = teacher_forced_name(model)
    assert isinstance(model, TeacherForced)
    items = panel_items(panel, rows, truth=truth)
    reference = _true_frames(items, truth)
    predictions = model.predict_next(handed(items), reference, panel.contract.horizon)
    answer = checked_answer(predictions, model.name, items, panel)
    return replace(_with_rate(answer, model, panel), model=name)


def reconstruct_rows(
    panel: Panel, model: WorldModel, truth: Rollouts, rows: Sequence[tuple[int, int]]
) -> Rollouts:
    """Let a model encode and decode the true frames of some rows.

    Raises:
        ValueError: the model offers no reconstructions.
        WrongAnswerError: the model answers something else than was asked.
    """
    name = reconstruction_name(model)
    assert isinstance(model, Reconstructing)
    items = panel_items(panel, rows, truth=truth)
    found = model.reconstruct(handed(items), _true_frames(items, truth), panel.contract.horizon)
    answer = checked_answer(found, model.name, items, panel)
    return replace(_with_rate(answer, model, panel), model=name)


def _true_frames(items: Sequence[Item], truth: Rollouts) -> Tensor:
    """What the true world shows under the script of each item, `[n, T+1, C, H, W]`."""
    place = {
        key: row
        for row, key in enumerate(zip(truth.scenario.tolist(), truth.branch.tolist(), strict=True))
    }
    index = torch.tensor([place[item.scenario, item.branch] for item in items])
    return truth.frames[index.to(truth.device)]
