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
    check_number,
    check_per_axis,
    check_per_curve,
)
from wmscore.functional.crossing import (
    FirstCrossing,
    check_threshold,
    crossing_of,
    first_crossing,
    first_run,
    scan,
)
from wmscore.functional.reasons import Reason
from wmscore.ops import Crossings, RolloutCrossings

__all__ = ["FirstCrossing", "UsableHorizon", "first_crossing", "first_run", "usable_horizon"]

MODES = ("first_failure", "last_recovery", "fraction_usable")


@dataclass(frozen=True)
class UsableHorizon:
    """Last usable step per rollout and per axis. See :func:`usable_horizon`.

    Attributes:
        steps: ``[B]`` int64, last usable step over the gated axes; -1 where undefined.
        censored: ``[B]`` bool, no gated axis failed: the true horizon is ``steps`` or more.
        axis: ``[B]`` int64, index of the axis that failed first; -1 where none did.
        defined: ``[B]`` bool, whether there is a horizon.
        reason: ``[B]`` uint8, ``Reason`` why there is none, 0 where there is one.
        usable_share: ``[B]`` float64, share of the steps at which no gated axis is in a failure, of
            those at which one is defined; NaN where the horizon is undefined.
        axis_steps: ``[A, B]`` int64, last usable step of each axis alone; -1 where undefined.
        axis_censored: ``[A, B]`` bool, the axis is defined and never failed.
        axis_defined: ``[A, B]`` bool, the axis failed, or has enough defined steps.
        axis_reason: ``[A, B]`` uint8, ``Reason`` why it is not, 0 where it is.
        pending: ``[A, B]`` bool, the axis never failed but ends within an unfinished failing run.
        failures: ``[A, B]`` int64, how many times the axis failed.
        recovery: ``[A, B]`` int64, step at which it has recovered from its first failure; 0 where
            it did not fail, or not recover.
        recovered_steps: ``[A, B]`` int64, defined steps from there until it fails again, or all.
        lost_steps: ``[A, B]`` int64, defined steps from a failure to its recovery, of all failures.
        margin: ``[A, B]``, score - threshold at the step at which it fails first, below 0; NaN
            where it does not.
        smallest_margin: ``[A, B]``, smallest score - threshold of its defined steps, of those of
            short runs too; NaN where it has none.
    """

    steps: Tensor
    censored: Tensor
    axis: Tensor
    defined: Tensor
    reason: Tensor
    usable_share: Tensor
    axis_steps: Tensor
    axis_censored: Tensor
    axis_defined: Tensor
    axis_reason: Tensor
    pending: Tensor
    failures: Tensor
    recovery: Tensor
    recovered_steps: Tensor
    lost_steps: Tensor
    margin: Tensor
    smallest_margin: Tensor


