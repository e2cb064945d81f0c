"""How errors pile up: rolled-out predictions beside one-step predictions from the true history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from wmscore.functional._check import check_along
from wmscore.functional._curves import curve_reason, defined_steps, median_slope
from wmscore.functional.reasons import Reason

__all__ = ["ErrorAccumulation", "error_accumulation"]


@dataclass(frozen=True)
class ErrorAccumulation:
    """What `error_accumulation` returns.

    Attributes:
        difference: ``[..., T]`` float64, rolled-out less one-step distance: the part of the error
            that comes from the model's own earlier errors, in units of the distance.
        ratio: ``[..., T]`` float64, 0 or more, rolled-out over one-step distance; 1 where nothing
            has accumulated.
        slope: ``[...]`` float64, growth of the difference per step (median of pairwise slopes).
        exponent: ``[...]`` float64, p of a ratio that grows like step^p: 0 = errors do not
            accumulate, 1/2 = independent errors add up, 1 = a bias adds up, above = they amplify
            each other. For squared distances (MSE) all are doubled.
        reason: name of a value -> uint8 of its shape, a `Reason`: NO_FRAME and NON_FINITE (an
            undefined or infinite distance), for the ratio also NO_ERROR where the one-step distance
            is 0; for slope and exponent TOO_FEW_STEPS below two steps, and NON_FINITE where a
            distance is infinite.
    """

    difference: Tensor
    ratio: Tensor
    slope: Tensor
    exponent: Tensor
    reason: Mapping[str, Tensor]


def error_accumulation(
    rolled_out: Tensor, teacher_forced: Tensor, *, valid: Tensor | None = None
) -> ErrorAccumulation:
    r"""Rolled-out error against one-step error, per step, and how it grows.

    .. math:: \Delta_t = D^{roll}_t - D^{forced}_t, \quad r_t = D^{roll}_t / D^{forced}_t

    A model whose rolled-out error grows may be weak in each step, or weak in standing its own
    errors. The one-step error (`wmscore.replay.replay_teacher_forced`) tells them apart: it is what
    the model adds in one step when all before is true, under the same states and actions. At step 1
    both are the same prediction. The slope is the median of pairwise slopes of the difference over
    the step, the exponent that of log r over log step.

    Args:
        rolled_out: distances of the rollout, curves ``[..., T]``, floating point, 0 or more.
        teacher_forced: distances of the one-step predictions, of the same shape.
        valid: bool, broadcasts to ``[..., T]``; other steps are undefined. ``None`` means all.

    Returns:
        An `ErrorAccumulation`. A ratio of 0, of a rolled-out distance of 0, has no logarithm: the
        exponent leaves such steps out.

    Raises:
        ValueError: no step, shapes differ, or a mask of another shape.
        TypeError: not tensors, or of the wrong dtype.

    Source:
        The gap between teacher forcing and free running: Ranzato et al., "Sequence level training
        with recurrent neural networks", ICLR 2016 (exposure bias).

    Example:
        >>> steps = torch.arange(1.0, 9.0)
        >>> found = error_accumulation(0.25 * steps, torch.full((8,), 0.25))
        >>> found.ratio.tolist()[-1], found.slope.item(), round(found.exponent.item(), 6)
        (8.0, 0.25, 1.0)
    """
    rolled, there = defined_steps("rolled_out", rolled_out, valid)
    check_along("teacher_forced", teacher_forced, rolled_out, same=True)
    forced, _ = defined_steps("teacher_forced", teacher_forced, None)
    finite = rolled.isfinite() & forced.isfinite()
    of_step = torch.zeros_like(rolled, dtype=torch.uint8).masked_fill(~finite, Reason.NON_FINITE)
    if valid is not None:
        of_step = of_step.masked_fill(~valid, Reason.NO_FRAME)
    undefined = of_step != Reason.DEFINED
    no_error = ~undefined & (forced == 0)
    difference = (rolled - forced).masked_fill(undefined, torch.nan)
    ratio = (rolled / forced).masked_fill(undefined | no_error, torch.nan)

    step = torch.arange(1, rolled.shape[-1] + 1, dtype=torch.float64, device=rolled.device)
    either = rolled.masked_fill(forced.isinf(), torch.inf)  # infinite if one of them is
    of_slope = curve_reason(either, there, (~undefined).sum(-1) >= 2)
    slope = median_slope(difference, ~undefined, step)
    has_log = ratio > 0
    of_exponent = curve_reason(either, there, has_log.sum(-1) >= 2)
    exponent = median_slope(ratio.where(has_log, 1.0).log(), has_log, step.log())
    return ErrorAccumulation(
        difference=difference,
        ratio=ratio,
        slope=slope.masked_fill(of_slope != Reason.DEFINED, torch.nan),
        exponent=exponent.masked_fill(of_exponent != Reason.DEFINED, torch.nan),
        reason={
            "difference": of_step,
            "ratio": of_step.masked_fill(no_error, Reason.NO_ERROR),
            "slope": of_slope,
            "exponent": of_exponent,
        },
    )
