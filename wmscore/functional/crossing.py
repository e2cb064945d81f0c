"""Where curves fail, and whether and for how long they recover: the op on curves of any shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from wmscore.functional._check import (
    check_broadcast,
    check_choice,
    check_curve,
    check_mask,
    check_per_curve,
    check_tensor,
)
from wmscore.functional._chunks import piece_elements
from wmscore.ops import Crossings, has_kernel
from wmscore.ops import first_crossing as scan_curves

__all__ = [
    "FirstCrossing",
    "check_threshold",
    "crossing_of",
    "first_crossing",
    "first_run",
    "scan",
]


@dataclass(frozen=True)
class FirstCrossing:
    """Where curves ``[..., T]`` first fail for good. See :func:`first_crossing`.

    Attributes:
        step: ``[...]`` int64, 1-based step at which the first run of ``patience`` failures starts;
            0 when there is none.
        crossed: ``[...]`` bool, whether there is such a run.
        defined_steps: ``[...]`` int64, number of steps that could pass or fail.
        pending: ``[...]`` bool, no such run, but the curve ends within a shorter one.
        failures: ``[...]`` int64, number of failures: runs of ``patience`` failing steps, with a
            recovery between each two.
        recovery: ``[...]`` int64, step at which the first run of ``recovery_patience`` passing
            steps after ``step`` starts; 0 where there is none.
        recovered_steps: ``[...]`` int64, defined steps from there to the next failure or the end.
        last_failure: ``[...]`` int64, step at which the last failure starts; 0 where there is none.
        last_recovery: ``[...]`` int64, step at which the recovery from that one starts; 0 where
            there is none: it lasts to the end.
        failing_steps: ``[...]`` int64, defined steps that fail, those of short runs too.
        lost_steps: ``[...]`` int64, defined steps from a failure to its recovery, of all failures.
        margin: ``[...]``, score - threshold at ``step`` (threshold - score for ``"above"``), below
            0; NaN where nothing crossed. float64 for float64 scores and else float32.
        smallest_margin: ``[...]``, the smallest of all defined steps; NaN where there is none.
    """

    step: Tensor
    crossed: Tensor
    defined_steps: Tensor
    pending: Tensor
    failures: Tensor
    recovery: Tensor
    recovered_steps: Tensor
    last_failure: Tensor
    last_recovery: Tensor
    failing_steps: Tensor
    lost_steps: Tensor
    margin: Tensor
    smallest_margin: Tensor


def first_crossing(
    scores: Tensor,
    threshold: float | Tensor,
    *,
    patience: int | Tensor = 3,
    direction: Literal["below", "above"] = "below",
    valid: Tensor | None = None,
    recover_threshold: float | Tensor | None = None,
    recovery_patience: int | Tensor | None = None,
) -> FirstCrossing:
    r"""First step from which a curve fails for ``patience`` consecutive defined steps.

    .. math:: \mathrm{step} = \min \{ t : s_t, s_{t'}, \ldots \text{ all fail, patience of them} \}

    where t, t', ... are consecutive *defined* steps: a step that is NaN or not ``valid`` neither
    fails nor passes; it does not count and does not interrupt a run. A failure ends where the curve
    passes for ``recovery_patience`` defined steps; it may fail again after that.

    Args:
        scores: curves ``[..., T]``, floating point; ``inf`` is a defined score.
        threshold: a number, or a tensor that broadcasts to ``[...]``, or, with as many sides as
            ``scores``, to ``[..., T]``; compared in the dtype of ``scores``. Steps are undefined
            where it is NaN.
        patience: steps in a row that make a failure, 1 or more; an int, or an integer tensor that
            broadcasts to ``[...]`` (one value per axis of ``[A, B, T]`` has shape ``[A, 1]``).
        direction: ``"below"`` fails where ``score < threshold``, ``"above"`` where
            ``score > threshold``; equality passes.
        valid: bool, broadcasts to ``[..., T]``; ``None`` means all.
        recover_threshold: like ``threshold``, on its passing side: once below ``threshold``, steps
            fail until one is at or above this. ``None`` means ``threshold``.
        recovery_patience: steps in a row that make a recovery, like ``patience``; ``None`` means
            ``patience``.

    Returns:
        A :class:`FirstCrossing` of ``[...]`` tensors.

    Raises:
        ValueError: no step, a shape that does not broadcast, a patience below 1, an unknown
            direction, a number to recover at on the failing side of the threshold.
        TypeError: not tensors, or of the wrong dtype.

    Example:
        >>> import torch
        >>> scores = torch.tensor([0.9, 0.4, 0.6, 0.4, 0.9, 0.9, 0.9])
        >>> first_crossing(scores, 0.5, patience=2).step.item()
        0
        >>> found = first_crossing(scores, 0.5, patience=2, recover_threshold=0.8)
        >>> found.step.item(), found.recovery.item(), found.recovered_steps.item()
        (2, 5, 3)
    """
    check_curve("scores", scores)
    curves = tuple(scores.shape[:-1])
    check_threshold("threshold", threshold, scores)
    check_per_curve("patience", patience, curves, whole=True)
    check_choice("direction", direction, ("below", "above"))
    if valid is not None:
        check_mask("valid", valid, tuple(scores.shape), scores.device)
    if recover_threshold is not None:
        check_threshold("recover_threshold", recover_threshold, scores)
        _check_order(threshold, recover_threshold, direction)
    if recovery_patience is not None:
        check_per_curve("recovery_patience", recovery_patience, curves, whole=True)
    found, margins, _ = scan(
        scores,
        threshold,
        patience,
        recover_threshold=recover_threshold,
        recovery_patience=recovery_patience,
        valid=valid,
        above=direction == "above",
    )
    return crossing_of(found, margins, curves)


def first_run(failing: Tensor, defined: Tensor, patience: int | Tensor) -> FirstCrossing:
    """First run of ``patience`` failing steps among the defined ones.

    The plain form of :func:`first_crossing`, for a caller who has decided which steps fail.

    Args:
        failing: ``[..., T]`` bool, read only where ``defined``.
        defined: ``[..., T]`` bool.
        patience: an int, or an integer tensor that broadcasts to ``[...]``.

    Returns:
        A :class:`FirstCrossing` of ``[...]`` tensors; the margins are -0.5 of failing steps, and
        0.5 of passing ones.
    """
    return first_crossing((~failing).half(), 0.5, patience=patience, valid=defined)


def crossing_of(
    curves: Tensor, margins: Tensor, shape: tuple[int, ...] | None = None
) -> FirstCrossing:
    """The results of the op, in the shape of the curves."""
    if shape is not None:
        curves, margins = (x.reshape(len(x), *shape) for x in (curves, margins))
    found = Crossings(*curves)
    crossed = found.step > 0
    return FirstCrossing(
        step=found.step,
        crossed=crossed,
        defined_steps=found.defined_steps,
        pending=~crossed & (found.pending_steps > 0),
        failures=found.failures,
        recovery=found.recovery,
        recovered_steps=found.recovered_steps,
        last_failure=found.last_failure,
        last_recovery=found.last_recovery,
        failing_steps=found.failing_steps,
        lost_steps=found.lost_steps,
        margin=margins[0],
        smallest_margin=margins[1],
    )


def check_threshold(name: str, value: float | Tensor, scores: Tensor) -> None:
    """A number, or a tensor that broadcasts to the curves or, with as many sides, to the scores."""
    if isinstance(value, Tensor) and value.dim() == scores.dim():
        check_tensor(name, value)
        if value.is_complex() or value.dtype == torch.bool:
            raise TypeError(f"{name} must hold real numbers, got {value.dtype}")
        check_broadcast(name, value, tuple(scores.shape))
    else:
        check_per_curve(name, value, tuple(scores.shape[:-1]))


def scan(
    scores: Tensor,
    threshold: float | Tensor,
    patience: int | Tensor,
    *,
    recover_threshold: float | Tensor | None = None,
    recovery_patience: int | Tensor | None = None,
    valid: Tensor | None = None,
    gated: Tensor | None = None,
    above: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """The op `first_crossing` on curves ``[..., T]``, A = B = 1 for one; arguments were checked.

    Where the op has no kernel it works on a few rollouts at a time, so that temporaries stay small.
    """
    leading = tuple(scores.shape[:-1])

    def three(value: Tensor, last: int) -> Tensor:
        """``[A, B, last]``, sides that do not change being 1; without `last` if that is 0."""
        if last == 0:
            value = value.unsqueeze(-1)
        value = value[(*[None] * (len(leading) + 1 - value.dim()), ...)]
        if len(leading) < 2:
            value = value[(*[None] * (2 - len(leading)), ...)]
        elif len(leading) > 2:
            value = value.expand(*leading, value.shape[-1]).flatten(1, -2)
        return value.squeeze(-1) if last == 0 else value

    def number(value: float | Tensor) -> Tensor:
        if not isinstance(value, Tensor):
            return torch.full((1, 1, 1), value, dtype=scores.dtype, device=scores.device)
        value = value.detach().to(scores)
        return three(value if value.dim() == scores.dim() else value.unsqueeze(-1), 1)

    def count(value: int | Tensor) -> Tensor:
        if not isinstance(value, Tensor):
            return torch.full((1, 1), value, device=scores.device)
        return three(value.to(scores.device, torch.int64), 0)

    waits = count(patience)
    arguments = {
        "scores": three(scores.detach(), 1),
        "threshold": number(threshold),
        "patience": waits,
        "recover_threshold": None if recover_threshold is None else number(recover_threshold),
        "recovery_patience": waits if recovery_patience is None else count(recovery_patience),
        "valid": None if valid is None else three(valid, 1),
    }
    curves = arguments["scores"]
    assert curves is not None
    axes, rollouts, steps = curves.shape
    if axes == 0:  # nothing to look at, and the op wants an axis
        found_none = scores.new_zeros((len(Crossings._fields), 0, rollouts), dtype=torch.int64)
        return (
            found_none,
            scores.new_zeros((2, 0, rollouts)),
            scores.new_zeros((4, rollouts), dtype=torch.int64),
        )
    piece = rollouts
    if not has_kernel("first_crossing", scores.device):
        piece = max(1, piece_elements(scores.device) // (axes * steps))
    if rollouts <= piece:
        return scan_curves(**arguments, gated=gated, above=above)  # type: ignore[arg-type]
    found = [
        scan_curves(
            **{
                name: value[:, begin : begin + piece]
                if value is not None and value.shape[1] > 1
                else value
                for name, value in arguments.items()
            },  # type: ignore[arg-type]
            gated=gated,
            above=above,
        )
        for begin in range(0, rollouts, piece)
    ]
    together = [torch.cat(parts, -1) for parts in zip(*found, strict=True)]
    return together[0], together[1], together[2]


def _check_order(threshold: object, recover: object, direction: str) -> None:
    """Numbers only: tensors are compared on their device, where the failing side counts as none."""
    if isinstance(threshold, Tensor) or isinstance(recover, Tensor):
        return
    assert isinstance(threshold, int | float)
    assert isinstance(recover, int | float)
    if recover < threshold if direction == "below" else recover > threshold:
        side = "at least" if direction == "below" else "at most"
        raise ValueError(
            f"recover_threshold must be {side} the threshold, {threshold}, got {recover}"
        )
