"""Where curves of scores fail and recover, in one scan of the scores."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from wmscore.ops._check import check_dtypes, check_one_device
from wmscore.ops._library import op

__all__ = ["Crossings", "StepCounts", "first_crossing"]

SCORE_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class Crossings(NamedTuple):
    """The rows of the first result of `first_crossing`, each `[A, B]` int64; steps are 1-based.

    Attributes:
        step: where the first failure begins; 0 = none.
        recovery: where the recovery from it begins; 0 = none.
        recovered_steps: defined steps from there to the next failure or the end.
        last_failure: where the last failure begins; 0 = none.
        last_recovery: where the recovery from that one begins; 0 = none: it lasts to the end.
        failures: number of failures.
        defined_steps: steps that pass or fail.
        failing_steps: defined steps that fail, whether of a failure or not.
        lost_steps: defined steps from the beginning of a failure to its recovery, of all failures.
        pending_steps: length of the run of failing steps at the end that is no failure yet.
    """

    step: Tensor
    recovery: Tensor
    recovered_steps: Tensor
    last_failure: Tensor
    last_recovery: Tensor
    failures: Tensor
    defined_steps: Tensor
    failing_steps: Tensor
    lost_steps: Tensor
    pending_steps: Tensor


class StepCounts(NamedTuple):
    """The rows of the third result of `first_crossing`, each `[B]` int64.

    Attributes:
        valid_steps: steps that exist, for some axis.
        last_step: the last of these, 1-based; 0 = none.
        judged_steps: steps at which some gated axis is defined.
        usable_steps: those of them at which no gated axis is in a failure.
    """

    valid_steps: Tensor
    last_step: Tensor
    judged_steps: Tensor
    usable_steps: Tensor


def check_crossing(
    scores: Tensor,
    threshold: Tensor,
    patience: Tensor,
    recover_threshold: Tensor | None = None,
    recovery_patience: Tensor | None = None,
    valid: Tensor | None = None,
    gated: Tensor | None = None,
    above: bool = False,
) -> None:
    """Refuse what are no curves, or thresholds, patience or masks that do not fit them.

    Raises:
        TypeError: an argument is not a tensor, or of the wrong dtype.
        ValueError: shapes or devices do not fit.
    """
    given = {"scores": scores, "threshold": threshold}
    if recover_threshold is not None:
        given["recover_threshold"] = recover_threshold
    check_dtypes(SCORE_DTYPES, **given)
    if scores.dim() != 3 or scores.shape[0] == 0 or scores.shape[2] == 0:
        raise ValueError(
            "scores must have shape [A, B, T] with at least one axis and step, "
            f"got {tuple(scores.shape)}"
        )
    others: list[tuple[str, Tensor | None, torch.dtype, str]] = [
        ("threshold", threshold, scores.dtype, "ABT"),
        ("recover_threshold", recover_threshold, scores.dtype, "ABT"),
        ("patience", patience, torch.int64, "AB"),
        ("recovery_patience", recovery_patience, torch.int64, "AB"),
        ("valid", valid, torch.bool, "ABT"),
        ("gated", gated, torch.bool, "A"),
    ]
    for name, value, dtype, layout in others:
        if value is None:
            continue
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
        if value.dtype != dtype:
            expected = str(dtype).removeprefix("torch.")
            raise TypeError(f"{name} must be {expected}, got {value.dtype}")
        sides = scores.shape[: len(layout)]
        fits = value.dim() == len(layout) and all(
            size == wanted or (size == 1 and layout != "A")
            for size, wanted in zip(value.shape, sides, strict=True)
        )
        if not fits:
            raise ValueError(
                f"{name} must have shape [{', '.join(layout)}] = {tuple(sides)}"
                f"{', 1 for sides it does not change along' * (layout != 'A')}, "
                f"got {tuple(value.shape)}"
            )
        check_one_device(scores=scores, **{name: value})


@op(check_crossing)
def first_crossing(
    scores: Tensor,
    threshold: Tensor,
    patience: Tensor,
    recover_threshold: Tensor | None = None,
    recovery_patience: Tensor | None = None,
    valid: Tensor | None = None,
    gated: Tensor | None = None,
    above: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Find the failures of each curve and its recoveries from them.

    A step is defined if it is valid and neither score nor thresholds are NaN; others are as if they
    did not exist. A curve begins as passing, fails from a step below `threshold` on, and passes
    again from one at or above both thresholds on. A failure begins with `patience` failing steps in
    a row, and ends before the next `recovery_patience` passing ones in a row.

    Args:
        scores: curves `[A, B, T]` of A axes and B rollouts; floating, any strides, read in place.
        threshold: `[A, B, T]` in the dtype of `scores`; here and below a side that it does not
            change along may be 1.
        patience: int64 `[A, B]`; less than 1 means 1.
        recover_threshold: `[A, B, T]`; None means `threshold`, and so do lower values than it.
        recovery_patience: int64 `[A, B]`; less than 1 means 1, and so does None.
        valid: bool `[A, B, T]`, steps that exist; None means all.
        gated: bool `[A]`, axes that count for `usable_steps`; None means all.
        above: scores above the thresholds fail, instead of below.

    Returns:
        - int64 `[10, A, B]`, the rows of `Crossings`;
        - `[2, A, B]`, float64 for float64 scores and else float32: the margin (score - threshold,
          or threshold - score if `above`) at `Crossings.step`, NaN where there is none, and the
          smallest margin of the defined steps, NaN where there is none;
        - int64 `[4, B]`, the rows of `StepCounts`.

        Equal between kernels. There is no gradient.

    Raises:
        TypeError: not tensors, or of the wrong dtype.
        ValueError: shapes or devices do not fit.

    Example:
        >>> scores = torch.tensor([[[0.9, 0.2, 0.3, 0.9, 0.9, 0.2]]])
        >>> curves, margins, rollouts = first_crossing(
        ...     scores, torch.full((1, 1, 1), 0.5), torch.full((1, 1), 2)
        ... )
        >>> found = Crossings(*curves[:, 0, 0].tolist())
        >>> found.step, found.recovery, found.recovered_steps, found.pending_steps
        (2, 4, 3, 1)
    """
    axes, rollouts, steps = scores.shape
    values = scores if scores.dtype == torch.float64 else scores.float()
    sign = -1 if above else 1
    values, limit = sign * values, sign * threshold.to(values.dtype)
    back = limit if recover_threshold is None else sign * recover_threshold.to(values.dtype)
    defined = ~(values.isnan() | limit.isnan() | back.isnan())
    if valid is not None:
        defined = defined & valid
    fails = values < limit
    step = torch.arange(1, steps + 1, device=scores.device)

    def last(there: Tensor) -> Tensor:
        """The last step up to each one at which something holds; 0 = never."""
        return step.where(there, 0).cummax(-1).values

    is_failing = last(fails & defined) > last((values >= back) & ~fails & defined)
    failing, passing = is_failing & defined, defined & ~is_failing

    def runs(inside: Tensor, outside: Tensor) -> tuple[Tensor, Tensor]:
        """Length so far, and first step, of the run that each step is in."""
        count = inside.cumsum(-1)
        length = count - count.where(outside, 0).cummax(-1).values
        return length, last(inside & (length == 1))

    length, begin = runs(failing, passing)
    length_back, begin_back = runs(passing, failing)
    once = torch.ones((), dtype=torch.int64, device=scores.device)
    needed = patience.clamp(min=1).unsqueeze(-1)
    needed_back = (
        once if recovery_patience is None else recovery_patience.clamp(min=1).unsqueeze(-1)
    )
    down = last(failing & (length >= needed)) > last(passing & (length_back >= needed_back))
    was_down = pad(down[..., :-1], (1, 0))
    falls, rises = down & ~was_down, was_down & ~down

    never = steps + 1
    first = begin.where(falls, never).amin(-1)
    second = begin.where(falls & (begin > first[..., None]), never).amin(-1)
    recovery = begin_back.where(rises, never).amin(-1)
    after = defined & (step >= recovery[..., None]) & (step < second[..., None])
    # Of each step, failures begun less failures ended; place 0 takes what is neither.
    change = step.new_zeros((axes, rollouts, never))
    change = change.scatter_add(-1, begin.where(falls, 0), falls.long())
    change = change.scatter_add(-1, begin_back.where(rises, 0), -rises.long())
    lost = change[..., 1:].cumsum(-1) > 0
    crossed = first < never
    curves = torch.stack(
        [
            first.where(crossed, 0),
            recovery.where(recovery < never, 0),
            after.sum(-1),
            begin.where(falls, 0).amax(-1),
            begin_back.where(rises, 0).amax(-1).where(~down[..., -1], 0),
            falls.sum(-1),
            defined.sum(-1),
            failing.sum(-1),
            (lost & defined).sum(-1),
            length[..., -1].where(~down[..., -1], 0),
        ]
    )

    margin = values - limit
    at_first = margin.gather(-1, (first - 1).clamp(max=steps - 1)[..., None])[..., 0]
    least = margin.where(defined & ~margin.isnan(), torch.inf).amin(-1)
    margins = torch.stack(
        [at_first.where(crossed, torch.nan), least.where(defined.any(-1), torch.nan)]
    )

    exists = torch.ones_like(step, dtype=torch.bool) if valid is None else valid.any(0)
    exists = exists.expand(rollouts, steps)
    if gated is not None:
        defined = defined & gated[:, None, None]
        lost = lost & gated[:, None, None]
    judged = defined.any(0)
    counts = torch.stack(
        [
            exists.sum(-1),
            step.where(exists, 0).amax(-1),
            judged.sum(-1),
            (judged & ~lost.any(0)).sum(-1),
        ]
    )
    return curves, margins, counts
