"""Usable horizon: the last step before a score stays on the wrong side of its threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from wmscore.functional._check import (
    check_choice,
    check_curve,
    check_mask,
    check_per_axis,
    check_per_curve,
)

__all__ = ["FirstCrossing", "UsableHorizon", "first_crossing", "first_run", "usable_horizon"]


@dataclass(frozen=True)
class FirstCrossing:
    """Where curves ``[..., T]`` first fail for good. See :func:`first_crossing`.

    Attributes:
        step: ``[...]`` int64, 1-based step at which the first run of ``patience`` failures starts;
            0 when there is none.
        crossed: ``[...]`` bool, whether there is such a run.
        defined_steps: ``[...]`` int64, number of steps that could pass or fail.
        pending: ``[...]`` bool, no such run, but the curve ends within a shorter one.
    """

    step: Tensor
    crossed: Tensor
    defined_steps: Tensor
    pending: Tensor


@dataclass(frozen=True)
class UsableHorizon:
    """Last usable step per rollout and per axis. See :func:`usable_horizon`.

    Attributes:
        steps: ``[B]`` int64, last usable step over the gated axes; -1 where undefined.
        censored: ``[B]`` bool, no gated axis failed: the true horizon is ``steps`` or more.
        axis: ``[B]`` int64, index of the axis that failed first; -1 where none did.
        defined: ``[B]`` bool, at least one gated axis is defined.
        axis_steps: ``[A, B]`` int64, last usable step of each axis alone; -1 where undefined.
        axis_censored: ``[A, B]`` bool, the axis is defined and never failed.
        axis_defined: ``[A, B]`` bool, the axis has at least one defined step.
        pending: ``[A, B]`` bool, the axis never failed but ends within an unfinished failing run.
    """

    steps: Tensor
    censored: Tensor
    axis: Tensor
    defined: Tensor
    axis_steps: Tensor
    axis_censored: Tensor
    axis_defined: Tensor
    pending: Tensor


def first_crossing(
    scores: Tensor,
    threshold: float | Tensor,
    *,
    patience: int | Tensor = 3,
    direction: Literal["below", "above"] = "below",
    valid: Tensor | None = None,
) -> FirstCrossing:
    r"""First step from which a curve fails for ``patience`` consecutive defined steps.

    .. math:: \mathrm{step} = \min \{ t : s_t, s_{t'}, \ldots \text{ all fail, patience of them} \}

    where t, t', ... are consecutive *defined* steps: a step that is NaN or not ``valid`` neither
    fails nor passes; it does not count and does not interrupt a run.

    Args:
        scores: curves ``[..., T]``, floating point; ``inf`` is a defined score.
        threshold: a number, or a tensor that broadcasts to ``[...]``; compared in the dtype of
            ``scores``. A NaN in it makes its curves undefined.
        patience: steps in a row that make a failure, 1 or more; an int, or an integer tensor that
            broadcasts to ``[...]`` (one value per axis of ``[A, B, T]`` has shape ``[A, 1]``).
        direction: ``"below"`` fails where ``score < threshold``, ``"above"`` where
            ``score > threshold``; equality passes.
        valid: bool, broadcasts to ``[..., T]``; ``None`` means all.

    Returns:
        A :class:`FirstCrossing` of ``[...]`` tensors.

    Raises:
        ValueError: no step, a shape that does not broadcast, a patience below 1, an unknown
            direction.
        TypeError: not tensors, or of the wrong dtype.
    """
    check_curve("scores", scores)
    curves = tuple(scores.shape[:-1])
    check_per_curve("threshold", threshold, curves)
    check_per_curve("patience", patience, curves, whole=True)
    check_choice("direction", direction, ("below", "above"))
    if isinstance(threshold, Tensor):
        limit = threshold.to(scores).unsqueeze(-1)
    else:
        limit = torch.full((1,), threshold, dtype=scores.dtype, device=scores.device)
    defined = ~(scores.isnan() | limit.isnan())
    if valid is not None:
        check_mask("valid", valid, tuple(scores.shape), scores.device)
        defined = defined & valid
    failing = scores < limit if direction == "below" else scores > limit
    return first_run(failing, defined, patience)


def first_run(failing: Tensor, defined: Tensor, patience: int | Tensor) -> FirstCrossing:
    """First run of ``patience`` failing steps among the defined ones.

    The plain form of :func:`first_crossing`, for a caller who has decided which steps fail.

    Args:
        failing: ``[..., T]`` bool, read only where ``defined``.
        defined: ``[..., T]`` bool.
        patience: an int, or an integer tensor that broadcasts to ``[...]``.

    Returns:
        A :class:`FirstCrossing` of ``[...]`` tensors.
    """
    if isinstance(patience, Tensor):
        patience = patience.to(failing.device).unsqueeze(-1)
    failing = failing & defined
    failures = failing.cumsum(-1)  # [..., T]
    passing = defined & ~failing
    run = failures - failures.where(passing, 0).cummax(-1).values  # failures since the last pass
    step = torch.arange(1, failing.shape[-1] + 1, device=failing.device).expand_as(run)
    start = step.where(failing & (run == 1), 0).cummax(-1).values  # of the run that t is in
    reached = failing & (run >= patience)
    never = failing.shape[-1] + 1
    first = start.where(reached, never).amin(-1)
    crossed = first < never
    return FirstCrossing(
        step=first.where(crossed, 0),
        crossed=crossed,
        defined_steps=defined.sum(-1),
        pending=~crossed & (run[..., -1] > 0),
    )


def usable_horizon(
    scores: Tensor,
    thresholds: Tensor,
    *,
    patience: int | Tensor,
    valid: Tensor | None = None,
    gated: Tensor | None = None,
) -> UsableHorizon:
    r"""Last step at which every gated axis of a rollout can still be used.

    .. math:: H_a = t_a - 1 \text{ (first crossing } t_a \text{), else the last valid step};
        \quad H = \min_{a\,\text{gated}} H_a

    A rollout that no gated axis fails is right-censored at its last valid step.

    Args:
        scores: ``[A, B, T]`` floating point in [0, 1], 1 = perfect; NaN where undefined.
        thresholds: ``[A]``; a step of axis a fails where ``scores[a] < thresholds[a]``.
        patience: failing steps in a row that end the horizon, an int or ``[A]`` integers.
        valid: ``[B, T]`` bool, steps that exist; ``None`` means all.
        gated: ``[A]`` bool, axes that count for the rollout's horizon; ``None`` means all.

    Returns:
        A :class:`UsableHorizon`. Axes that fail at the same step share the horizon; the first of
        them in axis order is named.

    Raises:
        ValueError: shapes do not fit, or a patience below 1.
        TypeError: not tensors, or of the wrong dtype.
    """
    check_curve("scores", scores, ndim=3)
    axes, rollouts, horizon = scores.shape
    check_per_axis("thresholds", thresholds, axes)
    if isinstance(patience, Tensor):
        check_per_axis("patience", patience, axes)
        patience = patience[:, None]
    if gated is None:
        gated = torch.ones(axes, dtype=torch.bool, device=scores.device)
    else:
        check_per_axis("gated", gated, axes)
        check_mask("gated", gated, (axes,), scores.device)
    step = torch.arange(1, horizon + 1, device=scores.device)
    if valid is None:
        last_step = step[-1].expand(rollouts)
    else:
        check_mask("valid", valid, (rollouts, horizon), scores.device)
        last_step = step.where(valid, 0).amax(-1).expand(rollouts)

    crossing = first_crossing(scores, thresholds[:, None], patience=patience, valid=valid)
    axis_defined = crossing.defined_steps > 0
    axis_steps = (crossing.step - 1).where(crossing.crossed, last_step)

    failed = crossing.crossed & gated[:, None]  # [A, B]
    any_failed = failed.any(0)
    first_failure = axis_steps.where(failed, horizon).amin(0)
    is_first = failed & (axis_steps == first_failure)
    order = torch.arange(axes, device=scores.device)[:, None]
    axis = order.where(is_first, axes).amin(0)  # ties: the smallest index
    defined = (axis_defined & gated[:, None]).any(0)
    return UsableHorizon(
        steps=first_failure.where(any_failed, last_step.where(defined, -1)),
        censored=defined & ~any_failed,
        axis=axis.where(any_failed, -1),
        defined=defined,
        axis_steps=axis_steps.where(axis_defined, -1),
        axis_censored=axis_defined & ~crossing.crossed,
        axis_defined=axis_defined,
        pending=crossing.pending,
    )