def usable_horizon(
    scores: Tensor,
    thresholds: Tensor,
    *,
    patience: int | Tensor,
    valid: Tensor | None = None,
    gated: Tensor | None = None,
    recover_thresholds: Tensor | None = None,
    recovery_patience: int | Tensor | None = None,
    min_defined: float | Tensor = 0.0,
    mode: Literal["first_failure", "last_recovery", "fraction_usable"] = "first_failure",
) -> UsableHorizon:
    r"""Last step at which every gated axis of a rollout can still be used.

    .. math:: H_a = t_a - 1 \text{ (first crossing } t_a \text{), else the last valid step};
        \quad H = \min_{a\,\text{gated}} H_a

    A rollout that no gated axis fails is right-censored at its last valid step. One scan of the
    scores, without temporaries of their size where the op `first_crossing` has a kernel.

    Args:
        scores: ``[A, B, T]`` floating point in [0, 1], 1 = perfect; NaN where undefined.
        thresholds: ``[A]``, or what broadcasts to ``[A, B]`` (one of each scenario:
            ``of_scenarios[:, scenario]``) or to ``[A, B, T]``; a step of axis a fails where
            ``scores[a] < thresholds[a]``. An axis is undefined where its threshold is NaN.
        patience: failing steps in a row that end the horizon, an int or ``[A]`` integers.
        valid: ``[B, T]`` bool, steps that exist; ``None`` means all. A rollout that is shorter than
            the others has its own horizon by it.
        gated: ``[A]`` bool, axes that count for the rollout's horizon; ``None`` means all.
        recover_thresholds: like ``thresholds``, and not below them: a failing step is followed by
            failing ones until the score is at or above it (hysteresis, which keeps noise about the
            threshold from ending a run). ``None`` means ``thresholds``.
        recovery_patience: passing steps in a row that end a failure; an int or ``[A]`` integers,
            ``None`` means ``patience``.
        min_defined: share of a rollout's valid steps that must be defined for an axis to count as
            not failed, 0..1, a number or ``[A]``. With fewer the axis is undefined, and so is the
            rollout unless a gated axis failed: a gate is not passed by giving it little to judge.
            At 0, one defined step is enough for the axis, and one such axis for the rollout.
        mode: ``"first_failure"``; ``"last_recovery"``: only a failure that lasts to the end ends
            the horizon; ``"fraction_usable"``: the horizon is the number of defined steps outside
            failures, wherever they are, and ``axis`` is still the one that fails first.

    Returns:
        A :class:`UsableHorizon`. Axes that fail at the same step share the horizon; the first of
        them in axis order is named.

    Raises:
        ValueError: shapes do not fit, a patience below 1, a share outside 0..1, an unknown mode.
        TypeError: not tensors, or of the wrong dtype.

    Example:
        >>> import torch
        >>> good, bad = [1.0] * 3, [0.0] * 3
        >>> scores = torch.tensor([[good + bad + good], [good + good + good]])  # two axes
        >>> found = usable_horizon(scores, torch.tensor([0.5, 0.5]), patience=3)
        >>> found.steps.item(), found.axis.item(), found.recovery[0].item()
        (3, 0, 7)
        >>> forgiven = usable_horizon(
        ...     scores, torch.tensor([0.5, 0.5]), patience=3, mode="last_recovery"
        ... )
        >>> forgiven.steps.item(), forgiven.censored.item()
        (9, True)
    """
    check_curve("scores", scores, ndim=3)
    axes, rollouts, horizon = scores.shape
    _check_axis_thresholds("thresholds", thresholds, scores)
    if recover_thresholds is not None:
        _check_axis_thresholds("recover_thresholds", recover_thresholds, scores)
        _check_order(thresholds, recover_thresholds)
    check_choice("mode", mode, MODES)
    share = _share_of(min_defined, axes, scores.device)
    if gated is None:
        gated = torch.ones(axes, dtype=torch.bool, device=scores.device)
    else:
        check_per_axis("gated", gated, axes)
        check_mask("gated", gated, (axes,), scores.device)
    if valid is not None:
        check_mask("valid", valid, (rollouts, horizon), scores.device)

    curves, margins, of_rollouts = scan(
        scores,
        _per_step(thresholds),
        _per_axis("patience", patience, axes),
        recover_threshold=None if recover_thresholds is None else _per_step(recover_thresholds),
        recovery_patience=(
            None
            if recovery_patience is None
            else _per_axis("recovery_patience", recovery_patience, axes)
        ),
        valid=valid,
        gated=gated,
    )
    crossing, found = crossing_of(curves, margins), Crossings(*curves)
    total = RolloutCrossings(*of_rollouts)
    # Few passes over [A, B]: on a CPU they would take longer than the scan.
    has_failed, first_loss = crossing.crossed, crossing.step
    failure, axis = total.failure, total.failed_axis
    if mode == "last_recovery":
        has_failed = has_failed & (found.last_recovery == 0)
        first_loss = found.last_failure
        failure, axis = total.lasting_failure, total.lasting_axis

    too_few = found.defined_steps == 0
    any_failed, defined = failure > 0, total.judged_steps > 0
    if share is not None:
        # 55 steps are 0.55 of 100, whatever the last bit of that, be it of a float32.
        needed = ((share[:, None] - 1e-7) * total.valid_steps).ceil().to(torch.int64)
        too_few = (too_few | (found.defined_steps < needed)) & ~has_failed
        is_short = too_few & (gated & (share > 0))[:, None]
        defined = defined & ~is_short.any(0)
    defined = defined | any_failed
    enough = ~too_few

    if mode == "fraction_usable":
        axis_steps, steps = found.defined_steps - found.lost_steps, total.usable_steps
    else:
        axis_steps = first_loss.where(has_failed, total.last_step + 1).sub_(1)
        steps = (failure - 1).where(any_failed, total.last_step)
    reason = torch.full_like(total.valid_steps, int(Reason.TOO_FEW_STEPS), dtype=torch.uint8)
    reason = reason.masked_fill(total.valid_steps == 0, int(Reason.NO_FRAME))
    usable = total.usable_steps.double() / total.judged_steps
    return UsableHorizon(
        steps=steps.where(defined, -1),
        censored=defined & ~any_failed,
        axis=axis,
        defined=defined,
        reason=reason.masked_fill(defined, 0),
        usable_share=usable.masked_fill(~defined, torch.nan),
        axis_steps=axis_steps.masked_fill_(too_few, -1),
        axis_censored=enough & ~has_failed,
        axis_defined=enough,
        axis_reason=reason * too_few,
        pending=crossing.pending,
        failures=crossing.failures,
        recovery=crossing.recovery,
        recovered_steps=crossing.recovered_steps,
        lost_steps=crossing.lost_steps,
        margin=crossing.margin,
        smallest_margin=crossing.smallest_margin,
    )


def _check_axis_thresholds(name: str, value: Tensor, scores: Tensor) -> None:
    """``[A]``, or with one value of each rollout or step too."""
    if not isinstance(value, Tensor) or value.dim() < 2:
        check_per_axis(name, value, scores.shape[0])
        value = value[:, None]
    check_threshold(name, value, scores)


def _check_order(thresholds: Tensor, recover: Tensor) -> None:
    """No axis recovers below where it fails; looked at on the CPU only, where nothing waits."""
    if recover.device.type != "cpu" or thresholds.device.type != "cpu":
        return
    low, high = torch.broadcast_tensors(_per_step(thresholds), _per_step(recover))  # type: ignore[no-untyped-call]
    wrong = low > high  # false where either is NaN
    if bool(wrong.any()):
        raise ValueError(
            "recover_thresholds must be at least the thresholds, got "
            f"{high[wrong][0].item()} with a threshold of {low[wrong][0].item()}"
        )


def _per_step(thresholds: Tensor) -> Tensor:
    """``[A]`` or ``[A, B]`` or ``[A, B, T]`` as three sides."""
    return thresholds[(..., *[None] * (3 - thresholds.dim()))]


def _per_axis(name: str, value: int | Tensor, axes: int) -> int | Tensor:
    if not isinstance(value, Tensor):
        check_per_curve(name, value, (), whole=True)
        return value
    check_per_axis(name, value, axes)
    check_per_curve(name, value, (axes,), whole=True)
    return value[:, None]


def _share_of(min_defined: float | Tensor, axes: int, device: torch.device) -> Tensor | None:
    """``[A]`` float64, or None for a number that asks for nothing."""
    if isinstance(min_defined, Tensor):
        check_per_axis("min_defined", min_defined, axes)
        return min_defined.to(device, torch.float64)
    check_number("min_defined", min_defined, low=0.0, high=1.0)
    if min_defined == 0:
        return None
    return torch.full((axes,), min_defined, dtype=torch.float64, device=device)
